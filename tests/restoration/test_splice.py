"""Splicing by physics: levels that fit, seams that do not click, and waves that are in step."""

import numpy as np
import pytest

from masktools.classical.spans import join_ends
from masktools.restoration.seams import best_lag, end_gains, seam_length, shifted
from tests.tiny import noise

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


@pytest.mark.parametrize("max_db", [0.0, 2.0, 20.0])
def test_the_limit_can_be_set(max_db):
    known = noise(0.1)[0]
    np.testing.assert_allclose(
        db(end_gains((known, known / 50), (known, known * 50), max_db)), [max_db, -max_db], atol=1e-6
    )


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


@pytest.mark.parametrize("n", [1, 2, 3, 5, 100, 5000])
def test_seams_lie_inside_the_gap_and_take_half_of_it_at_most(n):
    seam = seam_length(n, RATE)
    assert 1 <= seam <= max(1, n // 2)
    assert seam <= 0.015 * RATE + 1
    filled = join_ends(np.ones(n), np.zeros(seam), np.zeros(seam))
    assert filled.shape == (n,)
    assert np.isfinite(filled).all()


def test_a_seam_starts_with_the_continuation_and_ends_with_what_was_generated():
    filled = join_ends(np.zeros(4000), np.ones(600), -np.ones(600))
    assert filled[0] == pytest.approx(1, abs=1e-5)
    assert filled[-1] == pytest.approx(-1, abs=1e-5)
    assert not filled[600:-600].any()


def test_equal_power_keeps_the_level_of_what_is_not_in_phase():
    generated, left = noise(1)[0], noise(1, seed=1)[0]
    levels = []
    for start in range(0, 20_000, 600):
        filled = join_ends(generated[start:][:2000], left[start:][:600], left[start:][600:1200])
        levels.append(rms(filled[200:400]))
    assert abs(db(rms(levels) / rms(generated))) < 0.3


@pytest.mark.parametrize("lag", [-100, -3, 0, 1, 110])
def test_what_comes_too_early_is_moved_later(lag):
    whole = noise(0.2)[0]
    reach, known = 110, whole[1000:3000]
    generated = shifted(whole, -lag)  # too early by the lag
    assert best_lag([(known, generated[1000 - reach : 3000 + reach])], reach) == lag


def test_of_two_sides_the_louder_decides_and_silence_has_no_say():
    whole, reach = noise(0.3)[0], 50
    early, late = shifted(whole, -20), shifted(whole, 30)
    sides = [(whole[500:2000], early[450:2050]), (0.1 * whole[3000:4500], late[2950:4550])]
    assert best_lag(sides, reach) == 20
    silence = np.zeros(100)
    assert best_lag([(silence, np.zeros(200)), *sides], reach) == 20
    assert best_lag([(silence, np.zeros(200))], reach) == best_lag([], reach) == 0


def test_moving_brings_silence_in():
    wave = np.array([[1.0, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(shifted(wave, 2), [[0, 0, 1], [0, 0, 4]])
    np.testing.assert_array_equal(shifted(wave, -1), [[2, 3, 0], [5, 6, 0]])
    np.testing.assert_array_equal(shifted(wave, 0), wave)
    assert not shifted(wave, 7).any()
