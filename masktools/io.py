"""Audio files <-> waves: every reader's error is one clear line, every write is whole or not there at all.

Waves are float32 of shape (channels, t) with full scale at 1. Files go through soundfile and soxr only;
nothing else in masktools opens an audio file.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
import soxr

from masktools.errors import AudioError, ParameterError, unknown_name

__all__ = ["SUFFIXES", "Audio", "Coding", "coding_for", "read", "resample", "resample_to", "write"]


class Coding(NamedTuple):
    """How a file holds its samples, in libsndfile's names."""

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
"""What each suffix gets where nothing else is asked for."""

_FORMATS = {**dict(reversed(SUFFIXES.values())), "WAVEX": "PCM_16", "RF64": "PCM_16"}  # with their usual subtype
_BLOCK = 1 << 16  # samples per channel decoded at once
_INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BITS = {**_INTEGER_BITS, "ULAW": 8, "ALAW": 8, "FLOAT": 32, "DOUBLE": 64}
_UNLIMITED = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III")  # hold samples beyond full scale
_WRITTEN = dict.fromkeys((*_BITS, *_UNLIMITED))
_NEAREST = {"PCM_S8": "PCM_U8", "PCM_U8": "PCM_S8", "PCM_32": "PCM_24", "FLOAT": "PCM_24", "DOUBLE": "PCM_24"}
# From 0, the best, to 1. MP3: 320 kbit/s where it has that rate; Vorbis: q9; Opus: 156 kbit/s.
_COMPRESSION = {"MPEG_LAYER_III": 0.0, "VORBIS": 0.1, "OPUS": 0.4}
_MP3_LEVEL = 0.95  # what the MP3 encoder makes of full scale at 24 kHz and below; undone when writing
_WAV_BYTES = 2**32 - 2**20  # a longer WAV becomes RF64


class _Limits(NamedTuple):
    rates: Sequence[int]  # Hz
    max_channels: int


_LIMITS = {
    "MP3": _Limits((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 2),
    "Opus": _Limits((8000, 12000, 16000, 24000, 48000), 255),
    "Vorbis": _Limits(range(8000, 192_001), 255),  # the encoder crashes at 250 kHz
    "FLAC": _Limits(range(1, 655_351), 8),
}
_ANY = _Limits(range(1, 2**31), 1024)


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
    """Return a whole audio file, decoded once from its beginning to its end.

    Nothing seeks: MP3 and Vorbis do not land on the exact sample. Integers of up to 24 bits survive reading
    and writing bit for bit; 32-bit integers and doubles are rounded to float32.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut off, without samples, or not finite.
    """
    path = Path(path)
    _check_readable(path)
    try:
        with soundfile.SoundFile(path) as file:
            samples = _decode(file, path)
            audio = Audio(samples, file.samplerate, file.subtype, file.format)
            n_announced = file.frames
    except (soundfile.SoundFileError, TypeError) as error:
        known = ", ".join(suffix[1:] for suffix in SUFFIXES)
        problem = f"{path} cannot be read as audio ({_reason(error)})"
        raise AudioError(f"{problem}: it is damaged, or must first be converted to one of {known}") from error
    _check_whole(path, audio, n_announced)
    if not samples.shape[1]:
        raise AudioError(f"{path} holds no samples: its header is that of an audio file of length zero")
    return audio


def _decode(file: soundfile.SoundFile, path: Path) -> np.ndarray:
    # The header's length is a hint: an MP3 without one is only estimated, a stream has none.
    room = file.frames if 0 < file.frames <= 2**31 else _BLOCK
    samples = np.empty((file.channels, room), np.float32)
    block = np.empty((_BLOCK, file.channels), np.float32)
    n = 0
    while len(decoded := file.read(out=block)):
        _check_finite(decoded, n, file.samplerate, str(path))
        if n + len(decoded) > samples.shape[1]:
            more = np.empty((file.channels, n + _BLOCK), np.float32)
            samples = np.concatenate([samples[:, :n], more], axis=1)
        samples[:, n : n + len(decoded)] = decoded.T
        n += len(decoded)
    return samples if n == samples.shape[1] else samples[:, :n].copy()


def write(
    path: str | Path,
    samples: np.ndarray,
    sample_rate: int,
    subtype: str | None = None,
    format: str | None = None,
) -> int:
    """Write a whole audio file or nothing, and return how many samples were clipped.

    The file is written beside its place under another name and moved there when it is complete: ``path`` may
    be the file that was read. Integers are rounded to the nearest step, without dither.

    Args:
        path: where to; its folder must exist. The suffix chooses the container.
        samples: (channels, t) float32 or float64, full scale 1. Integer subtypes clip what lies beyond, float
            and lossy ones keep it.
        sample_rate: in Hz.
        subtype: libsndfile's name of the coding, ``Audio.subtype`` to keep that of an input; a container that
            does not have it gets the nearest that it has (see ``coding_for``).
        format: libsndfile's name of the container, where the suffix shall not choose it.

    Raises:
        ParameterError: an unknown suffix, container or subtype; samples of another shape or kind; a sample
            rate or a number of channels that the format does not have.
        AudioError: samples that are not finite, no samples, or a place that cannot be written to.
    """
    path = Path(path)
    container, chosen = coding_for(path, subtype, format)
    _check_writable(path, samples, sample_rate, container, chosen)
    n_channels, n_samples = samples.shape
    if container == "WAV" and samples.size * _BITS[chosen] // 8 > _WAV_BYTES:
        container = "RF64"
    quality, mode = _COMPRESSION.get(chosen), "CONSTANT" if container == "MP3" else None
    level = _MP3_LEVEL if container == "MP3" and sample_rate <= 24_000 else 1.0

    # Blocks of a second at most: the Vorbis encoder crashes on long ones.
    n_clipped, step = 0, min(sample_rate, _BLOCK)
    with _in_place_of(path) as part:
        coding = {"subtype": chosen, "format": container, "compression_level": quality, "bitrate_mode": mode}
        with soundfile.SoundFile(part, "w", sample_rate, n_channels, **coding) as file:
            for start in range(0, n_samples, step):
                block = samples[:, start : start + step].T
                if chosen not in _UNLIMITED:
                    n_clipped += int(np.count_nonzero(np.abs(block) > 1.0))
                    block = np.clip(block, -1.0, 1.0)
                bits = _INTEGER_BITS.get(chosen)
                file.write(_as_codes(block, bits) if bits else block / level)
        if soundfile.info(part).frames != n_samples:
            raise AudioError(f"{path} could not be written in full: is the disk full?")
    return n_clipped


def _as_codes(block: np.ndarray, bits: int) -> np.ndarray:
    """Return samples in [-1, 1] as integers of so many bits, in the upper bits of int32 for libsndfile."""
    full_scale = 2.0 ** (bits - 1)
    exact = block if bits <= 24 else block.astype(np.float64)
    codes = np.rint(exact * full_scale).clip(-full_scale, full_scale - 1)
    return codes.astype(np.int32) << (32 - bits)


def coding_for(path: str | Path, subtype: str | None = None, format: str | None = None) -> Coding:
    """Return the container and the subtype that ``write`` gives a file.

    A subtype that the container does not have becomes the nearest that it has, or its usual one.

    >>> coding_for("a.flac", "FLOAT"), coding_for("a.wav", "VORBIS")
    (Coding(format='FLAC', subtype='PCM_24'), Coding(format='WAV', subtype='PCM_16'))

    Raises:
        ParameterError: an unknown suffix, container or subtype.
    """
    suffix = Path(path).suffix.lower()
    if format is not None:
        if format.upper() not in _FORMATS:
            raise unknown_name("audio format", format.upper(), _FORMATS)
        usual = Coding(format.upper(), _FORMATS[format.upper()])
    elif suffix in SUFFIXES:
        usual = SUFFIXES[suffix]
    else:
        raise unknown_name("audio suffix", suffix, SUFFIXES)
    if subtype is None:
        return usual
    wanted = subtype.upper()
    if wanted not in soundfile.available_subtypes():
        raise unknown_name("subtype", wanted, _WRITTEN)
    if usual.subtype == "OPUS":  # what else an .ogg may hold, an .opus may not
        return usual
    for candidate in (wanted, _NEAREST.get(wanted)):
        if candidate in _WRITTEN and soundfile.check_format(usual.format, candidate):
            return Coding(usual.format, candidate)
    return usual


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


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().removeprefix("Error : ").rstrip(".")


def _check_readable(path: Path) -> None:
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


def _check_finite(block: np.ndarray, n_before: int, sample_rate: int, where: str) -> None:
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


def _check_whole(path: Path, audio: Audio, n_announced: int) -> None:
    """Raise where a file holds less than its own header promises: a download or a copy that was cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if audio.format in ("WAV", "WAVEX", "AIFF"):
            lacking = _data_end(file) - size
            if lacking > 0:
                raise AudioError(f"{path} is cut off: its header promises {lacking} bytes more than it holds")
        elif audio.format == "OGG":
            if not _ogg_ends(file, size):
                raise AudioError(f"{path} is cut off: its last page is not marked as the end of the stream")
        elif audio.samples.shape[1] < n_announced <= 2**31 and (audio.format != "MP3" or _mp3_counts(file)):
            n_read = audio.samples.shape[1]
            raise AudioError(f"{path} is cut off: it holds {n_read} of the {n_announced} samples that it promises")


def _data_end(file: BinaryIO) -> int:
    """Return where the audio of a RIFF or AIFF file ends by its header; 0 if it does not say."""
    order = "big" if file.read(12)[:4] in (b"FORM", b"RIFX") else "little"
    while len(head := file.read(8)) == 8:
        n_bytes = int.from_bytes(head[4:], order)
        if head[:4] in (b"data", b"SSND"):
            unknown = n_bytes >= 2**32 - 2**12  # written while it was streamed
            return 0 if unknown else file.tell() + n_bytes
        file.seek(n_bytes + n_bytes % 2, os.SEEK_CUR)
    return 0


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
    head = file.read(10)
    if head[:3] == b"ID3":
        n_tag = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        file.seek(n_tag, os.SEEK_CUR)
    first_frame = file.read(4096)
    return b"Xing" in first_frame or b"Info" in first_frame


def _check_writable(path: Path, samples: np.ndarray, sample_rate: int, container: str, subtype: str) -> None:
    if samples.ndim != 2 or samples.dtype not in (np.float32, np.float64):
        got = f"{samples.dtype} of shape {samples.shape}"
        raise ParameterError(f"samples must be float32 or float64 of shape (channels, t), got {got}")
    n_channels = samples.shape[0]
    name = subtype.capitalize() if container == "OGG" else container
    limits = _LIMITS.get(name, _ANY)
    if sample_rate not in limits.rates:
        rates = limits.rates
        listed = f"{rates[0]} to {rates[-1]}" if isinstance(rates, range) else ", ".join(map(str, rates))
        raise ParameterError(f"the sample rate of {name} must be one of {listed} Hz, got {sample_rate} Hz")
    if not 1 <= n_channels <= limits.max_channels:
        raise ParameterError(
            f"{name} holds 1 to {limits.max_channels} channels, got {n_channels}; samples are (channels, t)"
        )
    if not samples.shape[1]:
        raise AudioError(f"{path} would hold no samples")
    for start in range(0, samples.shape[1], _BLOCK):
        _check_finite(samples[:, start : start + _BLOCK].T, start, sample_rate, f"{path} is not written")
    if not path.parent.is_dir():
        raise AudioError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if path.is_dir():
        raise AudioError(f"{path} cannot be written: it is a folder")


@contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    """Yield a new name beside ``path``: what is written there takes its place, or vanishes on any failure."""
    target = Path(os.path.realpath(path))  # a link stays a link
    part = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.part")
    try:
        part.touch(exist_ok=False)
        yield part
        with suppress(OSError):  # a new file has no rights to keep, and some file systems have none at all
            shutil.copymode(target, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or _reason(error) or "is the disk full?"
        raise AudioError(f"{path} cannot be written: {reason}") from error
    finally:
        part.unlink(missing_ok=True)
