"""Noise that sounds like a spectrum: as loud, and of its colour."""

import numpy as np
import pytest

from masktools.classical.spans import frame_length, mean_power, noise_between, random_phases
from masktools.metrics import band_level_db, level_db
from tests.tiny import noise, tone

RATE, N_FFT = 22_050, 1024


def like(wave, seconds=2.0, seed=0):
    power = mean_power(wave.astype(np.float64), N_FFT)
    n = round(seconds * RATE)
    return random_phases(np.repeat(power[..., None], n // (N_FFT // 4) + 2, axis=-1), n, np.random.default_rng(seed))


@pytest.mark.parametrize("wave", [noise(1.0), tone(997, 1.0), noise(0.03, level=0.01)])
def test_it_is_as_loud_as_what_was_measured(wave):
    assert level_db(like(wave), RATE) == pytest.approx(level_db(wave, RATE), abs=1)


def test_it_is_as_loud_at_its_ends_as_in_its_middle():
    ends = [like(noise(1.0), 0.5, seed)[0] for seed in range(40)]
    levels = [
        np.sqrt(np.mean([wave[part] ** 2 for wave in ends]))
        for part in (slice(200), slice(5000, 5200), slice(-200, None))
    ]
    np.testing.assert_allclose(levels, 0.1, rtol=0.06)


def test_it_has_the_colour_of_what_was_measured():
    rough = np.cumsum(noise(2.0, level=0.01), axis=-1)
    for band in ((200, 400), (1000, 2000), (4000, 8000)):
        assert band_level_db(like(rough), RATE, band) == pytest.approx(band_level_db(rough, RATE, band), abs=1)


def test_a_constant_is_no_noise():
    assert np.abs(like(np.full((1, 5000), 0.5))).max() < 1e-9


def test_channels_that_are_equal_stay_equal():
    stereo = like(np.repeat(noise(0.5), 2, axis=0))
    np.testing.assert_allclose(stereo[0], stereo[1], atol=1e-12)


@pytest.mark.parametrize(("rate", "length"), [(8000, 512), (22_050, 1024), (44_100, 2048), (96_000, 4096), (100, 64)])
def test_frames_last_as_long_at_every_rate(rate, length):
    assert frame_length(rate, 0.046) == length


def test_between_two_sides_it_goes_from_one_to_the_other_and_keeps_each_beyond():
    loud, faint = noise(0.2, level=0.1), noise(0.2, level=0.001, seed=1)
    made = noise_between(loud, faint, RATE, RATE, np.random.default_rng(0), margin=RATE // 4)
    assert made.shape == (1, RATE + RATE // 4 * 2)
    spans = ((0.0, 0.2), (0.7, 0.8), (1.29, 1.49))
    levels = [level_db(made, RATE, span) - level_db(loud, RATE) for span in spans]
    np.testing.assert_allclose(levels, [0, -20, -40], atol=1.5)


def test_one_side_is_enough():
    nothing, side = np.zeros((1, 0)), noise(0.2)
    for sides in ((nothing, side), (side, nothing)):
        made = noise_between(*sides, 5000, RATE, np.random.default_rng(0))
        assert level_db(made, RATE) == pytest.approx(level_db(side, RATE), abs=1)
