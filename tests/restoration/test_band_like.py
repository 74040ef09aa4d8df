"""What another take, or another moment of a recording, tells of a band that is missing."""

import numpy as np
import pytest

from masktools.errors import ParameterError
from masktools.levels import FixedSlope
from masktools.restoration import bwe
from masktools.restoration.band_level import high_pass
from masktools.restoration.band_upper import UpperBand, take_of
from tests.restoration.test_band_upper import RATE, band_db, density_db, low
from tests.tiny import noise, tone

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
    return take_of(lambda start, stop: samples[:, start:stop], samples.shape[1], rate, RATE, CUT, **more)


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
