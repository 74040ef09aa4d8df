"""Above the model's band: what is there goes on upwards, as loud as such recordings are, and as quiet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.levels import BAND_EDGES_HZ, FixedSlope, frame_length, frames_of
from masktools.restoration import bwe
from masktools.restoration.band_level import high_pass
from masktools.restoration.band_upper import UpperBand, overlapped
from masktools.solver import SolverConfig
from tests.tiny import noise, tone

RATE = 44_100
FALLING = FixedSlope(-12.0)
FEW = SolverConfig(n_steps=2)


def low(samples, rate, hertz):
    return np.stack([wave - high_pass(wave, rate, hertz) for wave in samples]).astype(np.float32)


def band_db(samples, rate, low_hz, high_hz):
    power = np.abs(np.fft.rfft(samples * np.hanning(samples.shape[-1]))) ** 2
    hertz = np.fft.rfftfreq(samples.shape[-1], 1 / rate)
    inside = (hertz >= low_hz) & (hertz < high_hz)
    return 10 * np.log10(power[:, inside].sum() / samples.shape[-1] ** 2 + 1e-20)


def density_db(samples, rate, low_hz, high_hz):
    return band_db(samples, rate, low_hz, high_hz) - 10 * np.log10(high_hz - low_hz)


def upper(samples, rate=RATE, cutoff_hz=12_000.0, top_hz=20_000.0, levels=FALLING, block=5000, **settings):
    stage = UpperBand(rate, cutoff_hz, cutoff_hz, top_hz, levels, **settings)
    zeros = np.zeros_like(samples)
    blocks = ((samples[:, at : at + block], zeros[:, at : at + block]) for at in range(0, samples.shape[1], block))
    pairs = list(stage.joined(blocks, samples.shape[1]))
    np.testing.assert_array_equal(np.concatenate([original for original, _ in pairs], axis=1), samples)
    return np.concatenate([added for _, added in pairs], axis=1)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
def test_the_band_goes_on_at_the_expected_level_up_to_the_top(rate):
    samples = low(noise(2, rate), rate, 12_000)
    added = upper(samples, rate)
    below = density_db(samples, rate, 9000, 11_000)
    for low_hz in (13_000, 15_000, 17_000):
        expected = below - 12 * np.log2(np.sqrt(low_hz * (low_hz + 1000)) / np.sqrt(9900 * 10_900))
        assert density_db(added, rate, low_hz, low_hz + 1000) == pytest.approx(expected, abs=2.5)
    assert density_db(added, rate, 20_200, rate / 2) < below - 80


def test_below_the_cutoff_nothing_is_added():
    samples = low(noise(2, RATE), RATE, 12_000)
    assert band_db(upper(samples), RATE, 0, 11_700) < band_db(samples, RATE, 0, 11_700) - 100


def test_what_was_added_above_the_start_before_gives_way():
    samples, band = low(noise(2, RATE), RATE, 4000), noise(2, RATE, seed=1) * 1e-2
    stage = UpperBand(RATE, 4000.0, 10_000.0, 20_000.0, FixedSlope(-120.0))
    added = np.concatenate([block for _, block in stage.joined([(samples, band)], samples.shape[1])], axis=1)
    assert density_db(added - band, RATE, 0, 9700) < density_db(band, RATE, 0, 9700) - 90
    assert density_db(added, RATE, 15_000, 20_000) < density_db(band, RATE, 15_000, 20_000) - 20


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12 * RATE), st.integers(100, 300_000))
def test_blocks_of_any_length_make_up_the_same(n_samples, n_block):
    samples = low(noise(12.0, RATE), RATE, 12_000)[:, :n_samples]
    np.testing.assert_array_equal(upper(samples, block=n_block), upper(samples, block=n_samples))


def test_joins_of_stretches_are_those_of_one_long_stretch(monkeypatch):
    samples = low(noise(9.0, RATE), RATE, 12_000)
    several = upper(samples)
    monkeypatch.setattr("masktools.restoration.band_upper.STRETCH_S", 20.0)
    assert np.abs(several - upper(samples)).max() < 1e-6


def test_equal_channels_stay_equal_and_others_keep_their_levels():
    mono = low(noise(2, RATE), RATE, 12_000)
    same = upper(np.repeat(mono, 2, axis=0))
    np.testing.assert_array_equal(same[0], same[1])
    one, half = upper(np.concatenate([mono, 0.5 * mono]))
    np.testing.assert_allclose(half, 0.5 * one, atol=1e-6)


def test_silence_stays_silence_and_a_constant_offset_is_none():
    assert not upper(np.zeros((2, RATE), np.float32)).any()
    assert np.abs(upper(np.full((1, 2 * RATE), 0.1, np.float32))[:, 5000:-5000]).max() < 1e-6
    gap = low(noise(3.0, RATE), RATE, 12_000)
    gap[:, RATE : 2 * RATE] = 0
    assert np.abs(upper(gap)[:, RATE + 3000 : 2 * RATE - 3000]).max() < 1e-9


def test_a_pause_is_not_filled_with_the_level_of_what_surrounds_it():
    samples = low(noise(6.0, RATE), RATE, 12_000)
    samples[:, 2 * RATE : 4 * RATE] *= 1e-2
    added = upper(samples)
    loud, quiet = (band_db(added[:, at : at + RATE], RATE, 13_000, 19_000) for at in (RATE // 2, 5 * RATE // 2))
    assert quiet - loud == pytest.approx(-40, abs=1)


def test_frames_put_together_are_the_wave_again():
    wave = noise(0.3, RATE)[0]
    again = overlapped(frames_of(wave, RATE), frame_length(RATE))[: len(wave)]
    np.testing.assert_allclose(again[800:-800], wave[800:-800], atol=1e-6)


@pytest.mark.parametrize("cutoff_hz", [11_000.0, 16_000.0])
def test_a_band_that_ends_above_the_model_s_is_extended_without_it(pipeline, monkeypatch, cutoff_hz):
    monkeypatch.setattr(pipeline, "fill", lambda *given: pytest.fail("the model was asked"))
    samples = low(noise(2, RATE, 2), RATE, cutoff_hz)
    made = bwe(pipeline, samples, RATE, cutoff_hz)
    assert band_db(made.samples - samples, RATE, 0, cutoff_hz - 300) < band_db(samples, RATE, 0, cutoff_hz - 300) - 100
    assert density_db(made.samples, RATE, cutoff_hz + 500, 19_500) > density_db(samples, RATE, 1000, 8000) - 40
    assert (made.report["rows_generated"], made.report["n_windows"], made.report["n_forwards"]) == ([], 0, 0)
    assert (made.report["upper_from_hz"], made.report["top_hz"]) == (cutoff_hz, 20_000)


def test_less_than_the_model_s_band_is_given_where_less_is_wanted(pipeline):
    samples = low(noise(2, RATE), RATE, 4000)
    made = bwe(pipeline, samples, RATE, 4000, to_hz=8000.0, solver=FEW)
    assert density_db(made.samples, RATE, 8300, 20_000) < density_db(made.samples, RATE, 4500, 7500) - 80
    assert (made.report["top_hz"], made.report["upper_from_hz"]) == (8000, None)


def test_leftovers_above_a_high_cutoff_are_taken_away_when_asked(pipeline):
    clean = low(noise(3, RATE), RATE, 12_000)
    samples = clean + tone(21_000, 3, RATE, level=1e-4)
    made = bwe(pipeline, samples, RATE, 12_000, clean_above=True).samples
    assert band_db(made, RATE, 20_800, 21_200) < band_db(samples, RATE, 20_800, 21_200) - 40


def test_what_is_added_follows_its_gain(pipeline):
    samples = low(noise(2, RATE), RATE, 12_000)
    plain, louder = (bwe(pipeline, samples, RATE, 12_000, hf_gain_db=gain).samples - samples for gain in (0.0, 6.0))
    assert band_db(louder, RATE, 13_000, 19_000) - band_db(plain, RATE, 13_000, 19_000) == pytest.approx(6, abs=0.05)


def test_eight_channels_and_a_rate_of_192_khz_are_extended(pipeline):
    samples = low(noise(0.5, 192_000, 8), 192_000, 12_000)
    made = bwe(pipeline, samples, 192_000, 12_000, to_hz=40_000.0)
    assert made.samples.shape == samples.shape
    assert density_db(made.samples, 192_000, 30_000, 39_000) > density_db(samples, 192_000, 30_000, 39_000) + 20


def test_bands_are_narrower_than_what_is_known_of_them():
    assert (np.diff(BAND_EDGES_HZ) > 0).all()
    assert BAND_EDGES_HZ[-1] == 20_000
