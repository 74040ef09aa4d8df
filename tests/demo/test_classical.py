"""The rows beside masktools' own do what one can do without a model."""

import numpy as np
import pytest
from scipy.signal import firwin, oaconvolve

from masktools.demo.classical import copied, copied_up
from masktools.metrics import band_level_db, lsd_db

RATE = 22_050


def periodic(seconds, period=2205):
    pattern = np.random.default_rng(0).normal(0, 0.1, (2, period)).astype(np.float32)
    return np.tile(pattern, round(seconds * RATE / period))


def silenced(wave, start_s, end_s):
    damaged = wave.copy()
    damaged[:, round(start_s * RATE) : round(end_s * RATE)] = 0
    return damaged


class TestTheBestCopy:
    def test_repairs_what_repeats(self):
        wave = periodic(3)
        np.testing.assert_allclose(copied(silenced(wave, 1.0, 1.3), RATE, ((1.0, 1.3),)), wave, atol=1e-6)

    def test_leaves_what_is_far_from_a_gap(self):
        wave = np.random.default_rng(1).normal(0, 0.1, (1, 2 * RATE)).astype(np.float32)
        filled = copied(silenced(wave, 1.0, 1.3), RATE, ((1.0, 1.3),))
        far = np.abs(np.arange(2 * RATE) / RATE - 1.15) > 0.165
        np.testing.assert_array_equal(filled[:, far], wave[:, far])
        assert np.abs(filled[:, RATE + 500 : RATE + 6000]).max() > 0.1

    def test_never_copies_from_another_gap(self):
        wave = periodic(3)
        gaps = ((0.5, 0.8), (2.0, 2.3))
        filled = copied(silenced(silenced(wave, *gaps[0]), *gaps[1]), RATE, gaps)
        np.testing.assert_allclose(filled, wave, atol=1e-6)

    def test_of_more_than_half_a_recording_is_nothing(self):
        wave = periodic(1)
        damaged = silenced(wave, 0.2, 0.9)
        np.testing.assert_array_equal(copied(damaged, RATE, ((0.2, 0.9),)), damaged)

    @pytest.mark.parametrize("gap", [(0.0, 0.3), (2.7, 3.0)])
    def test_reaches_the_ends_of_a_recording(self, gap):
        wave = periodic(3)
        np.testing.assert_allclose(copied(silenced(wave, *gap), RATE, (gap,)), wave, atol=1e-6)


@pytest.fixture(scope="module")
def dull():
    noise = np.random.default_rng(2).normal(0, 0.1, (1, 3 * RATE))
    return oaconvolve(noise, firwin(801, 4000, fs=RATE)[None], mode="same", axes=-1).astype(np.float32)


class TestCopyingUp:
    def test_continues_the_spectrum(self, dull):
        bright = copied_up(dull, RATE, 4000, 11_000)
        assert bright.shape == dull.shape
        below = band_level_db(bright, RATE, (1000, 3000))
        assert band_level_db(bright, RATE, (5000, 7000)) == pytest.approx(below, abs=2)
        assert band_level_db(bright, RATE, (8000, 10_000)) == pytest.approx(below, abs=3)

    def test_keeps_what_is_below(self, dull):
        assert lsd_db(dull, copied_up(dull, RATE, 4000, 11_000), RATE, (0, 3700)) < 0.1

    def test_stops_where_it_is_told(self, dull):
        assert band_level_db(copied_up(dull, RATE, 4000, 7000), RATE, (7300, 11_000)) < -65
