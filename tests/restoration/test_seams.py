"""How a fill meets what is known beside a gap: in time, level and phase, and how well it fits."""

import numpy as np
import pytest

from masktools.classical.spans import join_ends
from masktools.metrics import level_error_db, seam_crest_db
from masktools.restoration.seams import (
    REACH_S,
    best_lag,
    bridged,
    continued,
    end_gains,
    mel_fit_db,
    seam_length,
    shifted,
    shoulder_lsd_db,
)
from tests.tiny import MEL, noise, tone

CD_RATE = 44_100


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
    seam = seam_length(n, CD_RATE)
    assert 1 <= seam <= max(1, n // 2)
    assert seam <= 0.015 * CD_RATE + 1
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


RATE = 22_050
MARGIN = 2205


def around(wave, start, stop):
    return wave[start - 4410 : start].astype(np.float64), wave[stop : stop + 4410].astype(np.float64)


def snr_db(true, found):
    return 10 * np.log10(np.sum(true**2) / np.sum((found - true) ** 2))


@pytest.mark.parametrize("seconds", [0.03, 0.1, 0.15])
def test_a_tone_goes_on_and_nothing_is_added_to_it(seconds):
    wave = tone(440, 2, RATE)[0].astype(np.float64)
    start, stop = 20_000, 20_000 + round(seconds * RATE)
    core = tone(440, 2, RATE)[0][start - MARGIN + 17 : stop + MARGIN + 17]  # out of step
    filled = bridged(*around(wave, start, stop), core, MARGIN, RATE)
    assert snr_db(wave[start:stop], filled) > 20


@pytest.mark.parametrize("seconds", [0.07, 0.15, 0.8])
def test_where_prediction_dies_away_the_generated_makes_up_the_level(seconds):
    steps_db, crests_db, alone_db = [], [], []
    for seed in range(4):
        wave, other = noise(3, seed=seed)[0], noise(3, seed=seed + 50)[0]
        start, stop = 20_000, 20_000 + round(seconds * RATE)
        sides, span_s = around(wave, start, stop), (start / RATE, stop / RATE)
        for fill, levels in (
            (bridged(*sides, other[start - MARGIN : stop + MARGIN], MARGIN, RATE), steps_db),
            (continued(*sides, stop - start, RATE), alone_db),
        ):
            filled = wave.copy()
            filled[start:stop] = fill
            levels.append(level_error_db(wave, filled, RATE, span_s))
            crests_db += [seam_crest_db(filled, RATE, join_s) for join_s in span_s]
    assert abs(np.mean(steps_db)) < 1.5
    assert np.mean(alone_db) < np.mean(steps_db) - 1
    assert np.median(crests_db) < 4


def test_the_middle_of_a_long_gap_is_what_was_generated():
    wave, other = noise(4)[0], noise(4, seed=1)[0].astype(np.float64)
    start, stop, reach = 20_000, 60_000, round(REACH_S * RATE) + 1024
    filled = bridged(*around(wave, start, stop), other[start - MARGIN : stop + MARGIN], MARGIN, RATE)
    np.testing.assert_allclose(filled[reach:-reach], other[start + reach : stop - reach], atol=1e-9)


def test_a_side_may_be_missing_and_a_gap_may_be_one_sample():
    wave, nothing = noise(1)[0].astype(np.float64), np.zeros(0)
    assert np.isfinite(bridged(nothing, wave[:4000], wave[: 1000 + 2 * MARGIN], MARGIN, RATE)).all()
    assert np.isfinite(bridged(wave[:4000], nothing, wave[: 1000 + 2 * MARGIN], MARGIN, RATE)).all()
    assert bridged(wave[:50], wave[:50], wave[: 1 + 2 * MARGIN], MARGIN, RATE).shape == (1,)


def test_between_silences_nothing_is_continued():
    assert not continued(np.zeros(1000), np.zeros(1000), 3000, RATE).any()


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
