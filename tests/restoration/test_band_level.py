"""An added band meets the recording below it: filter, level, quiet guard and limiter."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.restoration.band_level import (
    BLOCK_SAMPLES,
    band_gain,
    band_powers,
    high_pass,
    high_pass_reach,
    limited,
    loudness_gate,
    peak_gain,
    quiet_gain,
    survey,
)
from tests.tiny import SAMPLE_RATE, noise, tone

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


HZ, TOP = 4000.0, 11_025.0


def low(wave):
    return wave - high_pass(wave, SAMPLE_RATE, HZ)


def talk_over_hiss(seconds=6.0, hiss=1e-3, talk=0.1):
    """Return (truth, band-limited, where it is quiet): half seconds of talk and of hiss."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    talking = (time_s % 1.0) < 0.5
    truth = noise(seconds, level=hiss)[0] + noise(seconds, seed=1, level=talk)[0] * talking
    return truth, low(truth).astype(np.float32), ~talking


def surveyed(wave):
    blocks = [wave[None, start : start + BLOCK_SAMPLES] for start in range(0, len(wave), BLOCK_SAMPLES)]
    return survey(blocks, SAMPLE_RATE, HZ, TOP)


def test_the_floor_of_white_hiss_goes_on_as_white_hiss():
    _, wave, _ = talk_over_hiss()
    (floor,) = surveyed(wave).floors
    white = 1e-6 / (SAMPLE_RATE / 2)  # power per hertz
    assert 10 * np.log10(floor.above / (white * (TOP - HZ))) == pytest.approx(0, abs=1.5)
    assert 10 * np.log10(floor.below / (white * 1800)) == pytest.approx(0, abs=2.0)


def test_a_floor_that_falls_goes_on_falling():
    _, wave, quiet = talk_over_hiss()
    dark = np.convolve(noise(6, seed=5, level=1e-3)[0], np.ones(8) / 8, mode="same")
    floors = [surveyed(np.where(quiet, hiss, wave).astype(np.float32)).floors[0] for hiss in (low(dark), wave)]
    assert floors[0].above / floors[0].below < 0.3 * floors[1].above / floors[1].below


def test_hiss_over_pauses_is_capped_at_the_continued_floor_and_talk_is_not():
    truth, wave, quiet = talk_over_hiss()
    (floor,) = surveyed(wave).floors
    generated = noise(6, seed=2, level=0.03)[0]  # as loud in pauses as in talk
    gain, guarded = quiet_gain(wave, generated, SAMPLE_RATE, floor, 3.0)
    inside = np.convolve(quiet, np.ones(4096), mode="same") > 4095.5
    added, wanted = (high_pass(x, SAMPLE_RATE, HZ)[inside] for x in (generated * gain, truth))
    assert 10 * np.log10(np.mean(added**2) / np.mean(wanted**2)) == pytest.approx(3.0, abs=1.5)
    loud = np.convolve(~quiet, np.ones(4096), mode="same") > 4095.5
    assert np.median(gain[loud]) == pytest.approx(1.0, abs=1e-3)
    assert 0.3 < guarded.mean() < 0.7


def test_what_is_faint_already_is_left_alone():
    _, wave, _ = talk_over_hiss()
    (floor,) = surveyed(wave).floors
    gain, guarded = quiet_gain(wave, noise(6, seed=2, level=1e-4)[0], SAMPLE_RATE, floor, 3.0)
    assert gain.min() > 0.999
    assert not guarded.any()


def test_steady_sounds_and_silence_have_no_floor():
    assert surveyed(low(noise(6)[0]).astype(np.float32)).floors == (None,)
    assert surveyed(np.zeros(50_000, np.float32)).floors == (None,)


def test_digital_silence_is_not_the_floor():
    _, wave, _ = talk_over_hiss()
    wave = np.concatenate([wave, np.zeros(10 * SAMPLE_RATE, np.float32)])
    (floor,) = surveyed(wave).floors
    assert 10 * np.log10(floor.below / (1e-6 / (SAMPLE_RATE / 2) * 1800)) == pytest.approx(0, abs=3.0)


def test_blocks_hardly_change_what_is_known_of_the_whole():
    _, wave, _ = talk_over_hiss(60)
    assert len(wave) > BLOCK_SAMPLES
    (many,) = surveyed(wave).floors
    (one,) = survey([wave[None]], SAMPLE_RATE, HZ, TOP).floors
    assert 10 * np.log10(many.below / one.below) == pytest.approx(0, abs=0.2)


def test_what_is_above_the_cutoff_is_told_beside_what_is_below():
    truth, wave, _ = talk_over_hiss()
    assert surveyed(truth.astype(np.float32)).above_db == pytest.approx(10 * np.log10(6825 / 4000), abs=1.0)
    assert surveyed(wave).above_db < -80


PEAK_RATE = 22_050


def together(triples):
    triples = list(triples)
    joined = [np.concatenate([one[part] for one in triples], axis=1) for part in (0, 1)]
    return *joined, sum(one[2] for one in triples)


def test_what_does_not_clip_is_not_touched():
    original, added = tone(440, 0.5, level=0.5), tone(7000, 0.5, level=0.4)
    assert (peak_gain(original, added, PEAK_RATE) == 1).all()
    same, other, n_limited = together(limited([(original, added)], PEAK_RATE))
    np.testing.assert_array_equal(same, original)
    np.testing.assert_array_equal(other, added)
    assert n_limited == 0


def test_a_sum_stays_within_full_scale_and_the_original_as_it_was():
    original, added = tone(440, 0.5, level=0.95), noise(0.5, level=0.2)
    same, other, n_limited = together(limited([(original, added)], PEAK_RATE))
    np.testing.assert_array_equal(same, original)
    assert np.abs(original + added).max() > 1.2
    assert np.abs(same + other).max() <= 1.0
    assert n_limited > 0


def test_a_single_peak_is_heard_ten_milliseconds_around_at_most():
    original = np.zeros((2, PEAK_RATE), np.float32)
    original[1, PEAK_RATE // 2] = 0.9
    added = np.full((2, PEAK_RATE), 0.2, np.float32)
    gain = peak_gain(original, added, PEAK_RATE)
    assert gain[PEAK_RATE // 2] <= 0.5
    touched = np.flatnonzero(gain < 1.0)
    assert PEAK_RATE // 2 - touched[0] <= 0.0102 * PEAK_RATE
    assert touched[-1] - PEAK_RATE // 2 <= 0.0102 * PEAK_RATE
    assert np.abs(np.diff(gain)).max() < 0.02  # no corner that would click


def test_an_original_beyond_full_scale_is_never_made_larger():
    original, added = tone(440, 0.5, level=1.5), noise(0.5, level=0.2)
    extended = original + peak_gain(original, added, PEAK_RATE) * added
    assert (np.abs(extended) <= np.maximum(1.0, np.abs(original))).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12))
def test_blocks_decide_nothing(lengths):
    n = sum(lengths)
    original, added = tone(440, 0.5, level=0.95)[:, :n], noise(0.5, level=0.15)[:, :n]
    cuts = np.cumsum([0, *lengths])
    pieces = [(original[:, a:b], added[:, a:b]) for a, b in pairwise(cuts)]
    pieces = [(a, b) for a, b in pieces if a.shape[1]]
    same, other, n_limited = together(limited(pieces, PEAK_RATE))
    whole = together(limited([(original, added)], PEAK_RATE))
    np.testing.assert_array_equal(same, original)
    np.testing.assert_allclose(other, whole[1], atol=1e-7)
    assert n_limited == whole[2]
