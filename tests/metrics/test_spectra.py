"""Spectral distances of vocoders, and hiss over pauses."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.metrics import quiet_excess_db, stft_distance

RATE = 22_050


def tone(seconds=1.0, level=0.3):
    return level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)


def noise(n, level=0.1, seed=0):
    return level * np.random.default_rng(seed).standard_normal(n)


def test_a_wave_is_at_no_distance_from_itself_and_noise_moves_it_away():
    wave = tone() + noise(RATE, 0.01)
    assert stft_distance(wave, wave).total == 0
    near, far = (stft_distance(wave, wave + noise(RATE, level, 1)).total for level in (0.01, 0.1))
    assert 0 < near < far


def test_half_the_level_converges_to_a_half_and_ln_two():
    wave = noise(RATE)
    found = stft_distance(wave, wave / 2)
    assert found.convergence == pytest.approx(0.5, abs=1e-3)
    assert found.log_magnitude == pytest.approx(np.log(2), abs=1e-2)
    assert found.total == pytest.approx(found.convergence + found.log_magnitude)


def test_hiss_over_a_pause_is_told_by_its_level_and_loud_parts_do_not_count():
    wave = np.concatenate([tone(2.0), noise(RATE, 1e-3)])
    hissing = wave + noise(len(wave), 1e-2, 1)
    assert quiet_excess_db(wave, hissing) == pytest.approx(20, abs=0.5)
    louder = wave.copy()
    louder[:RATE] *= 2
    assert quiet_excess_db(wave, louder) == 0


def test_hiss_below_the_floor_is_none():
    silent = np.zeros(RATE)
    assert quiet_excess_db(silent, noise(RATE, 1e-5)) == 0
    assert quiet_excess_db(silent, noise(RATE, 1e-3)) > 20


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stft_distance(tone(), tone(0.5)), "must be of one shape"),
        (lambda: stft_distance(np.zeros(4000), tone()[:4000]), "must not be silent"),
        (lambda: quiet_excess_db(tone(), tone(0.5)), "must have the reference's shape"),
        (lambda: quiet_excess_db(np.zeros(0), np.zeros(0)), "and not empty"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
