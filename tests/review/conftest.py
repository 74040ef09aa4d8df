"""Recordings in which one knows what was changed."""

import numpy as np
import pytest

from masktools import io

RATE = 22_050


@pytest.fixture(scope="session")
def music():
    """Two seconds of a decaying chord in stereo, whose values PCM of 16 bits holds exactly."""
    seconds = np.arange(2 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hz * seconds) / hz for hz in (220, 330, 1100, 3300))
    noise = np.random.default_rng(0).normal(0, 0.01, (2, len(seconds)))
    samples = 60 * chord * np.exp(-seconds) * np.array([[1.0], [0.7]]) + noise
    return (np.rint(32768 * samples * 0.3 / np.abs(samples).max()) / 32768).astype(np.float32)


@pytest.fixture
def files(tmp_path, music):
    """Return a writer of recordings: name, samples, rate and coding -> path."""

    def write(name, samples=music, rate=RATE, subtype="PCM_16"):
        io.write(tmp_path / name, samples, rate, subtype)
        return tmp_path / name

    return write
