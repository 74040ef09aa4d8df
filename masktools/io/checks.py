"""What is wrong with an audio file, in one line: missing, empty, cut off, not finite, not to be written to."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from masktools.errors import AudioError, ParameterError
from masktools.io.coding import Coding, limits_of

__all__ = ["check_finite", "check_place", "check_readable", "check_size", "reason_of", "sound_name"]

MANY_FRAMES = 2**31  # nobody's recording: a header that was never completed


def reason_of(error: Exception) -> str:
    """Return libsndfile's reason without its decoration."""
    return str(getattr(error, "error_string", error)).strip().removeprefix("Error : ").rstrip(".")


def sound_name(path: Path) -> Any:  # str or bytes, of which the types of soundfile name the first only
    """Return a path as soundfile takes it, also one that is no UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def check_readable(path: Path) -> None:
    """Raise unless there is a file, with something in it."""
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder, not an audio file")
        if not path.exists():
            raise AudioError(f"{path} does not exist")
        if not path.is_file():
            raise AudioError(f"{path} is not a regular file: save the audio to a file first")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError(f"{path} is empty (0 bytes)")
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}") from error


def check_finite(block: np.ndarray, n_before: int, sample_rate: int, where: str) -> None:
    """Raise where a block (t, channels) holds NaN or infinity."""
    finite = np.isfinite(block)
    if finite.all():
        return
    sample, channel = np.unravel_index(int(np.argmin(finite)), block.shape)
    kind = "NaN" if np.isnan(block[sample, channel]) else "Inf"
    position = n_before + int(sample)
    raise AudioError(
        f"{where}: samples must be finite, but the first that is not is {kind} at sample {position} "
        f"({position / sample_rate:.4f} s), channel {int(channel) + 1} of {block.shape[1]}; silence it first"
    )


def check_size(coding: Coding, sample_rate: int, n_channels: int) -> None:
    """Raise where a format does not have a rate, or so many channels."""
    name, limits = limits_of(coding)
    if sample_rate not in limits.rates:
        rates = limits.rates
        listed = f"{rates[0]} to {rates[-1]}" if isinstance(rates, range) else ", ".join(map(str, rates))
        raise ParameterError(f"the sample rate of {name} must be one of {listed} Hz, got {sample_rate} Hz")
    if not 1 <= n_channels <= limits.max_channels:
        raise ParameterError(
            f"{name} holds 1 to {limits.max_channels} channels, got {n_channels}; samples are (channels, t)"
        )


def check_place(path: Path) -> None:
    """Raise where no file can be written."""
    if not path.parent.is_dir():
        raise AudioError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if path.is_dir():
        raise AudioError(f"{path} cannot be written: it is a folder")
