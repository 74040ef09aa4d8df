"""Onsets are those of librosa, and are matched once each."""

import librosa
import numpy as np
import pytest

from masktools.evaluation.scores import onset_f, onset_times

RATE = 22_050


def strokes(times, seconds=3.0, seed=0, rate=RATE):
    """Struck notes over a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    wave = 2e-5 * rng.standard_normal(len(t))
    for time in times:
        after = t[t >= time] - time
        tone = sum(np.sin(2 * np.pi * hz * after) for hz in rng.uniform(100, 5000, 5))
        wave[t >= time] += 0.05 * np.exp(-8 * after) * tone
    return wave.astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_onsets_are_those_of_librosa(seed):
    rng = np.random.default_rng(seed)
    wave = strokes(np.sort(rng.uniform(0, 3, rng.integers(0, 12))), seed=seed)
    expected = librosa.onset.onset_detect(y=wave, sr=RATE, hop_length=256, units="time")
    np.testing.assert_allclose(onset_times(wave, RATE), expected, atol=1e-9)


def test_strokes_are_found_where_they_are_at_any_rate():
    wanted = [0.5, 1.0, 1.8, 2.4]
    for rate in (16_000, 22_050, 48_000):
        found = onset_times(strokes(wanted, rate=rate), rate)
        assert len(found) == len(wanted)
        np.testing.assert_allclose(found, wanted, atol=0.03)


def test_silence_and_next_to_nothing_have_no_onsets():
    assert not len(onset_times(np.zeros(RATE, np.float32), RATE))
    assert not len(onset_times(np.zeros(10, np.float32), RATE))
    assert np.isnan(onset_f(np.zeros(RATE, np.float32), np.zeros(RATE, np.float32), RATE))


def test_each_onset_counts_once():
    true = strokes([0.5, 1.0, 1.5, 2.0])
    assert onset_f(true, true, RATE) == 1
    assert onset_f(true, strokes([0.5, 1.0, 1.5, 2.0], seed=1), RATE) == 1
    assert onset_f(true, strokes([0.5, 1.0]), RATE) == pytest.approx(2 * 2 / 6)
    assert onset_f(true, strokes([0.65, 1.15, 1.65, 2.2]), RATE) == 0
    assert onset_f(true, 0 * true, RATE) == 0


def test_only_onsets_in_the_span_count_and_its_edges_are_none():
    true = strokes([0.5, 1.5, 2.5])
    other = strokes([0.7, 1.5, 2.7])
    assert onset_f(true, other, RATE, (1.2, 2.0)) == 1
    assert onset_f(true, other, RATE) == pytest.approx(2 * 1 / 6)
    assert np.isnan(onset_f(true, true, RATE, (1.7, 2.1)))
