"""The model of notes in the package plays what it is asked for."""

import librosa
import numpy as np
import pytest

import masktools


@pytest.fixture(scope="module")
def model():
    return masktools.load("mini-mars", device="cpu")


@pytest.mark.parametrize(("words", "key"), [("a clarinet, C4", 60), ("a trumpet, A4", 69), ("a violin, E5", 76)])
def test_a_note_has_the_pitch_that_was_asked_for(model, words, key):
    (note,) = model.generate(words, seed=3)
    heard = librosa.yin(note.samples.astype(float), fmin=100, fmax=2000, sr=note.sample_rate)
    assert np.median(librosa.hz_to_midi(heard)) == pytest.approx(key, abs=0.5)


def test_another_version_has_the_same_pitch_and_is_not_the_same(model):
    (note,) = model.generate("a trumpet, A4", seed=3)
    (other,) = model.vary(note.samples, note.sample_rate, keep=2, seed=1, prompt="a trumpet, A4")
    assert other.samples.shape == note.samples.shape
    assert not np.array_equal(other.samples, note.samples)
    heard = librosa.yin(other.samples.astype(float), fmin=100, fmax=2000, sr=note.sample_rate)
    assert np.median(librosa.hz_to_midi(heard)) == pytest.approx(69, abs=0.5)
