"""Fills are ranked by how well what made them renders what is known beside the gap."""

import numpy as np
import pytest

from masktools.restoration.seams import mel_fit_db, shoulder_lsd_db
from tests.tiny import MEL, noise, tone

RATE = 22_050


def mel(level=0.0, seed=0):
    return np.clip(np.random.default_rng(seed).normal(level, 0.1, (80, 40)), -1, 1)


def test_what_is_known_fits_itself_and_what_is_unlike_fits_less():
    known = mel()
    assert mel_fit_db(known, known, range(40), MEL) == 0
    near, far = (mel_fit_db(known + step, known, range(40), MEL) for step in (0.02, 0.2))
    assert near == pytest.approx(2, abs=0.01)  # 1 dB off in each band, and as a whole
    assert far > 5 * near


def test_only_the_frames_asked_for_count():
    known, made = mel(), mel()
    made[:, 20:] += 0.5
    assert mel_fit_db(made, known, range(20), MEL) == 0
    assert mel_fit_db(made, known, range(15, 25), MEL) > 5
    assert mel_fit_db(made, known, [], MEL) == 0


def test_a_wave_is_nearest_to_itself_and_nearer_to_its_like():
    wave, other, hum = noise(0.1)[0], noise(0.1, seed=1)[0], tone(200, 0.1)[0]
    assert shoulder_lsd_db([(wave, wave)], RATE) == 0
    assert 3 < shoulder_lsd_db([(wave, other)], RATE) < 10 < shoulder_lsd_db([(wave, hum)], RATE)


def test_sides_too_short_for_a_frame_have_no_say():
    wave, other = noise(0.1)[0], noise(0.1, seed=1)[0]
    assert shoulder_lsd_db([(wave, wave), (wave[:100], other[:100])], RATE) == 0
    assert shoulder_lsd_db([(wave[:0], other[:0])], RATE) == 0
