"""Linear prediction continues audio, and interpolates short gaps."""

import librosa
import numpy as np
import pytest
from scipy.signal import lfilter

from masktools.classical.spans import bridge, burg, extrapolate, interpolate
from masktools.core.errors import ParameterError
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


REACH = 4410


def resonances(n_samples, seed=0):
    """Return noise through three sharp resonances."""
    poles = np.array([0.995 * np.exp(2j * np.pi * hz / RATE) for hz in (300, 1100, 2500)])
    return lfilter([1.0], np.poly([*poles, *poles.conj()]).real, np.random.default_rng(seed).standard_normal(n_samples))


@pytest.mark.parametrize("length", [1, 110, 441])
def test_tones_go_on_through_a_gap(length):
    wave = (tone(440, 1, RATE) + tone(1234.5, 1, RATE))[0].astype(np.float64)
    start, stop = 8000, 8000 + length
    found = interpolate(wave[start - REACH : start], wave[stop : stop + REACH], length)
    assert snr_db(wave[start:stop], found) > 50


def test_it_is_nearer_than_continuing_from_both_sides():
    wave, length = resonances(60_000), 10
    gains = []
    for start in range(5000, 55_000, 5000):
        stop = start + length
        sides = wave[start - REACH : start], wave[stop : stop + REACH]
        true = wave[start:stop]
        gains.append(snr_db(true, interpolate(*sides, length, 30)) - snr_db(true, bridge(*sides, length, 30)))
    assert np.median(gains) > 10


def test_what_it_finds_has_the_least_error_of_prediction():
    wave, length = resonances(3000), 30
    before, after = wave[:1500], wave[1500 + length : 3000]
    found = interpolate(before, after, length)
    stretch = np.concatenate([before, found, after])
    taps = burg(stretch, 3 * length + 2)

    def error(shift):
        moved = stretch.copy()
        moved[1500 : 1500 + length] += shift
        return np.sum(np.convolve(moved, taps, "valid") ** 2)

    rng = np.random.default_rng(1)
    least = error(np.zeros(length))
    assert all(error(0.1 * np.std(found) * rng.standard_normal(length)) > least for _ in range(20))


@pytest.mark.parametrize(("n_before", "n_after"), [(20, 4000), (4000, 20), (0, 4000), (4000, 0), (20, 20), (1, 1)])
def test_a_side_may_be_short_or_missing(n_before, n_after):
    wave, length, start = tone(440, 1, RATE)[0].astype(np.float64), 60, 8000
    found = interpolate(wave[start - n_before : start], wave[start + length : start + length + n_after], length)
    assert found.shape == (length,)
    assert np.abs(found).max() < 1
    if max(n_before, n_after) == 4000 and min(n_before, n_after) == 20:
        assert snr_db(wave[start : start + length], found) > 40


def test_a_long_gap_with_a_short_side_is_filled_by_a_lower_order():
    wave = tone(440, 1, RATE)[0].astype(np.float64)
    found = interpolate(wave[:300], wave[2300:8000], 2000)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 1


def test_between_silences_is_silence():
    assert not interpolate(np.zeros(500), np.zeros(500), 100).any()
    assert not interpolate(np.zeros(0), np.zeros(0), 100).any()


@pytest.mark.parametrize("name", ["length", "max_order", "max_iterations"])
def test_there_must_be_a_gap_an_order_and_a_turn(name):
    with pytest.raises(ParameterError, match=f"{name} must be at least 1, got 0"):
        interpolate(np.ones(10), np.ones(10), **{"length": 5, name: 0})
