"""Where a sum would clip, only what is added gives way."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.restoration.band_level import limited, peak_gain
from tests.tiny import noise, tone

RATE = 22_050


def together(triples):
    triples = list(triples)
    joined = [np.concatenate([one[part] for one in triples], axis=1) for part in (0, 1)]
    return *joined, sum(one[2] for one in triples)


def test_what_does_not_clip_is_not_touched():
    original, added = tone(440, 0.5, level=0.5), tone(7000, 0.5, level=0.4)
    assert (peak_gain(original, added, RATE) == 1).all()
    same, other, n_limited = together(limited([(original, added)], RATE))
    np.testing.assert_array_equal(same, original)
    np.testing.assert_array_equal(other, added)
    assert n_limited == 0


def test_a_sum_stays_within_full_scale_and_the_original_as_it_was():
    original, added = tone(440, 0.5, level=0.95), noise(0.5, level=0.2)
    same, other, n_limited = together(limited([(original, added)], RATE))
    np.testing.assert_array_equal(same, original)
    assert np.abs(original + added).max() > 1.2
    assert np.abs(same + other).max() <= 1.0
    assert n_limited > 0


def test_a_single_peak_is_heard_ten_milliseconds_around_at_most():
    original = np.zeros((2, RATE), np.float32)
    original[1, RATE // 2] = 0.9
    added = np.full((2, RATE), 0.2, np.float32)
    gain = peak_gain(original, added, RATE)
    assert gain[RATE // 2] <= 0.5
    touched = np.flatnonzero(gain < 1.0)
    assert RATE // 2 - touched[0] <= 0.0102 * RATE
    assert touched[-1] - RATE // 2 <= 0.0102 * RATE
    assert np.abs(np.diff(gain)).max() < 0.02  # no corner that would click


def test_an_original_beyond_full_scale_is_never_made_larger():
    original, added = tone(440, 0.5, level=1.5), noise(0.5, level=0.2)
    extended = original + peak_gain(original, added, RATE) * added
    assert (np.abs(extended) <= np.maximum(1.0, np.abs(original))).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12))
def test_blocks_decide_nothing(lengths):
    n = sum(lengths)
    original, added = tone(440, 0.5, level=0.95)[:, :n], noise(0.5, level=0.15)[:, :n]
    cuts = np.cumsum([0, *lengths])
    pieces = [(original[:, a:b], added[:, a:b]) for a, b in pairwise(cuts)]
    pieces = [(a, b) for a, b in pieces if a.shape[1]]
    same, other, n_limited = together(limited(pieces, RATE))
    whole = together(limited([(original, added)], RATE))
    np.testing.assert_array_equal(same, original)
    np.testing.assert_allclose(other, whole[1], atol=1e-7)
    assert n_limited == whole[2]
