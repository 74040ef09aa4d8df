"""Audio files -> waves, whole: decoded once from the beginning to the end."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masktools.io.recordings import open_recording

__all__ = ["Audio", "read"]


@dataclass(frozen=True, eq=False)
class Audio:
    """What an audio file holds, and how it holds it."""

    samples: np.ndarray  # (channels, t) float32, full scale 1
    sample_rate: int  # Hz
    subtype: str  # libsndfile's name of the coding: PCM_16, PCM_24, FLOAT, VORBIS, ...
    format: str  # libsndfile's name of the container: WAV, FLAC, OGG, MP3, AIFF, ...

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.samples.shape[0]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.sample_rate


def read(path: str | Path) -> Audio:
    """Return a whole audio file.

    Integers of up to 24 bits survive reading and writing bit for bit; 32-bit integers and doubles are rounded to
    float32.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut off, without samples, or not finite.
    """
    with open_recording(path) as recording:
        return Audio(recording.read(), recording.sample_rate, recording.subtype, recording.format)
