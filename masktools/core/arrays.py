"""Checks of users' recordings; errors are one line.

A numpy array is (t,) or (t, channels), or (2, t) as in librosa; a tensor (t,) or (channels, t), on any device
and with or without gradients.
"""

import sys
from typing import Any, TypeGuard

import numpy as np

from masktools.core.arguments import plain, shown
from masktools.core.errors import AudioError, ParameterError

MIN_RATE, MAX_RATE = 1_000, 1_000_000  # Hz
MAX_CHANNELS = 64
LOUDEST = 1e9  # for full scale 1; beyond it the powers of a spectrum overflow single precision


def is_tensor(value: object) -> TypeGuard[Any]:
    """Return whether a value is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def checked_rate(sample_rate: Any) -> int:
    """Return a sample rate in Hz after checking it.

    Raises:
        ParameterError: it is no integer, or outside the range of recordings.
    """
    rate = plain(sample_rate)
    numeric = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if numeric and MIN_RATE <= float(rate) <= MAX_RATE and float(rate).is_integer():
        return int(rate)
    raise ParameterError(f"sample_rate must be a whole number of Hz in [{MIN_RATE}, {MAX_RATE}], got {shown(rate)}")


def as_recording(samples: object, sample_rate: object, finite: bool = True) -> np.ndarray:
    """Return a recording as (channels, t), float32 or float64; it may share memory with the input.

    Args:
        samples: numpy (t,), (t, channels) or stereo (2, t), torch (t,) or (channels, t), of float16, float32 or
            float64 (torch: bfloat16 too), full scale 1.
        sample_rate: sampling rate in Hz.
        finite: whether NaN, infinity and values far beyond full scale are refused.

    Raises:
        AudioError: no samples, or some that are not finite.
        ParameterError: samples of another type or shape, or an invalid sample rate.
    """
    rate = checked_rate(sample_rate)
    if is_tensor(samples):
        channels = _from_tensor(samples)
    else:
        array = _from_numpy(samples)
        if array.ndim not in (1, 2):
            raise ParameterError(f"samples must be of shape (t,) or (t, channels), got {array.shape}")
        if array.ndim == 2 and array.shape[1] > MAX_CHANNELS and not channels_first(array):
            raise ParameterError(
                f"samples must have at most {MAX_CHANNELS} channels, got {array.shape[1]}: "
                "samples come first, (t, channels); is it the other way round, or a batch?"
            )
        channels = array[None] if array.ndim == 1 else array if channels_first(array) else array.T
    return _checked_samples(channels, rate, finite, samples)


def channels_first(samples: Any) -> bool:
    """Return whether a numpy array is stereo in librosa's order, (2, t); more rows might be a batch."""
    return samples.ndim == 2 and samples.shape[0] <= 2 and samples.shape[1] > MAX_CHANNELS


def as_channels(samples: Any, sample_rate: object, finite: bool = True) -> np.ndarray:
    """Return a recording given as (channels, t), as a numpy array; otherwise like ``as_recording``.

    Raises:
        AudioError: no samples, or some that are not finite.
        ParameterError: samples of another type or shape, or an invalid sample rate.
    """
    rate = checked_rate(sample_rate)
    channels = plain_samples(samples)
    shape: tuple[int, ...] = np.shape(samples)  # type: ignore[call-overload]
    if channels.ndim != 2 or len(shape) == 1:
        raise ParameterError(f"samples must be of shape (channels, t), got {tuple(shape)}")
    return _checked_samples(channels, rate, finite, samples)


def plain_samples(samples: object) -> np.ndarray:
    """Return an array or a tensor as a numpy array, float32 or float64, in a memory order that libraries accept.

    Raises:
        ParameterError: samples of another type.
    """
    return _from_tensor(samples) if is_tensor(samples) else _from_numpy(samples)


def _from_numpy(samples: object) -> np.ndarray:
    """Return an array in a byte order and a memory order that every library accepts."""
    if not isinstance(samples, np.ndarray) or samples.dtype.kind != "f" or samples.dtype.itemsize > 8:
        got = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise ParameterError(
            f"samples must be a numpy array of float32 or float64, full scale 1, got {got}; or a torch tensor of floats"
        )
    if np.ma.is_masked(samples):
        raise ParameterError("samples must not be masked: fill them first, and name what was masked as a gap")
    dtype = np.dtype(np.float64 if samples.dtype.itemsize == 8 else np.float32)
    plain = np.asarray(samples).astype(dtype, copy=False)
    return np.ascontiguousarray(plain) if any(step < 0 for step in plain.strides) else plain


def _from_tensor(samples: Any) -> np.ndarray:
    """Return a tensor (t,) or (channels, t) as (channels, t)."""
    if not samples.is_floating_point():
        raise ParameterError(f"samples must be a tensor of floats, full scale 1, got {samples.dtype}")
    if str(samples.layout) != "torch.strided" or samples.device.type == "meta":
        raise ParameterError(f"samples must be a tensor that holds its numbers, got one that is {samples.layout}")
    if samples.ndim not in (1, 2):
        raise ParameterError(f"a tensor must be (t,), (channels, t) or (b, channels, t), got {tuple(samples.shape)}")
    if samples.ndim == 2 and samples.shape[0] > MAX_CHANNELS:
        raise ParameterError(
            f"a tensor must have at most {MAX_CHANNELS} channels, got {samples.shape[0]} in {tuple(samples.shape)}: "
            "channels come first in torch, (channels, t); is it transposed? A batch is (b, channels, t), or a list"
        )
    here = samples.detach().cpu().resolve_neg()
    array = (here if str(here.dtype) == "torch.float64" else here.float()).numpy()
    return array[None] if array.ndim == 1 else array


def _checked_samples(channels: np.ndarray, sample_rate: int, finite: bool, given: Any) -> np.ndarray:
    if not channels.size:
        raise AudioError(f"a recording must have at least one sample, got shape {tuple(given.shape)}")
    if not finite:
        return channels
    loudest = max(-float(channels.min()), float(channels.max()))  # NaN if any sample is
    if not np.isfinite(loudest):
        first = int(np.argmin(np.isfinite(channels).all(axis=0)))
        raise AudioError(
            f"samples must be finite, but at {first / sample_rate:.4f} s (sample {first}) there is NaN or infinity: "
            "silence it first"
        )
    check_loudest(loudest)
    return channels


def check_loudest(loudest: float) -> None:
    """Raise where samples are NaN, or so far beyond full scale that no spectrum can be computed.

    Raises:
        AudioError: the greatest magnitude is above ``LOUDEST``, or NaN.
    """
    if not loudest <= LOUDEST:
        raise AudioError(f"samples must be within full scale, 1, or not far beyond it, got {loudest:g}: scale them")


def checked_tokens(tokens: Any, n_rows: int, n_codes: int) -> np.ndarray:
    """Return tokens (rows, columns) or (channels, rows, columns) as (channels, rows, columns), int64.

    Raises:
        ParameterError: another shape or type, or codes that do not exist.
    """
    try:
        tokens = np.asarray(tokens.detach().cpu() if is_tensor(tokens) else tokens)
    except (TypeError, ValueError, RuntimeError):  # lists of unequal lengths, tensors without numbers
        tokens = np.zeros((), object)
    fits = tokens.ndim in (2, 3) and tokens.shape[tokens.ndim - 2] == n_rows and tokens.size
    if not fits or tokens.dtype.kind not in "iu":
        raise ParameterError(
            f"tokens must be integers of shape ({n_rows}, columns) or (channels, {n_rows}, columns), "
            f"got {tokens.dtype} of shape {tokens.shape}"
        )
    if tokens.min() < 0 or tokens.max() >= n_codes:
        raise ParameterError(f"tokens must lie in [0, {n_codes}), got {tokens.min()} to {tokens.max()}")
    return tokens.reshape(-1, *tokens.shape[-2:]).astype(np.int64)


def is_alone(samples: Any) -> bool:
    """Return whether a recording was given as one channel without a channel axis."""
    return samples.ndim == 1


def like(samples: Any, restored: np.ndarray, resampled: bool = False) -> Any:
    """Return a restored recording (channels, t) in the form of the input: its kind, shape, type and device.

    Args:
        samples: the input.
        restored: the restored recording, in memory of its own.
        resampled: whether its sample rate has changed: it is float32 then, whatever the input was.
    """
    ours = restored[0] if is_alone(samples) else restored
    if is_tensor(samples):
        torch = sys.modules["torch"]
        tensor = torch.from_numpy(np.ascontiguousarray(ours))
        return tensor.to(samples.device, tensor.dtype if resampled else samples.dtype)
    dtype = restored.dtype if resampled else samples.dtype
    turned = ours.ndim == 2 and not channels_first(samples)
    return np.ascontiguousarray(ours.T if turned else ours).astype(dtype, copy=False)
