"""What a fill must get right: levels of third octaves from moment to moment, tone or noise, and harmony."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.metrics import chroma_distance, envelope_error_db, flatness_error_db, lsd_db
from masktools.metrics.fills import chroma_filters

RATE = 22_050
T = np.arange(2 * RATE) / RATE


def noise(seed, n=2 * RATE, level=0.1):
    return level * np.random.default_rng(seed).standard_normal(n)


def chord(*semitones, rate=RATE, seconds=2.0):
    t = np.arange(round(seconds * rate)) / rate
    return sum(0.1 * np.sin(2 * np.pi * 440 * 2 ** (n / 12) * t) for n in semitones)


@pytest.mark.parametrize("measure", [envelope_error_db, flatness_error_db, chroma_distance])
def test_a_wave_is_at_no_distance_from_itself_in_any_channel(measure):
    wave = np.stack([noise(0) + chord(0, 4), noise(1)])
    assert measure(wave, wave, RATE) == pytest.approx(0, abs=1e-9)
    assert measure(wave, wave[::-1], RATE) > 0


@settings(max_examples=20, deadline=None)
@given(st.floats(-12, 12), st.integers(0, 9))
def test_the_envelope_of_a_louder_wave_is_off_by_as_much(gain_db, seed):
    wave = noise(seed)
    found = envelope_error_db(wave, wave * 10 ** (gain_db / 20), RATE)
    assert found == pytest.approx(abs(gain_db), abs=0.02)  # a faint cell sinks below the floor: 0.009 dB at most here


def test_another_noise_of_the_same_colour_is_near_by_envelope_and_far_by_spectrum():
    assert envelope_error_db(noise(0), noise(1), RATE, band_hz=(400, 10_200)) < 2.5
    assert lsd_db(noise(0), noise(1), RATE) > 6.5


def test_silence_counts_as_the_floor_and_equals_silence():
    assert envelope_error_db(np.zeros(RATE), np.zeros(RATE), RATE) == 0
    assert 40 < envelope_error_db(noise(0), np.zeros(2 * RATE), RATE) < 75
    assert np.isnan(flatness_error_db(np.zeros(RATE), noise(0, RATE), RATE))


def test_only_the_span_and_the_band_count():
    wave, other = noise(0), noise(0)
    other[: RATE // 2] *= 4
    assert envelope_error_db(wave, other, RATE, (0.5, 2.0)) == 0
    assert envelope_error_db(wave, other, RATE, (0.0, 0.5)) == pytest.approx(20 * np.log10(4))
    high = wave + 0.3 * np.sin(2 * np.pi * 6000 * T)
    assert envelope_error_db(wave, high, RATE, band_hz=(50, 2000)) < 0.1
    assert envelope_error_db(wave, high, RATE, band_hz=(4000, 8100)) > 3
    with pytest.raises(ParameterError, match="the span must lie in 0-2 s"):
        envelope_error_db(wave, other, RATE, (1.0, 3.0))


def test_the_levels_are_the_same_at_any_rate_and_reach_as_high_as_asked():
    at = {rate: chord(0, 7, 16, rate=rate) for rate in (22_050, 44_100, 48_000)}
    found = [envelope_error_db(wave, 0.5 * wave + 1e-3 * chord(30, rate=rate), rate) for rate, wave in at.items()]
    assert found == pytest.approx([found[0]] * 3, abs=0.15)
    t = np.arange(88_200) / 44_100
    top = 0.1 * np.sin(2 * np.pi * 15_000 * t)
    assert envelope_error_db(at[44_100], at[44_100] + top, 44_100) < 0.5
    assert envelope_error_db(at[44_100], at[44_100] + top, 44_100, band_hz=(50, 20_500)) > 5


def test_noise_in_place_of_tones_is_heard_by_flatness_alone():
    tones = chord(-12, -5, 0, 4, 7, 12, 19)
    shaped = noise(3) * 0.3
    assert flatness_error_db(tones, shaped, RATE) > 5
    assert flatness_error_db(noise(0), noise(1), RATE) < 1


def test_the_chroma_filters_are_those_of_librosa():
    for rate, n_fft in ((22_050, 4096), (44_100, 8192), (48_000, 8916)):
        np.testing.assert_allclose(chroma_filters(rate, n_fft), librosa.filters.chroma(sr=rate, n_fft=n_fft), atol=1e-6)


def test_the_chroma_distance_is_that_of_librosa_s_vectors():
    one, other = chord(0, 4, 7) + noise(0, level=0.01), chord(0, 3, 8) + noise(1, level=0.01)
    vectors = [
        librosa.feature.chroma_stft(y=wave, sr=RATE, n_fft=4096, hop_length=1024, tuning=0.0, center=False)
        for wave in (one, other)
    ]
    lengths = np.prod([np.linalg.norm(v, axis=0) for v in vectors], axis=0)
    expected = np.mean(1 - (vectors[0] * vectors[1]).sum(axis=0) / lengths)
    assert chroma_distance(one, other, RATE) == pytest.approx(expected, abs=1e-6)


def test_the_octave_does_not_matter_and_the_chord_does():
    c_major, higher, f_sharp = chord(3, 7, 10), chord(15, 19, 22), chord(9, 13, 16)
    assert chroma_distance(c_major, higher, RATE) < 0.1
    assert chroma_distance(c_major, f_sharp, RATE) > 0.8
    assert np.isnan(chroma_distance(c_major, higher, RATE, (0.0, 0.1)))
