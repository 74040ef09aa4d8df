"""Waves at another rate: band-limited, without delay, of exactly the length that the rates ask for."""

from math import prod

import numpy as np
import soxr

from masktools.errors import ParameterError

__all__ = ["resample", "resample_to"]


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Return samples (..., t) at another rate, float32, of length t * to_hz / from_hz rounded to the nearest.

    Band-limited (soxr, VHQ), without delay.

    Raises:
        ParameterError: a rate that is not positive.
    """
    _check_rates(from_hz, to_hz)
    return resample_to(samples, from_hz, to_hz, (2 * samples.shape[-1] * to_hz + from_hz) // (2 * from_hz))


def resample_to(samples: np.ndarray, from_hz: int, to_hz: int, n_samples: int) -> np.ndarray:
    """Return samples (..., t) at another rate and of exactly n_samples, float32; zeros pad what is missing.

    Raises:
        ParameterError: a rate that is not positive, or a negative length.
    """
    _check_rates(from_hz, to_hz)
    if n_samples < 0:
        raise ParameterError(f"n_samples must not be negative, got {n_samples}")
    flat = np.asarray(samples, np.float32).reshape(prod(samples.shape[:-1]), samples.shape[-1])
    if from_hz != to_hz and flat.size:
        flat = soxr.resample(np.ascontiguousarray(flat.T), from_hz, to_hz, quality="VHQ").T
    exact = np.zeros((flat.shape[0], n_samples), np.float32)
    n_kept = min(n_samples, flat.shape[1])
    exact[:, :n_kept] = flat[:, :n_kept]
    return exact.reshape(*samples.shape[:-1], n_samples)


def _check_rates(from_hz: int, to_hz: int) -> None:
    for name, rate in (("from_hz", from_hz), ("to_hz", to_hz)):
        if rate <= 0:
            raise ParameterError(f"{name} must be positive, got {rate} Hz")
