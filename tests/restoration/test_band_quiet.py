"""The quiet guard: pauses stay pauses."""

import numpy as np
import pytest

from masktools.restoration.band_level import BLOCK_SAMPLES, high_pass, quiet_gain, survey
from tests.tiny import SAMPLE_RATE, noise

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
