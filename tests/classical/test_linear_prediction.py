"""Linear prediction: what is periodic goes on, what is silent stays silent, and nothing grows."""

import librosa
import numpy as np
import pytest

from masktools.classical.prediction import bridge, burg, extrapolate
from tests.tiny import noise, tone

RATE = 22_050


def test_a_tone_goes_on():
    wave = (tone(440, 1, RATE) + tone(1234.5, 1, RATE))[0].astype(np.float64)
    known, next_ = wave[:4410], wave[4410:4740]
    error = extrapolate(known, len(next_)) - next_
    assert np.sqrt(np.mean(error**2)) < 0.02 * np.sqrt(np.mean(next_**2))


def test_a_resonance_is_found():
    rng = np.random.default_rng(0)
    wave, drive = np.zeros(20_000), rng.standard_normal(20_000)
    for n in range(2, len(wave)):
        wave[n] = 1.6 * wave[n - 1] - 0.81 * wave[n - 2] + drive[n]
    np.testing.assert_allclose(burg(wave, 2), [1, -1.6, 0.81], atol=0.02)


@pytest.mark.parametrize("known", [noise(0.1)[0], tone(55, 0.1)[0], np.ones(2000, np.float32), noise(0.1)[0] * 1e-7])
def test_nothing_grows(known):
    ahead = extrapolate(known, 50_000)
    assert np.isfinite(ahead).all()
    assert np.abs(ahead).max() <= 3 * np.abs(known).max()


@pytest.mark.parametrize("known", [np.zeros(0), np.zeros(1000), np.ones(1), np.ones(2)])
def test_what_is_silent_or_too_short_is_followed_by_silence(known):
    assert not extrapolate(known, 100).any()


def test_the_predictor_is_that_of_librosa():
    wave = np.convolve(np.random.default_rng(1).standard_normal(4000), [1, 0.5, -0.3, 0.2])
    for order in (1, 8, 64):
        np.testing.assert_allclose(burg(wave, order), librosa.lpc(wave, order=order), atol=1e-6)


def snr_db(reference, estimate):
    return 10 * np.log10(np.sum(reference**2) / np.sum((reference - estimate) ** 2))


@pytest.mark.parametrize("length", [1, 2, 110, 441, 1102])
def test_a_whole_gap_in_tones_is_bridged(length):
    wave = (tone(440, 1, RATE) + tone(1234.5, 1, RATE))[0].astype(np.float64)
    start, stop = 8000, 8000 + length
    assert snr_db(wave[start:stop], bridge(wave[start - 4410 : start], wave[stop : stop + 4410], length)) > 40


def test_a_bridge_between_unlike_sides_is_as_loud_as_they_are():
    left, right = tone(440, 0.2)[0], tone(1000, 0.2)[0]
    middle = bridge(left, right, 1000)[400:600]
    assert 20 * np.log10(np.std(middle) / np.std(left)) == pytest.approx(0, abs=1)


def test_a_bridge_with_one_side_fades_out():
    wave = tone(440, 0.2)[0]
    after = bridge(wave, wave[:0], 2000)
    before = bridge(wave[:0], wave, 2000)
    assert np.abs(after[:100]).max() > 0.25 > 0.02 > np.abs(after[-100:]).max()
    assert np.abs(before[-100:]).max() > 0.25 > 0.02 > np.abs(before[:100]).max()


def test_a_bridge_between_silences_is_silent():
    assert not bridge(np.zeros(100), np.zeros(100), 50).any()
    assert not bridge(np.zeros(0), np.zeros(0), 50).any()
