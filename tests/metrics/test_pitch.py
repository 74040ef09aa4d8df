"""The pitch of a note by YIN: tones and harmonic notes of any pitch, and none in noise and silence."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.metrics.signal import pitch_of_note

RATE = 16_000


def note(midi, n_partials=6, seconds=0.6, seed=0):
    time = np.arange(int(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((midi - 69) / 12)
    phases = np.random.default_rng(seed).uniform(0, 6, n_partials)
    partials = [np.sin(2 * np.pi * hz * (k + 1) * time + phases[k]) / (k + 1) for k in range(n_partials)]
    audible = [one for k, one in enumerate(partials) if hz * (k + 1) < RATE / 2]
    return (np.exp(-3 * time) * np.sum(audible, axis=0)).astype(np.float32)


@settings(deadline=None, max_examples=25)
@example(94.125, 4, 0)  # its period lies half way between two samples
@given(st.floats(30, 96), st.integers(1, 8), st.integers(0, 99))
def test_a_note_is_heard_at_its_pitch(midi, n_partials, seed):
    assert pitch_of_note(note(midi, n_partials, seed=seed), RATE) == pytest.approx(midi, abs=0.25)


def test_a_missing_fundamental_is_heard():
    whole, lowest = note(48, 6), note(48, 1)
    assert pitch_of_note(whole - lowest, RATE) == pytest.approx(48, abs=0.25)


def test_silence_and_noise_have_no_pitch():
    assert np.isnan(pitch_of_note(np.zeros(8000), RATE))
    assert np.isnan(pitch_of_note(np.random.default_rng(0).standard_normal(8000), RATE))


def test_what_is_no_note_is_refused():
    with pytest.raises(ParameterError, match="a note must be"):
        pitch_of_note(np.zeros((2, 100)), RATE)
    with pytest.raises(ParameterError, match="lowest_hz < highest_hz"):
        pitch_of_note(np.zeros(100), RATE, 500.0, 100.0)
