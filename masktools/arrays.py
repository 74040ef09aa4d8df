"""Recordings as users hold them: arrays (t,) or (t, channels), as soundfile reads them, checked first of all."""

import numpy as np

from masktools.errors import AudioError, ParameterError

__all__ = ["as_recording", "checked_rate", "checked_seed", "checked_tokens", "like"]

MIN_RATE, MAX_RATE = 1_000, 1_000_000  # Hz
MAX_CHANNELS = 64


def checked_seed(seed: int) -> int:
    """Return a seed.

    Raises:
        ParameterError: it is no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ParameterError(f"seed must be a whole number, got {seed!r}")
    return int(seed)


def checked_rate(sample_rate: float) -> int:
    """Return a sample rate in Hz.

    Raises:
        ParameterError: it is no whole number, or none that recordings have.
    """
    numeric = isinstance(sample_rate, int | float | np.integer | np.floating) and not isinstance(sample_rate, bool)
    if not numeric or not float(sample_rate).is_integer() or not MIN_RATE <= sample_rate <= MAX_RATE:
        limits = f"[{MIN_RATE}, {MAX_RATE}]"
        raise ParameterError(f"sample_rate must be a whole number of Hz in {limits}, got {sample_rate!r}")
    return int(sample_rate)


def as_recording(samples: np.ndarray, sample_rate: float, finite: bool = True) -> np.ndarray:
    """Return samples (t,) or (t, channels) as (channels, t), in their own precision.

    Args:
        samples: full scale 1.
        sample_rate: in Hz.
        finite: whether NaN and infinity are refused.

    Raises:
        AudioError: no samples, or some that are not finite.
        ParameterError: samples of another kind or shape.
    """
    checked_rate(sample_rate)
    if not isinstance(samples, np.ndarray) or samples.dtype not in (np.float32, np.float64):
        got = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise ParameterError(f"samples must be a numpy array of float32 or float64, full scale 1, got {got}")
    if samples.ndim not in (1, 2):
        raise ParameterError(f"samples must be of shape (t,) or (t, channels), got {samples.shape}")
    if samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS:
        raise ParameterError(
            f"samples must have at most {MAX_CHANNELS} channels, got {samples.shape[1]}: "
            "samples come first, (t, channels); is it the other way round?"
        )
    if not samples.size:
        raise AudioError(f"a recording must have at least one sample, got shape {samples.shape}")
    known = np.isfinite(samples) if finite else np.ones(1, bool)
    if not known.all():
        first = int(np.argmin(known.reshape(len(samples), -1).all(axis=1)))
        raise AudioError(
            f"samples must be finite, but at {first / sample_rate:.4f} s (sample {first}) there is NaN or infinity: "
            "silence it first"
        )
    return samples[None] if samples.ndim == 1 else samples.T


def checked_tokens(tokens: np.ndarray, n_rows: int, n_codes: int) -> np.ndarray:
    """Return tokens (rows, columns) or (channels, rows, columns) as (channels, rows, columns), int64.

    Raises:
        ParameterError: they are of another shape or kind, or codes that there are not.
    """
    tokens = np.asarray(tokens)
    fits = tokens.ndim in (2, 3) and tokens.shape[-2] == n_rows and tokens.size
    if not fits or tokens.dtype.kind not in "iu":
        raise ParameterError(
            f"tokens must be integers of shape ({n_rows}, columns) or (channels, {n_rows}, columns), "
            f"got {tokens.dtype} of shape {tokens.shape}"
        )
    if tokens.min() < 0 or tokens.max() >= n_codes:
        raise ParameterError(f"tokens must lie in [0, {n_codes}), got {tokens.min()} to {tokens.max()}")
    return tokens.reshape(-1, *tokens.shape[-2:]).astype(np.int64)


def like(samples: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Return a restored recording (channels, t) in the shape of the one that was given."""
    return restored[0] if samples.ndim == 1 else np.ascontiguousarray(restored.T)
