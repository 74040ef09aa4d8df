"""The band above the model's comes from the band below it, or from another take."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.classical.fills import high_pass
from masktools.core.errors import ParameterError
from masktools.core.levels import BAND_EDGES_HZ, FixedSlope, frame_length, frames_of
from masktools.restoration.band_upper import UpperBand, overlapped, take_of
from masktools.restoration.recordings import Signal
from masktools.solver import SolverConfig
from tests.restoration.jobs import bwe
from tests.tiny import noise, tone

RATE = 44_100
CUT, TOP = 5000.0, 20_000.0
DULL = slice(3 * RATE, 6 * RATE)


def two_sounds(seconds=9, seed=0):
    """A bright and a dark sound in turn, each for half a second, that differ below the cutoff, too."""
    wave = noise(seconds, RATE, seed=seed)
    bright = np.arange(wave.shape[1]) // (RATE // 2) % 2 == 0
    body = low(wave, RATE, 4000)
    return np.where(bright, body * 0.3 + (wave - body), body + 0.003 * (wave - body)).astype(np.float32), bright


def extended(samples, take):
    stage = UpperBand(RATE, CUT, CUT, TOP, FixedSlope(-12.0), take=take)
    pairs = stage.joined([(samples, np.zeros_like(samples))], samples.shape[1])
    return np.concatenate([added for _, added in pairs], axis=1)


def take(samples, rate=RATE, **more):
    return take_of(Signal.of(samples, rate), RATE, CUT, **more)


def with_a_dull_stretch(samples):
    dull = samples.copy()
    dull[:, DULL] = low(samples, RATE, CUT)[:, DULL]
    return dull


def in_steady_parts(wave, chosen):
    """What a wave (t,) has above 7 kHz in the middle of each sound."""
    middle = np.abs(np.arange(len(wave)) % (RATE // 2) - RATE // 4) < RATE // 10
    return high_pass(wave, RATE, 7000.0)[None, middle & chosen]


def test_each_moment_is_as_bright_as_the_take_is_in_moments_like_it():
    samples, bright = two_sounds()
    added = extended(low(samples, RATE, CUT), take(two_sounds(seed=1)[0]))
    for chosen in (bright, ~bright):
        made, true = (density_db(in_steady_parts(wave[0], chosen), RATE, 8000, 19_000) for wave in (added, samples))
        assert made == pytest.approx(true, abs=2.0)


def test_a_take_of_another_rate_and_of_more_channels_lends_as_well():
    samples, _ = two_sounds()
    other = np.repeat(low(noise(4, 96_000), 96_000, 20_000), 2, axis=0)
    assert density_db(extended(low(samples, RATE, CUT), take(other, 96_000)), RATE, 8000, 19_000) > -90


def test_a_dull_stretch_borrows_from_the_same_recording_and_the_rest_stays_as_it_was(pipeline):
    samples, bright = two_sounds()
    dull = with_a_dull_stretch(samples)
    made = bwe(pipeline, dull, RATE, CUT, like="own")
    inside = (np.arange(samples.shape[1]) // RATE >= 4) & (np.arange(samples.shape[1]) // RATE < 5)
    for chosen in (bright & inside, ~bright & inside):
        found, true = (in_steady_parts(wave[0], chosen) for wave in (made.samples, samples))
        assert density_db(found, RATE, 8000, 19_000) == pytest.approx(density_db(true, RATE, 8000, 19_000), abs=3.0)
    np.testing.assert_array_equal(made.samples[:, : 2 * RATE], dull[:, : 2 * RATE])
    np.testing.assert_array_equal(made.samples[:, 7 * RATE :], dull[:, 7 * RATE :])
    assert made.report["like"]["apart_db"] < 3
    assert made.report["n_forwards"] == 0  # the model is not asked


def test_a_channel_that_is_dull_borrows_and_the_other_keeps_its_own(pipeline):
    samples = np.repeat(two_sounds()[0], 2, axis=0)
    dull = np.concatenate([samples[:1], with_a_dull_stretch(samples[1:])])
    made = bwe(pipeline, dull, RATE, CUT, like="own").samples
    np.testing.assert_array_equal(made[0], samples[0])
    before, after = (density_db(wave[1:, 4 * RATE : 5 * RATE], RATE, 8000, 19_000) for wave in (dull, made))
    assert after > before + 20


def test_where_nothing_is_dull_nothing_is_added(pipeline):
    samples = two_sounds()[0]
    made = bwe(pipeline, samples, RATE, CUT, like="own")
    np.testing.assert_array_equal(made.samples, samples)
    assert made.report["warnings"] == ["no stretch lacks what lies above 5000 Hz: nothing was added"]


def test_stretches_make_up_what_one_long_stretch_does(monkeypatch):
    dull = with_a_dull_stretch(two_sounds()[0])
    several = extended(dull, take(dull, is_own=True))
    monkeypatch.setattr("masktools.restoration.band_upper.STRETCH_S", 20.0)
    assert np.abs(several - extended(dull, take(dull, is_own=True))).max() < 1e-6


def test_a_take_that_is_not_like_the_recording_is_said_to_be_so(pipeline):
    samples = (tone(440, 3, RATE) + tone(880, 3, RATE)).astype(np.float32)
    made = bwe(pipeline, samples, RATE, CUT, like=(noise(3, RATE), RATE))
    assert "not much like" in made.report["warnings"][0]


def test_takes_that_have_nothing_to_lend_are_refused(pipeline):
    dull = low(noise(3, RATE), RATE, CUT)
    with pytest.raises(ParameterError, match="must reach well above 5000 Hz.*ends at"):
        bwe(pipeline, dull, RATE, CUT, like=(dull, RATE))
    with pytest.raises(ParameterError, match="must last 0.5 s, got 0.20 s"):
        bwe(pipeline, dull, RATE, CUT, like=(noise(0.2, RATE), RATE))
    with pytest.raises(ParameterError, match=r"must reach well above|no full-band moments"):
        bwe(pipeline, dull, RATE, CUT, like="own")
    with pytest.raises(ParameterError, match="unknown like 'mine'.*own"):
        bwe(pipeline, dull, RATE, CUT, like="mine")
    with pytest.raises(ParameterError, match="without lfr all is the model's"):
        bwe(pipeline, dull, RATE, CUT, like=(noise(2, RATE), RATE), lfr=False)


def test_below_the_cutoff_nothing_is_lent():
    samples = low(two_sounds()[0], RATE, CUT)
    added = extended(samples, take(two_sounds(seed=1)[0]))
    assert band_db(added, RATE, 0, CUT - 300) < band_db(samples, RATE, 0, CUT - 300) - 90


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
