"""Tokens are drawn as often as their probabilities say, also where these are extreme."""

import pytest
import torch

from masktools.errors import MasktoolsError
from masktools.solver import SolverConfig, solve
from masktools.solver.noise import as_seeds, keep_likely, sample, to_log_probs, uniform
from tests.solver.toys import only

PAPER = SolverConfig()


def constant(logits):
    """Return a predictor that believes the same of every slot."""
    return lambda tokens, mask, items, conditional: logits.expand(*tokens.shape, -1)


def fill(predict, config=PAPER, shape=(2, 3, 4), **kwargs):
    mask = torch.ones(shape, dtype=torch.bool)
    return solve(predict, torch.zeros(shape, dtype=torch.int64), mask, range(shape[0]), config, **kwargs)


def test_codes_come_as_often_as_they_are_likely():
    probs = torch.tensor([0.05, 0.5, 0.0, 0.2, 0.25])
    draws = sample(probs.log().expand(200_000, -1), uniform(as_seeds([1]), 0, 0, 200_000)[0])
    share = torch.bincount(draws, minlength=5) / 200_000
    torch.testing.assert_close(share, probs, atol=4e-3, rtol=0)
    assert share[2] == 0


def test_the_cumulative_distribution_is_inverted_exactly():
    log_probs = torch.tensor([0.25, 0.25, 0.5]).log().expand(6, -1)
    levels = torch.tensor([1e-12, 0.2499, 0.2501, 0.4999, 0.5001, 1 - 1e-16], dtype=torch.float64)
    assert sample(log_probs, levels).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_code_of_no_probability_is_never_drawn_not_even_at_the_edges():
    log_probs = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for level in (1e-300, 0.5, 1 - 2**-53, 1.0):
        assert sample(log_probs, torch.tensor([level], dtype=torch.float64)).item() == 1


@pytest.mark.parametrize("policy", ["confidence", "moment", "entropy", "margin"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_of_any_precision_give_no_nan(policy, dtype):
    logits = torch.tensor([1e4, -1e4, 0.0, 1e4, -torch.inf], dtype=dtype)
    result = fill(constant(logits), SolverConfig(policy=policy), logit_bias=only(5, 1, 2, 3, 4))
    assert (result.tokens == 3).all()
    assert all(torch.tensor(record.mean_log_p).isfinite().all() for record in result.trace)


def test_logits_that_are_impossible_in_both_passes_stay_impossible_under_guidance():
    logits = torch.tensor([-torch.inf, 0.0, 1.0])
    assert (fill(constant(logits)).tokens > 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_logits_without_a_meaning_are_refused(bad):
    with pytest.raises(MasktoolsError, match=r"predict must return logits without NaN or \+inf"):
        fill(constant(torch.tensor([0.0, bad, 1.0])))


def test_a_ban_that_leaves_nothing_possible_is_refused():
    with pytest.raises(MasktoolsError, match="at least one possible code per slot"):
        fill(constant(torch.tensor([-torch.inf, 0.0])), logit_bias=only(2, 0))


def test_banned_codes_are_never_drawn_and_allowed_ones_alone_are():
    flat = constant(torch.zeros(4))
    assert set(fill(flat, logit_bias=only(4, 1, 3)).tokens.unique().tolist()) == {1, 3}
    assert set(fill(flat, logit_bias=only(4, 2)).tokens.unique().tolist()) == {2}


def test_a_bias_may_differ_between_items_and_between_slots():
    flat = constant(torch.zeros(4))
    by_item = torch.stack([only(4, 0), only(4, 3)])
    assert fill(flat, logit_bias=by_item).tokens.flatten(1).unique(dim=1).tolist() == [[0], [3]]
    rows = torch.stack([only(4, row) for row in range(3)])  # one code per row of the grid, time-major
    by_slot = rows.repeat(4, 1).expand(2, 12, 4)
    assert fill(flat, logit_bias=by_slot).tokens.tolist() == [[[0] * 4, [1] * 4, [2] * 4]] * 2


def test_top_k_keeps_exactly_so_many_codes_also_among_equals():
    kept = keep_likely(torch.zeros(2, 6).log_softmax(dim=1), top_k=2).isfinite()
    assert kept.tolist() == [[True, True, False, False, False, False]] * 2


def test_top_p_keeps_the_fewest_codes_that_reach_the_share():
    log_probs = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    for share, wanted in ((0.05, 1), (0.39, 1), (0.41, 2), (0.75, 3), (0.95, 4), (1.0, 4)):
        kept = keep_likely(log_probs, top_p=share).isfinite()
        assert kept.sum() == wanted
    both = keep_likely(log_probs, top_k=3, top_p=0.5).isfinite()
    assert both.tolist() == [[False, True, False, True]]


def test_top_k_of_one_takes_the_most_likely_code():
    logits = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    result = fill(lambda tokens, *_: logits.expand(len(tokens), -1, -1), SolverConfig(top_k=1))
    best = logits.argmax(dim=1).view(4, 3).T
    assert torch.equal(result.tokens, best.expand(2, -1, -1))


def test_a_low_token_temperature_sharpens_and_a_high_one_flattens():
    logits = torch.tensor([[0.0, 1.0]])
    cold, plain, hot = (to_log_probs(logits, torch.tensor([[warmth]])).exp()[0, 1].item() for warmth in (0.5, 1.0, 2.0))
    assert cold == pytest.approx(torch.tensor(2.0).sigmoid().item())
    assert plain == pytest.approx(torch.tensor(1.0).sigmoid().item())
    assert hot == pytest.approx(torch.tensor(0.5).sigmoid().item())


def test_log_probabilities_are_in_single_precision_whatever_the_logits():
    assert to_log_probs(torch.zeros(1, 3, dtype=torch.float16)).dtype == torch.float32
