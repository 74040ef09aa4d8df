"""What is masked in training: the law of the paper, exact counts, gaps and rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.training.masking import MaskingConfig, draw_ratios, gap_masks, random_masks, row_masks


def test_the_ratios_follow_the_papers_truncated_gaussian():
    ratios = draw_ratios(40_000, MaskingConfig(), torch.Generator().manual_seed(0))
    assert ratios.mean().item() == pytest.approx(0.539, abs=0.01)
    assert ratios.std().item() == pytest.approx(0.219, abs=0.01)
    assert (ratios > 0.9).float().mean().item() == pytest.approx(0.047, abs=0.006)
    assert ratios.min() >= 0
    assert ratios.max() <= 1


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(1, 265), st.integers(0, 99))
def test_a_mask_has_exactly_the_count_of_its_ratio_and_never_none(ratio, n_tokens, seed):
    mask = random_masks(torch.tensor([ratio]), n_tokens, torch.Generator().manual_seed(seed))
    wanted = (torch.tensor(ratio) * n_tokens).ceil().clamp(1, n_tokens).item()
    assert mask.sum().item() == wanted


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 53), st.integers(0, 99))
def test_a_gap_is_one_run_of_whole_columns_of_at_most_half_the_clip(n_cols, seed):
    mask = gap_masks(4, 5, n_cols, torch.Generator().manual_seed(seed))
    assert torch.equal(mask.any(dim=1), mask.all(dim=1))
    columns = mask[:, 0].int()
    assert ((columns.diff(dim=1) == 1).sum(dim=1) + columns[:, 0] == 1).all()
    assert (columns.sum(dim=1) <= 1 + n_cols // 2).all()


def test_row_masks_are_the_top_rows_over_the_whole_clip_and_keep_the_lowest():
    mask = row_masks(200, 5, 7, torch.Generator().manual_seed(0))
    assert not mask[:, 0].any()
    assert mask[:, 4].all()
    assert torch.equal(mask.any(dim=2), mask.all(dim=2))
    assert (mask.int().diff(dim=1) >= 0).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"std": 0.0}, "std must be positive, got 0"),
        ({"low": 0.5, "high": 0.4}, "0 <= low < high <= 1 must hold, got 0.5 and 0.4"),
        ({"gap_share": 0.7, "row_share": 0.7}, "the shares must be positive and sum to at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        MaskingConfig(**wrong)
