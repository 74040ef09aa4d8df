"""Channels: equal ones stay equal, and a side goes on above the cutoff as it was below."""

import numpy as np
import pytest

from masktools.errors import ParameterError
from masktools.restoration.band_level import side_of
from masktools.restoration.recordings import Duplicates, check_channels
from tests.tiny import SAMPLE_RATE, noise

HZ = 4000.0


def power_db(one, other):
    return 10 * np.log10(np.mean(np.square(one)) / np.mean(np.square(other)))


def test_twins_are_one_until_they_part_and_never_again():
    wave, other = noise(0.1)[0], noise(0.1, seed=1)[0]
    twins = Duplicates(3, linked=True)
    twins.part(np.stack([wave, other, wave]))
    assert (twins.places, twins.firsts) == ([0, 1, 0], [0, 1])
    twins.part(np.stack([wave, wave, wave]))
    assert twins.firsts == [0, 1]
    twins.part(np.stack([wave, other, other]))
    assert twins.firsts == [0, 1, 2]


def test_independent_channels_have_no_twins():
    twins = Duplicates(2, linked=False)
    twins.part(np.zeros((2, 10)))
    assert twins.firsts == [0, 1]


@pytest.mark.parametrize("lean", [-0.8, 0.0, 0.5])
def test_what_leans_to_a_side_goes_on_leaning(lean):
    wave, band = noise(3)[0], noise(3, seed=1)[0]
    side = side_of(band, np.stack([(1 + lean) * wave, (1 - lean) * wave]), SAMPLE_RATE, HZ)
    inside = slice(4000, -4000)
    np.testing.assert_allclose(side[inside], lean * band[inside], atol=0.01)


def test_what_is_wide_goes_on_as_wide_and_leans_nowhere():
    mid, own, band = (noise(8, seed=seed)[0] for seed in range(3))
    side = side_of(band, np.stack([mid + 0.5 * own, mid - 0.5 * own]), SAMPLE_RATE, HZ)
    assert power_db(side, band) == pytest.approx(20 * np.log10(0.5), abs=0.5)
    assert abs(np.corrcoef(side, band)[0, 1]) < 0.3


def test_a_single_channel_on_both_sides_has_no_side():
    wave, band = noise(1)[0], noise(1, seed=1)[0]
    assert np.abs(side_of(band, np.stack([wave, wave]), SAMPLE_RATE, HZ)).max() < 1e-9


def test_channels_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match="unknown channels 'ms': choose from linked, independent, mid_side"):
        check_channels("ms", 2)
    with pytest.raises(ParameterError, match="'mid_side' is for recordings of 2 channels, got 6: choose 'linked'"):
        check_channels("mid_side", 6)
