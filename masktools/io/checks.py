"""What is wrong with an audio file, in one line: missing, empty, cut off, not finite, not to be written to."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from masktools.errors import AudioError, ParameterError
from masktools.io.chunks import chunks_of
from masktools.io.coding import WAVES, Coding, limits_of
from masktools.io.id3 import id3_bytes

__all__ = ["check_finite", "check_place", "check_readable", "check_size", "check_whole", "reason_of"]

MANY_FRAMES = 2**31  # nobody's recording: a header that was never completed


def reason_of(error: Exception) -> str:
    """Return libsndfile's reason without its decoration."""
    return str(getattr(error, "error_string", error)).strip().removeprefix("Error : ").rstrip(".")


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


def check_whole(path: Path, format: str, n_read: int, n_announced: int) -> None:
    """Raise where a file holds less than its own header promises: a download or a copy that was cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if format in (*WAVES, "AIFF"):
            lacking = _data_end(file) - size
            if lacking > 0:
                raise AudioError(f"{path} is cut off: its header promises {lacking} bytes more than it holds")
        elif format == "OGG":
            if not _ogg_ends(file, size):
                raise AudioError(f"{path} is cut off: its last page is not marked as the end of the stream")
        elif n_read < n_announced <= MANY_FRAMES and (format != "MP3" or _mp3_counts(file)):
            raise AudioError(f"{path} is cut off: it holds {n_read} of the {n_announced} samples that it promises")


def _data_end(file: BinaryIO) -> int:
    """Return where the audio of a RIFF, RF64 or AIFF file ends by its header; 0 if it does not say."""
    order = "big" if file.read(4) in (b"FORM", b"RIFX") else "little"
    return next((start + n for name, start, n in chunks_of(file, order) if name in (b"data", b"SSND")), 0)


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Tell whether the last page of an Ogg file is complete and marked as the last of its stream."""
    file.seek(max(0, size - 2 * 65_307))  # a page has 65,307 bytes at most
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    n_bytes = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return len(page) >= n_bytes and bool(page[5] & 4)


def _mp3_counts(file: BinaryIO) -> bool:
    """Tell whether an MP3 announces its length; without that libsndfile guesses, up to twice too long."""
    file.seek(id3_bytes(file.read(10)))
    first_frame = file.read(4096)
    return b"Xing" in first_frame or b"Info" in first_frame


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
