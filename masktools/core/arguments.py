"""Checks of users' arguments: numbers, names, recordings; errors are one line.

A number may be Python's or numpy's, or an array or a tensor without axes; Python's is returned. True and False are
no numbers.

A numpy array is (t,) or (t, channels), or (2, t) as in librosa; a tensor (t,) or (channels, t), on any device
and with or without gradients.
"""

import reprlib
import sys
import types
from collections.abc import Iterable
from dataclasses import fields
from importlib.util import find_spec
from math import inf
from numbers import Integral, Real
from typing import Any, TypeGuard, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from masktools.core.errors import AudioError, ParameterError, unknown_name

_LONGEST = 80  # characters of a value in an error message
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST


def shown(value: object) -> str:
    """Return a value as text for an error message: short, and on one line.

    >>> shown([1, 2]), len(shown("a" * 100))
    ('[1, 2]', 80)
    """
    if hasattr(value, "shape") and hasattr(value, "dtype") and getattr(value, "ndim", 0):
        return f"a {type(value).__name__} of {value.dtype}, shape {tuple(value.shape)}"  # type: ignore[attr-defined]
    if getattr(value, "ndim", 0):  # a pandas table, whose text would be a table again
        return f"a {type(value).__name__}"
    return " ".join(_SHORT.repr(value).split())


def plain(value: Any) -> Any:
    """Return the number in an array or a tensor without axes, and other values unchanged."""
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        try:
            return value.item()
        except (RuntimeError, NotImplementedError):  # a tensor on torch's meta device has no value
            return value
    return value


def checked_name(kind: str, value: object, choices: Iterable[str]) -> str:
    """Return a name after checking it.

    Raises:
        ParameterError: it is none of the choices; the message lists them.
    """
    known = tuple(choices)
    if isinstance(value, str) and value in known:
        return value
    raise unknown_name(kind, value if isinstance(value, str) and len(value) <= _LONGEST else shown(value), known)


def checked_switch(name: str, value: object) -> bool:
    """Return a boolean after checking it.

    Raises:
        ParameterError: it is neither True nor False.
    """
    switch = plain(value)
    if not isinstance(switch, bool):
        raise ParameterError(f"{name} must be True or False, got {shown(value)}")
    return switch


def checked_whole(name: str, value: object, lowest: int | None = None, highest: int | None = None) -> int:
    """Return an integer after checking its range.

    Raises:
        ParameterError: it is no integer, or out of its range.
    """
    limits, value = _limits(lowest, highest), plain(value)
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not _within(value, lowest, highest):
        raise ParameterError(f"{name} must be a whole number{limits}, got {shown(value)}")
    return int(value)  # type: ignore[call-overload]


PLOTTING = ("plots are drawn with", ("matplotlib",), "plots")
"""Arguments of ``check_installed`` for plots."""


def check_installed(what: str, packages: Iterable[str], extra: str) -> None:
    """Raise where packages are not installed, with the name of the extra that contains them.

    Raises:
        ParameterError: one or more are missing.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ParameterError(f'{what} {" and ".join(missing)}: pip install "masktools[{extra}]"')


def check_least(lowest: int, **values: float | None) -> None:
    """Raise where a number is below the lowest that is allowed; None is ignored.

    Raises:
        ParameterError: one is lower; the message names it.
    """
    for name, value in values.items():
        if value is not None and value < lowest:
            raise ParameterError(f"{name} must be at least {lowest}, got {_said(value)}")


def check_counts(settings: object, *names: str) -> None:
    """Raise where one of these settings is not a count of 1 or more.

    Raises:
        ParameterError: one is lower; the message names it.
    """
    for name in names:
        if getattr(settings, name) < 1:
            raise ParameterError(f"{name} must be at least 1, got {_said(getattr(settings, name))}")


def check_positive(unit: str = "", **values: float | None) -> None:
    """Raise where a number is not positive; None is ignored.

    Args:
        unit: unit of the numbers, for the message.
        **values: the numbers by name.

    Raises:
        ParameterError: one is not; the message names it.
    """
    for name, value in values.items():
        if value is not None and not value > 0:
            raise ParameterError(f"{name} must be positive, got {_said(value)}{unit and f' {unit}'}")


def check_within(interval: str, unit: str = "", /, **values: Any) -> None:
    """Raise where numbers, or lists of them, are outside an interval; None is ignored.

    Args:
        interval: in mathematical notation, such as "[0, 1)": a round bracket excludes the end; "[0, inf]" has no
            upper end.
        unit: unit of the numbers, for the message.
        **values: the numbers by name.

    Raises:
        ParameterError: one is outside; the message names it and the interval.
    """
    low, high = map(float, interval[1:-1].split(","))
    of = f" {unit}" if unit else ""
    least = f"be {'at least' if interval[0] == '[' else 'above'} {low:g}"
    limits = least if interval.endswith("inf]") else f"lie in {interval}"
    for name, value in values.items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if number is None or low < number < high:
                continue
            if not ((number == low and interval[0] == "[") or (number == high and interval[-1] == "]")):
                raise ParameterError(f"{name} must {limits}{of}, got {_said(value)}{of}")


def _said(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def checked_real(name: str, value: object, unit: str = "") -> float:
    """Return a number, which may be NaN or infinite: the caller checks its range.

    Raises:
        ParameterError: it is no number.
    """
    number = plain(value)
    if not isinstance(number, Real) or isinstance(number, bool):
        raise ParameterError(f"{name} must be a number{f' of {unit}' if unit else ''}, got {shown(value)}")
    try:
        return float(number)
    except OverflowError:  # an integer beyond the range of floats
        return inf if cast(Any, number) > 0 else -inf


def checked_call(name: str, value: object) -> None:
    """Raise where a value is neither a function nor None.

    Raises:
        ParameterError: it is neither a function nor None.
    """
    if value is not None and not callable(value):
        raise ParameterError(f"{name} must be a function or None, got {shown(value)}")


def settle(settings: Any) -> None:
    """Check the types of all numbers, names and switches of a frozen dataclass; numpy's become Python's.

    Ranges and choices in a field's metadata (``settings.setting``) are checked too; others are left to the class.

    Raises:
        ParameterError: a value of another type than its field, or out of its range.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value = _settled(field.name, getattr(settings, field.name), hints[field.name])
        object.__setattr__(settings, field.name, value)
        if value is not None and field.metadata.get("choices"):
            checked_name(field.name, value, field.metadata["choices"])
        elif "within" in field.metadata:
            if value == ():
                raise ParameterError(f"{field.name} must have at least one entry, got none")
            check_within(field.metadata["within"], field.metadata.get("unit", ""), **{field.name: value})


def _settled(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if hint is bool:
        return checked_switch(name, value)
    if hint is int:
        return checked_whole(name, value)
    if hint is float:
        return checked_real(name, value)
    if hint is str and not isinstance(value, str):
        raise ParameterError(f"{name} must be a name, got {shown(value)}")
    return value


def _within(value: Any, lowest: int | None, highest: int | None) -> bool:
    return (lowest is None or value >= lowest) and (highest is None or value <= highest)


def _limits(lowest: int | None, highest: int | None) -> str:
    if lowest is not None and highest is not None:
        return f" in [{lowest}, {highest}]"
    if lowest is not None:
        return f" of at least {lowest}"
    return "" if highest is None else f" of at most {highest}"


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
