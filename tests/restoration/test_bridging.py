"""A bridge over a gap: linear prediction as far as it sounds, and of what was generated what it lacks."""

import numpy as np
import pytest

from masktools.metrics import level_error_db, seam_crest_db
from masktools.restoration.seams import REACH_S, bridged, continued
from tests.tiny import noise, tone

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
