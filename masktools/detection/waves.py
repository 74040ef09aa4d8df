"""Waves as detectors take them: (channels, t), whatever they hold."""

import numpy as np

from masktools.arrays import checked_rate, plain_samples
from masktools.errors import ParameterError

__all__ = ["checked_wave"]


def checked_wave(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return samples (channels, t) as float32; damage may be in them.

    Raises:
        ParameterError: samples of another shape or kind, no channel, or a sample rate that is none.
    """
    checked_rate(sample_rate)
    samples = plain_samples(samples)
    if samples.ndim != 2 or not samples.shape[0]:
        raise ParameterError(f"samples must be of shape (channels, t), got {samples.shape}")
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)
