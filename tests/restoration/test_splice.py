"""Splicing by physics: levels that fit, seams that do not click, and a low band that stays."""

import numpy as np
import pytest

from masktools.restoration.splice import band_gain, end_gains, fill_gap, high_pass, loudness_gate, seam_length
from tests.tiny import noise, tone

RATE = 44_100


def db(ratio):
    return 20 * np.log10(ratio)


def rms(wave):
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64)))


def test_each_end_gets_the_gain_of_its_own_side():
    known, generated = noise(0.1)[0], noise(0.1, seed=1)[0]
    left, right = end_gains((known, generated / 1.5), (known, generated * 1.25))
    assert db(left) == pytest.approx(db(1.5), abs=0.3)
    assert db(right) == pytest.approx(db(0.8), abs=0.3)


def test_gains_stay_within_six_decibels():
    known = noise(0.1)[0]
    np.testing.assert_allclose(db(end_gains((known, known / 50), (known, known * 50))), [6, -6], atol=1e-6)


def test_a_side_without_audio_takes_the_gain_of_the_other():
    known = noise(0.1)[0]
    nothing = known[:0]
    np.testing.assert_allclose(end_gains((nothing, nothing), (known, known / 1.5)), [1.5, 1.5], rtol=1e-5)
    np.testing.assert_allclose(end_gains((known, known / 1.5), (known * 0, known)), [1.5, 1.5], rtol=1e-5)
    assert end_gains((known, known * 0), (known, known * 0)) == (1.0, 1.0)


def test_between_silence_and_silence_there_is_silence():
    silence, generated = np.zeros(1000), noise(0.1)[0][:1000]
    assert end_gains((silence, generated), (silence, generated)) is None
    assert end_gains((silence[:0], generated[:0]), (silence, generated)) is None


def test_the_gain_is_linear_in_decibels():
    filled = fill_gap(np.ones(1001), np.ones(1), np.ones(1), (1.0, 2.0))
    np.testing.assert_allclose(db(filled[1:-1]), np.linspace(0, db(2), 1001)[1:-1])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 100, 5000])
def test_seams_lie_inside_the_gap_and_take_half_of_it_at_most(n):
    seam = seam_length(n, RATE)
    assert 1 <= seam <= max(1, n // 2)
    assert seam <= 0.015 * RATE + 1
    filled = fill_gap(np.ones(n), np.zeros(seam), np.zeros(seam), (1.0, 1.0))
    assert filled.shape == (n,)
    assert np.isfinite(filled).all()


def test_a_seam_starts_with_the_continuation_and_ends_with_what_was_generated():
    filled = fill_gap(np.zeros(4000), np.ones(600), -np.ones(600), (1.0, 1.0))
    assert filled[0] == pytest.approx(1, abs=1e-5)
    assert filled[-1] == pytest.approx(-1, abs=1e-5)
    assert not filled[600:-600].any()


def test_equal_power_keeps_the_level_of_what_is_not_in_phase():
    generated, left = noise(1)[0], noise(1, seed=1)[0]
    levels = []
    for start in range(0, 20_000, 600):
        filled = fill_gap(generated[start:][:2000], left[start:][:600], left[start:][600:1200], (1.0, 1.0))
        levels.append(rms(filled[200:400]))
    assert abs(db(rms(levels) / rms(generated))) < 0.3


@pytest.mark.parametrize("cutoff_hz", [1000, 3400, 9000])
def test_nothing_is_left_below_the_cutoff_and_everything_above(cutoff_hz):
    for rate in (22_050, 44_100, 48_000):
        for hertz, low_db, high_db in ((cutoff_hz - 250, -200, -100), (cutoff_hz + 50, -0.01, 0.01)):
            passed = high_pass(tone(hertz, 1, rate)[0], rate, cutoff_hz)
            level = db(rms(passed[rate // 4 : -rate // 4]) / rms(tone(hertz, 1, rate)))
            assert low_db < level < high_db


def test_the_high_pass_delays_nothing():
    click = np.zeros(4001)
    click[2000] = 1
    passed = high_pass(click, 22_050, 4000)
    assert np.argmax(passed) == 2000
    np.testing.assert_allclose(passed, passed[::-1], atol=1e-12)


@pytest.mark.parametrize("n", [1, 10, 500])
def test_the_high_pass_keeps_short_lengths(n):
    assert high_pass(np.ones(n), 22_050, 4000).shape == (n,)


def test_the_band_below_the_cutoff_sets_the_level():
    known = noise(3, 22_050)[0]
    for factor, expected in ((0.7, 1 / 0.7), (1.5, 1 / 1.5), (0.1, 2), (30, 0.5)):
        gain = band_gain(known, known * factor, 22_050, 4000)
        assert gain.shape == known.shape
        np.testing.assert_allclose(gain, expected, rtol=5e-3)


def test_what_lies_outside_the_matched_band_does_not_count():
    known = tone(3500, 2, 22_050)[0]
    generated = known + 10 * tone(8000, 2, 22_050)[0] + 10 * tone(300, 2, 22_050)[0]
    np.testing.assert_allclose(band_gain(known, generated, 22_050, 4000), 1, rtol=0.02)


def test_the_gain_follows_slowly():
    known = noise(6, 22_050)[0]
    generated = known.copy()
    generated[3 * 22_050 :] *= 2
    gain = band_gain(known, generated, 22_050, 4000)
    assert gain[22_050] == pytest.approx(1, abs=0.02)
    assert gain[5 * 22_050] == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.diff(gain)).max() < 1e-3


def test_without_anything_to_compare_nothing_changes():
    silence = np.zeros(5000, np.float32)
    np.testing.assert_array_equal(band_gain(silence, silence, 22_050, 4000), 1)


def test_the_gate_is_shut_in_digital_silence_only():
    known = noise(2, 22_050)[0]
    known[22_050:] *= 1e-3  # 80 dB below full scale: quiet, not silent
    known[33_000:] = 0
    gate = loudness_gate(known)
    assert (gate[:32_000] == 1).all()
    assert (gate[36_000:] == 0).all()
    assert gate.shape == known.shape
