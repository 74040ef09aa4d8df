"""The multi-resolution distance of short-time spectra, by which vocoders are compared."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from masktools.errors import ParameterError

__all__ = ["RESOLUTIONS", "StftDistance", "stft_distance"]

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # n_fft, hop and window length, in samples
_FLOOR = 1e-5


class StftDistance(NamedTuple):
    """Spectral convergence, the L1 distance of log magnitudes, and their sum, averaged over resolutions."""

    convergence: float
    log_magnitude: float
    total: float


def stft_distance(
    reference: np.ndarray, estimate: np.ndarray, resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS
) -> StftDistance:
    """Return the multi-resolution STFT distance of waves (t,): 0 for equal ones.

    Magnitudes below 1e-5 count as 1e-5.

    Raises:
        ParameterError: Shapes differ, no samples, or a silent reference.

    Source: Yamamoto et al., Parallel WaveGAN (arXiv:1910.11480), Eqs. 3 to 6.
    """
    true, found = (np.asarray(wave, np.float64) for wave in (reference, estimate))
    if true.shape != found.shape or true.ndim != 1 or not true.size:
        raise ParameterError(f"waves must be of one shape (t,) and not empty, got {true.shape} and {found.shape}")
    if not true.any():
        raise ParameterError("the reference must not be silent, got zeros only")
    parts = []
    for n_fft, hop, length in resolutions:
        stft = ShortTimeFFT(hann(length, sym=False), hop, 1.0, mfft=n_fft)
        one, other = (np.maximum(np.abs(stft.stft(_padded(wave, length))), _FLOOR) for wave in (true, found))
        convergence = float(np.linalg.norm(one - other) / np.linalg.norm(one))
        parts.append((convergence, float(np.abs(np.log(one) - np.log(other)).mean())))
    convergence, log_magnitude = (float(value) for value in np.mean(parts, axis=0))
    return StftDistance(convergence, log_magnitude, convergence + log_magnitude)


def _padded(wave: np.ndarray, n_samples: int) -> np.ndarray:
    return np.pad(wave, (0, max(0, n_samples - len(wave))))
