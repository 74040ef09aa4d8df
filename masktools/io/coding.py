"""Containers, subtypes and their limits; checks of files and samples; libsndfile's messages in one line."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import soundfile

from masktools.core.arguments import checked_name
from masktools.core.errors import AudioError, ParameterError, unknown_name


class Coding(NamedTuple):
    """Container and coding of the samples of a file, in libsndfile's names."""

    format: str  # the container: WAV, FLAC, OGG, MP3, AIFF, ...
    subtype: str  # PCM_16, PCM_24, FLOAT, VORBIS, ...


SUFFIXES = {
    ".wav": Coding("WAV", "PCM_16"),
    ".flac": Coding("FLAC", "PCM_16"),
    ".ogg": Coding("OGG", "VORBIS"),
    ".opus": Coding("OGG", "OPUS"),
    ".mp3": Coding("MP3", "MPEG_LAYER_III"),
    ".aiff": Coding("AIFF", "PCM_16"),
    ".aif": Coding("AIFF", "PCM_16"),
    ".oga": Coding("OGG", "VORBIS"),
}
"""Default container and subtype for each suffix."""

FORMATS = {**dict(reversed(SUFFIXES.values())), "WAVEX": "PCM_16", "RF64": "PCM_16"}  # with their usual subtype
INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
BITS = {**INTEGER_BITS, "ULAW": 8, "ALAW": 8, "FLOAT": 32, "DOUBLE": 64}
UNLIMITED = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III")
"""Subtypes that hold samples beyond full scale."""

LOSSLESS = (*BITS, "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32", "DPCM_8", "DPCM_16", "DWVW_12", "DWVW_16", "DWVW_24")
"""Subtypes that give back the samples that went in."""

FOREIGN = ("AAC", "AC3", "AMR_NB", "AMR_WB", "EAC3", "WMA", "LOSSY")
"""Subtypes that PyAV reads and masktools does not write."""

WAVES = ("WAV", "WAVEX", "RF64")
"""Containers of files with the suffix .wav."""

WRITTEN = dict.fromkeys((*BITS, *UNLIMITED))
_OWN = {"OGG": ("VORBIS", "OPUS"), "MP3": ("MPEG_LAYER_III",)}  # lossy subtypes that belong to one container
_NEAREST = {
    "PCM_S8": "PCM_U8",
    "PCM_U8": "PCM_S8",
    "ALAC_16": "PCM_16",
    **dict.fromkeys(("PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32"), "PCM_24"),
}


class Limits(NamedTuple):
    """Limits of a format: sample rates and number of channels."""

    rates: Sequence[int]  # Hz
    max_channels: int


_LIMITS = {
    "MP3": Limits((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 2),
    "Opus": Limits((8000, 12000, 16000, 24000, 48000), 255),
    "Vorbis": Limits(range(8000, 192_001), 255),  # the encoder crashes at 250 kHz
    "FLAC": Limits(range(1, 655_351), 8),
}
_ANY = Limits(range(1, 2**31), 1024)


def limits_of(coding: Coding) -> tuple[str, Limits]:
    """Return the common name of a format, and its limits."""
    name = coding.subtype.capitalize() if coding.format == "OGG" else coding.format
    return name, _LIMITS.get(name, _ANY)


def as_codes(block: np.ndarray, bits: int) -> np.ndarray:
    """Return samples in [-1, 1] as integers of the given bits, in the upper bits of int32 for libsndfile."""
    full_scale = 2.0 ** (bits - 1)
    exact = block if bits <= 24 else block.astype(np.float64)
    codes = np.rint(exact * full_scale).clip(-full_scale, full_scale - 1)
    return codes.astype(np.int32) << (32 - bits)


def coding_for(path: str | Path, subtype: str | None = None, format: str | None = None) -> Coding:
    """Return the container and the subtype of a file that ``write`` makes.

    A subtype that the container does not have becomes the nearest that it has, or its usual one.

    >>> coding_for("a.flac", "FLOAT"), coding_for("a.wav", "VORBIS")
    (Coding(format='FLAC', subtype='PCM_24'), Coding(format='WAV', subtype='PCM_16'))

    Raises:
        ParameterError: an unknown suffix, container or subtype.
    """
    suffix = Path(path).suffix.lower()
    if format is not None:
        container = checked_name("audio format", format.upper(), FORMATS)
        usual = Coding(container, FORMATS[container])
    else:
        usual = SUFFIXES[checked_name("audio suffix", suffix, SUFFIXES)]
    if subtype is None:
        return usual
    wanted = subtype.upper()
    if wanted not in soundfile.available_subtypes() and wanted not in FOREIGN:
        raise unknown_name("subtype", wanted, WRITTEN)
    if usual.subtype == "OPUS":  # an .ogg may hold other codings, an .opus may not
        return usual
    for candidate in (wanted, _NEAREST.get(wanted)):
        if (
            candidate is not None
            and candidate in (_OWN.get(usual.format) or BITS)
            and soundfile.check_format(usual.format, candidate)
        ):
            return Coding(usual.format, candidate)
    return usual


MANY_FRAMES = 2**31  # samples that no recording has: the header was never completed


def reason_of(error: Exception) -> str:
    """Return libsndfile's reason without its decoration."""
    return str(getattr(error, "error_string", error)).strip().removeprefix("Error : ").rstrip(".")


def sound_name(path: Path) -> Any:  # str or bytes, of which the types of soundfile name the first only
    """Return a path as soundfile takes it, also one that is no UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def check_readable(path: Path) -> None:
    """Raise unless the file exists and is not empty."""
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
    """Raise where a format does not support a sample rate or a number of channels."""
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
    """Raise where the file cannot be written."""
    if not path.parent.is_dir():
        raise AudioError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if path.is_dir():
        raise AudioError(f"{path} cannot be written: it is a folder")


_CHATTER = re.compile(rb"^(\[[^\]]*libmpg123|(Note|Warning|NOTE): |\s*$|.*mpg123)")
_STDERR = 2
_lock = threading.RLock()
_depth = 0
_held: tuple[IO[bytes], int] | None = None  # temporary file in place of stderr, and the stream itself


@contextmanager
def without_chatter() -> Iterator[None]:
    """Suppress messages of libmpg123 about an MP3 file; several threads may do so at once."""
    _begin()
    try:
        yield
    finally:
        _end()


def _begin() -> None:
    global _depth, _held
    with _lock:
        _depth += 1
        if _depth > 1:
            return
        try:
            stream = os.dup(_STDERR)
        except OSError:  # it is closed
            return
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        os.dup2(file.fileno(), _STDERR)
        _held = file, stream


def _end() -> None:
    global _depth, _held
    with _lock:
        _depth -= 1
        if _depth or _held is None:
            return
        (file, stream), _held = _held, None
        os.dup2(stream, _STDERR)
        os.close(stream)
        with file:
            file.seek(0)
            for line in file.read().splitlines(keepends=True):
                if not _CHATTER.match(line):
                    os.write(_STDERR, line)
