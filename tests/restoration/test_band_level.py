"""The filter between a recording and what is added, and how loud that must be."""

import numpy as np
import pytest

from masktools.restoration.band_level import band_gain, band_powers, high_pass, high_pass_reach, loudness_gate
from tests.tiny import noise, tone

RATE = 44_100


def db(ratio):
    return 20 * np.log10(ratio)


def rms(wave):
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64)))


@pytest.mark.parametrize(("hertz", "gain"), [(3850, 0.0), (4000, 0.5), (4150, 1.0), (9000, 1.0)])
def test_half_of_the_amplitude_passes_at_the_cutoff(hertz, gain):
    wave = tone(hertz, 1.0, RATE)[0]
    inside = slice(RATE // 4, -RATE // 4)
    passed = high_pass(wave, RATE, 4000)[inside]
    np.testing.assert_allclose(passed, gain * wave[inside], atol=2e-5 * 0.3)  # neither delay nor ripple


def test_the_filter_reads_no_further_than_it_says():
    impulse = np.zeros(6000)
    impulse[3000] = 1.0
    heard = np.flatnonzero(np.abs(high_pass(impulse, RATE, 4000)) > 1e-12)
    assert abs(heard[0] - 3000) == abs(heard[-1] - 3000) <= high_pass_reach(RATE) < 2000


def test_waves_shorter_than_the_filter_keep_their_length():
    assert high_pass(np.ones(5), RATE, 4000).shape == (5,)


def test_powers_of_bands_are_mean_squares():
    wave = tone(1000, 1.0, RATE, level=0.5)[0] + tone(5000, 1.0, RATE, level=0.1)[0]
    powers = band_powers(wave, RATE, [(500, 2000), (4000, 6000), (8000, 9000)])[10:-10]
    np.testing.assert_allclose(powers[:, 0], 0.125, rtol=0.01)
    np.testing.assert_allclose(powers[:, 1], 0.005, rtol=0.01)
    assert powers[:, 2].max() < 1e-6


def test_the_gain_follows_what_is_just_below_the_cutoff():
    known, generated = noise(3, RATE)[0], noise(3, RATE, seed=1)[0]
    assert db(np.median(band_gain(known, generated / 1.5, RATE, 4000))) == pytest.approx(db(1.5), abs=0.3)
    assert db(band_gain(known, generated / 50, RATE, 4000)).max() == pytest.approx(6, abs=1e-6)
    assert (band_gain(known * 0, generated * 0, RATE, 4000) == 1).all()


def test_the_gate_closes_over_digital_silence_only():
    known = noise(3, RATE, level=1e-4)[0]
    known[RATE : 2 * RATE] = 0
    gate = loudness_gate(known)
    assert gate[: RATE - 2048].min() == gate[2 * RATE + 2048 :].min() == 1
    assert gate[RATE + 2048 : 2 * RATE - 2048].max() == 0
    assert rms(gate) > 0
