"""How high a recording reaches is seen from its spectrum, however it was stored."""

import numpy as np
import pytest
from scipy.signal import firwin, oaconvolve

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import occupied_hz
from tests.tiny import SAMPLE_RATE, noise, tone


def low_passed(cutoff_hz):
    taps = firwin(1023, cutoff_hz, window=("kaiser", 10.0), fs=SAMPLE_RATE)
    return oaconvolve(noise(3)[0], taps, mode="same")


@pytest.mark.parametrize("cutoff_hz", [2000, 4100, 8000])
def test_a_low_passed_recording_reaches_its_cutoff(cutoff_hz):
    for wave in (low_passed(cutoff_hz), np.round(low_passed(cutoff_hz) * 32767) / 32767):
        assert cutoff_hz - 250 <= occupied_hz(wave, SAMPLE_RATE) <= cutoff_hz + 250


def test_noise_reaches_half_the_rate_and_silence_nothing():
    assert occupied_hz(noise(1)[0], SAMPLE_RATE) == SAMPLE_RATE / 2
    assert occupied_hz(noise(1)[0, :100], SAMPLE_RATE) == SAMPLE_RATE / 2
    assert occupied_hz(np.zeros(5000, np.float32), SAMPLE_RATE) == 0.0


def test_a_tone_reaches_its_pitch():
    assert occupied_hz(tone(3000, 2)[0], SAMPLE_RATE) == pytest.approx(3000, abs=250)


def test_what_is_no_wave_is_refused():
    with pytest.raises(ParameterError, match="a wave must be of shape .t,. and not empty, got"):
        occupied_hz(np.zeros((2, 10)), SAMPLE_RATE)
