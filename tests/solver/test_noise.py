"""Random numbers depend on their coordinates alone, and tokens are drawn as often as their probabilities say."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import MasktoolsError, ParameterError
from masktools.solver import SolverConfig, derive_seed, item_seeds, solve
from masktools.solver.choice import Stream, as_seeds, gumbel, keep_likely, sample, to_log_probs, uniform
from tests.solver.toys import only

WORD = 2**64


def splitmix(state):
    """Return what the published generator gives for a state, in integers without a size."""
    word = (state + 0x9E3779B97F4A7C15) % WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % WORD
    return word ^ (word >> 31)


def test_the_reference_is_the_published_generator():
    assert splitmix(1234567) == 6457827717110365317  # the first output of Vigna's splitmix64 for this seed


@settings(max_examples=30, deadline=None)
@given(st.integers(0, WORD - 1), st.integers(0, 1000), st.sampled_from(list(Stream)))
def test_a_draw_is_a_splitmix_hash_of_its_coordinates(seed, step, stream):
    golden = 0x9E3779B97F4A7C15
    key = splitmix((splitmix((seed - golden) % WORD) + (4 * step + stream) * golden) % WORD)
    wanted = [((splitmix((key + pos * golden) % WORD) >> 12) + 0.5) / 2**52 for pos in range(5)]
    assert uniform(as_seeds([seed]), step, stream, 5)[0].tolist() == wanted


def test_draws_are_even_and_neighbours_know_nothing_of_each_other():
    draws = uniform(as_seeds(item_seeds(0, 200)), 3, Stream.TOKEN, 500)
    assert draws.mean().item() == pytest.approx(0.5, abs=3e-3)
    assert 12 * draws.var().item() == pytest.approx(1, abs=0.01)
    near = [
        (draws[:, 1:], draws[:, :-1]),
        (draws[1:], draws[:-1]),
        (draws, uniform(as_seeds(item_seeds(0, 200)), 4, Stream.TOKEN, 500)),
        (draws, uniform(as_seeds(item_seeds(0, 200)), 3, Stream.CHOICE, 500)),
        (draws, uniform(as_seeds(range(200)), 3, Stream.TOKEN, 500)),
    ]
    for first, second in near:
        correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
        assert abs(correlation.item()) < 0.012


def test_a_position_does_not_depend_on_how_many_are_drawn_or_for_whom():
    seeds = as_seeds(item_seeds(5, 4))
    whole = uniform(seeds, 2, Stream.CHOICE, 100)
    assert torch.equal(whole[2:3, :7], uniform(seeds[2:3], 2, Stream.CHOICE, 7))


def test_the_highest_and_the_lowest_word_give_neither_one_nor_zero():
    highest, lowest = ((2**52 - 1) + 0.5) * 2.0**-52, 0.5 * 2.0**-52
    assert 0 < lowest < highest < 1
    assert math.isfinite(-math.log(-math.log(highest)))
    assert math.isfinite(-math.log(-math.log(lowest)))


def test_gumbel_noise_has_its_mean_and_spread():
    draws = gumbel(as_seeds(range(100)), 0, Stream.CHOICE, 1000)
    assert draws.isfinite().all()
    assert draws.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert draws.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)


def test_seeds_of_items_differ_and_do_not_depend_on_how_many_there_are():
    seeds = item_seeds(7, 1000)
    assert len(set(seeds)) == 1000
    assert seeds[:10] == item_seeds(7, 10)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert not set(seeds) & set(item_seeds(8, 1000)), "neighbouring base seeds share no item"
    assert derive_seed(7, 1, 2) != derive_seed(7, 2, 1)


def test_seeds_of_any_size_and_sign_count():
    assert as_seeds([-1, 2**64 - 1, 2**64, 2**63]).tolist() == [-1, -1, 0, -(2**63)]
    assert as_seeds(torch.tensor([3, -4])).tolist() == [3, -4]


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: as_seeds(torch.tensor([0.5])),
            ParameterError,
            r"seeds must be a sequence of integers, got tensor\(\[0.5",
        ),
        (
            lambda: fill(constant(torch.tensor([-torch.inf, 0.0])), logit_bias=only(2, 0)),
            MasktoolsError,
            "at least one possible code per slot",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


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
