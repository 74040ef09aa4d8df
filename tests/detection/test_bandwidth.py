"""Where a recording was band-limited, and where it was not."""

import numpy as np
import pytest
from scipy.signal import cheby1, sosfilt

from masktools.core.errors import ParameterError
from masktools.detection import Bandwidth, find_bandwidth
from masktools.detection.bandwidth import SpectrumSurvey, window_length
from tests.detection.sounds import RATE, celesta, low_passed, noise


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_brick_wall_is_found_to_two_percent_at_any_rate(sample_rate, share):
    cutoff_hz = max(share * sample_rate / 2, 1_500.0)
    found = find_bandwidth(low_passed(noise(3.0, sample_rate), sample_rate, cutoff_hz), sample_rate)
    assert found.cutoff_hz == pytest.approx(cutoff_hz, rel=0.02)
    assert found.drop_db > 60
    assert found.confidence > 0.9


@pytest.mark.parametrize("level", [1e-5, 1e-4])
def test_hiss_above_the_cutoff_does_not_hide_it(level):
    wave = low_passed(noise(4.0), RATE, 4_000) + noise(4.0, level=level, seed=1)
    assert find_bandwidth(wave, RATE).cutoff_hz == pytest.approx(4_000, rel=0.02)


def test_rounding_to_sixteen_bits_does_not_hide_it():
    wave = np.rint(low_passed(noise(4.0), RATE, 5_000) * 32_768) / 32_768
    assert find_bandwidth(wave, RATE).cutoff_hz == pytest.approx(5_000, rel=0.02)


def test_a_steep_analogue_filter_is_found_to_ten_percent():
    filtered = sosfilt(cheby1(8, 0.5, 3_000, fs=44_100, output="sos"), noise(4.0, 44_100)).astype(np.float32)
    assert find_bandwidth(filtered, 44_100).cutoff_hz == pytest.approx(3_000, rel=0.1)


@pytest.mark.parametrize("rate", [RATE, 96_000])
@pytest.mark.filterwarnings("error")
def test_white_noise_has_no_cutoff_and_that_is_certain(rate):
    found = find_bandwidth(noise(4.0, rate), rate)
    assert found.cutoff_hz is None
    assert found.confidence > 0.7


def test_notes_without_high_partials_have_no_cutoff():
    assert find_bandwidth(celesta(), 44_100).cutoff_hz is None


def test_a_voice_that_comes_and_goes_above_is_no_floor():
    quiet = 10 ** (-24 / 20)
    low = low_passed(noise(4.0), RATE, 3_000)
    high = quiet * (noise(4.0, seed=1) - low_passed(noise(4.0, seed=1), RATE, 3_000))
    swell = np.abs(np.sin(2 * np.pi * 1.3 * np.arange(low.shape[1]) / RATE)) ** 6
    assert find_bandwidth(low + high, RATE).cutoff_hz == pytest.approx(3_000, rel=0.02), "a steady floor"
    assert find_bandwidth((low + high * swell).astype(np.float32), RATE).cutoff_hz is None


def test_a_recording_reaches_as_high_as_its_best_channel():
    both = np.concatenate([low_passed(noise(3.0), RATE, 3_000), low_passed(noise(3.0, seed=1), RATE, 6_000)])
    assert find_bandwidth(both, RATE).cutoff_hz == pytest.approx(6_000, rel=0.02)


def test_gaps_do_not_hide_the_cutoff():
    wave = low_passed(noise(5.0), RATE, 4_000)
    for start in range(2_000, wave.shape[1] - 2_000, 9_000):
        wave[:, start : start + 700] = 0
    assert find_bandwidth(wave, RATE).cutoff_hz == pytest.approx(4_000, rel=0.02)


@pytest.mark.parametrize("n", [0, 1, 500])
def test_a_recording_that_is_too_short_has_no_answer(n):
    assert find_bandwidth(noise()[:, :n], RATE) == Bandwidth(None, 0.0, 0.0)


def test_silence_has_no_answer():
    assert find_bandwidth(np.zeros((2, 3 * RATE), np.float32), RATE) == Bandwidth(None, 0.0, 0.0)


def test_what_is_not_finite_counts_as_silence():
    wave = low_passed(noise(4.0), RATE, 4_000)
    wave[0, 30_000:30_005] = np.nan, np.inf, -np.inf, np.nan, np.nan
    assert find_bandwidth(wave, RATE).cutoff_hz == pytest.approx(4_000, rel=0.02)


def test_a_least_fall_can_be_asked_for():
    wave = low_passed(noise(4.0), RATE, 4_000) + noise(4.0, level=1e-3, seed=1)  # falls by some 40 dB
    assert find_bandwidth(wave, RATE, min_drop_db=25.0).cutoff_hz is not None
    assert find_bandwidth(wave, RATE, min_drop_db=60.0).cutoff_hz is None


def test_a_long_recording_keeps_a_bounded_number_of_frames():
    survey = SpectrumSurvey(1_000, 1)
    block = noise(1.0, 60_000)
    for _ in range(3):
        survey.feed(block)
    assert window_length(1_000) == 128
    assert 1024 <= len(survey._powers) <= 2048
    assert survey.finish().hz[-1] == 500


def test_bad_arguments_are_refused():
    with pytest.raises(ParameterError, match=r"samples must be of shape \(channels, t\), got \(5,\)"):
        find_bandwidth(np.zeros(5, np.float32), RATE)
    with pytest.raises(ParameterError, match="must be a numpy array of float32 or float64, full scale 1, got int16"):
        find_bandwidth(np.zeros((1, 5), np.int16), RATE)
    with pytest.raises(ParameterError, match="sample_rate must be a whole number"):
        find_bandwidth(noise(), 0)
    with pytest.raises(ParameterError, match="min_drop_db must be above 0 dB, got 0 dB"):
        find_bandwidth(noise(), RATE, 0.0)
    with pytest.raises(ParameterError, match="cutoff_hz must be above 0 Hz, got 0 Hz"):
        Bandwidth(0.0, 20.0, 0.5)
    with pytest.raises(ParameterError, match=r"confidence must lie in \[0, 1\], got 2"):
        Bandwidth(None, 20.0, 2.0)
