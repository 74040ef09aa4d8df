"""Noise is a function of its coordinates: even, independent, finite, the same everywhere."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.solver import derive_seed, item_seeds
from masktools.solver.noise import Stream, as_seeds, gumbel, uniform

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


def test_a_seed_that_is_no_integer_is_refused():
    with pytest.raises(ParameterError, match=r"seeds must be a sequence of integers, got tensor\(\[0.5"):
        as_seeds(torch.tensor([0.5]))
