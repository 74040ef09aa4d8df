"""What is masked in training: the laws of ratios, exact counts, gaps and rows, all of them functions of the clip."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.training.masking import (
    RATIO_LAWS,
    ClipDraws,
    MaskingConfig,
    Purpose,
    draw_masks,
    gap_masks,
    random_masks,
    ratios,
    row_masks,
    step_draws,
)


def numbers(n_clips, n=1, seed=0):
    return torch.rand(n_clips, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_ratios_follow_the_papers_truncated_gaussian():
    drawn = ratios(ClipDraws(0, range(40_000)).uniform(Purpose.RATIO)[:, 0], MaskingConfig())
    assert drawn.mean().item() == pytest.approx(0.539, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.219, abs=0.01)
    assert (drawn > 0.9).float().mean().item() == pytest.approx(0.047, abs=0.006)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


@pytest.mark.parametrize(
    ("law", "mean", "above_90"),
    [("uniform", 0.5, 0.1), ("cosine", 0.637, 0.287), ("arccos", 0.637, 0.156), ("beta", 0.5, 0.028)],
)
def test_other_laws_have_the_means_of_their_formulas(law, mean, above_90):
    drawn = ratios(numbers(40_000)[:, 0], MaskingConfig(law=law))
    assert drawn.mean().item() == pytest.approx(mean, abs=0.01)
    assert (drawn > 0.9).float().mean().item() == pytest.approx(above_90, abs=0.006)


@pytest.mark.parametrize("law", RATIO_LAWS)
def test_every_law_keeps_to_its_range(law):
    drawn = ratios(numbers(2000)[:, 0], MaskingConfig(law=law, low=0.5, high=0.75))
    assert drawn.min() >= 0.5
    assert drawn.max() <= 0.75
    assert drawn.std() > 0.02


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(1, 265), st.integers(0, 99))
def test_a_mask_has_exactly_the_count_of_its_ratio_and_never_none(ratio, n_tokens, seed):
    mask = random_masks(torch.tensor([ratio], dtype=torch.float64), numbers(1, n_tokens, seed))
    wanted = (torch.tensor(ratio, dtype=torch.float64) * n_tokens).ceil().clamp(1, n_tokens).item()
    assert mask.sum().item() == wanted


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 53), st.integers(0, 99))
def test_a_gap_is_one_run_of_whole_columns_of_at_most_half_the_clip(n_cols, seed):
    mask = gap_masks(numbers(4, 2, seed), 5, n_cols)
    assert torch.equal(mask.any(dim=1), mask.all(dim=1))
    columns = mask[:, 0].int()
    assert ((columns.diff(dim=1) == 1).sum(dim=1) + columns[:, 0] == 1).all()
    assert (columns.sum(dim=1) <= 1 + n_cols // 2).all()


def test_row_masks_are_the_top_rows_over_the_whole_clip_and_keep_the_lowest():
    mask = row_masks(numbers(200), 5, 7)
    assert not mask[:, 0].any()
    assert mask[:, 4].all()
    assert torch.equal(mask.any(dim=2), mask.all(dim=2))
    assert (mask.int().diff(dim=1) >= 0).all()


def test_a_grid_of_one_row_is_masked_whole():
    assert row_masks(numbers(3), 1, 4).all()


def test_masks_come_in_the_shares_asked_for_and_only_gaps_and_rows_are_erased():
    config = MaskingConfig(full_share=0.25, gap_share=0.25, row_share=0.25)
    masks, erased = draw_masks(ClipDraws(0, range(4000)), 5, 10, config)
    columns, rows = masks.any(1).eq(masks.all(1)).all(1), masks.any(2).eq(masks.all(2)).all(1)
    full = masks.flatten(1).all(1)
    assert full.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (columns & ~full).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (rows & ~full).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(erased, (columns ^ rows) & ~full)


def test_top_rows_are_masked_only_in_clips_that_have_them():
    full_band = torch.arange(400) % 2 == 0
    masks, erased = draw_masks(ClipDraws(0, range(400)), 5, 10, MaskingConfig(row_share=1.0), full_band)
    assert torch.equal(erased, full_band)
    assert masks[~full_band].any(dim=(1, 2)).all(), "the others are masked at random"


def test_a_clips_mask_depends_on_its_number_and_on_no_other_clip():
    config = MaskingConfig(full_share=0.1, gap_share=0.2, row_share=0.2)
    together, _ = draw_masks(ClipDraws(7, range(12)), 5, 6, config)
    apart = torch.cat([draw_masks(ClipDraws(7, [index]), 5, 6, config)[0] for index in range(12)])
    assert torch.equal(together, apart)
    assert not torch.equal(together, draw_masks(ClipDraws(8, range(12)), 5, 6, config)[0])


def test_what_a_step_draws_is_not_what_a_clip_of_that_number_draws():
    assert step_draws(0, 5).uniform(Purpose.RATIO) != ClipDraws(0, [5]).uniform(Purpose.RATIO)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"std": 0.0}, "std must be above 0, got 0"),
        ({"beta": -1.0}, "beta must be above 0, got -1"),
        ({"low": 0.5, "high": 0.4}, "0 <= low < high <= 1 must hold, got 0.5 and 0.4"),
        ({"gap_share": 0.7, "row_share": 0.7}, "the shares must be positive and sum to at most 1"),
        ({"law": "cosin"}, r"unknown law of ratios 'cosin': choose from .*did you mean 'cosine'"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        MaskingConfig(**wrong)
