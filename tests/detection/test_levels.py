"""How loud a recording is, what was clipped, and what lies under it."""

import numpy as np
import pytest

from masktools.detection import Probe, ProbeSettings
from tests.detection.sounds import RATE, noise, tones


def levels(wave):
    probe = Probe(RATE, len(wave), ProbeSettings((), bandwidth=False))
    probe.feed(wave)
    return probe.finish().levels


def test_a_sine_of_full_scale_reads_zero():
    (level,) = levels(tones(hz=(441.0,), level=1.0))
    assert level.peak_db == pytest.approx(0.0, abs=0.02)
    assert level.rms_db == pytest.approx(0.0, abs=0.01)
    assert level.dc == pytest.approx(0.0, abs=1e-6)


def test_channels_have_levels_of_their_own():
    first, second = levels(np.concatenate([noise(level=0.1), noise(level=0.01, seed=1) + 0.02]))
    assert first.rms_db - second.rms_db == pytest.approx(13.0, abs=0.2)
    assert second.dc == pytest.approx(0.02, abs=1e-3)


def test_the_noise_floor_is_what_pauses_have():
    wave = noise(5.0, level=1e-3)
    wave[:, :60_000] += noise(5.0, seed=1)[:, :60_000]
    wave[:, 70_000:75_000] = 0
    assert levels(wave)[0].floor_db == pytest.approx(-57.0, abs=1.0)


def test_flat_tops_at_the_peak_are_clipping():
    (level,) = levels(np.clip(tones(hz=(300.0,), level=1.3), -0.9, 0.9))
    assert level.n_flat == pytest.approx(1_200, abs=2)
    assert level.n_flat_samples > 10 * level.n_flat


def test_flat_tops_across_the_borders_of_windows_are_one():
    wave = noise(5.0)
    wave[0, 65_500:65_600] = 0.99
    (level,) = levels(wave)
    assert (level.n_flat, level.n_flat_samples) == (1, 100)


def test_flat_tops_below_a_later_peak_are_none():
    wave = noise(5.0, level=0.05)
    wave[0, 9_000:9_010] = 0.8
    wave[0, 90_000] = 0.9
    assert levels(wave)[0].n_flat == 0


def test_a_sine_is_not_clipped():
    assert levels(tones(hz=(60.0,), level=0.9))[0].n_flat == 0


def test_samples_beyond_full_scale_are_counted():
    wave = noise()
    wave[0, [5, 7]] = 1.2, -1.3
    assert levels(wave)[0].n_over == 2


def test_silence_is_at_the_floor():
    (level,) = levels(np.zeros((1, RATE), np.float32))
    assert (level.peak_db, level.rms_db, level.floor_db, level.n_flat) == (-140.0, -140.0, -140.0, 0)
