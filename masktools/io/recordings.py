"""Audio files -> waves, whole or piece by piece: by seeking where a format allows it, else decoded once to disk.

libsndfile opens a recording, or else PyAV where it is installed.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
import soxr

from masktools.core.arguments import check_positive
from masktools.core.errors import AudioError, ParameterError
from masktools.io.chunks import ReadFile, Spliced
from masktools.io.coding import (
    BITS,
    FOREIGN,
    LOSSLESS,
    MANY_FRAMES,
    SUFFIXES,
    check_finite,
    check_readable,
    reason_of,
    sound_name,
    without_chatter,
)
from masktools.io.streams import Stream, streams_of
from masktools.io.tags import Speakers, by_names, speakers_of

AV_SUFFIXES = frozenset(
    (
        *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".asf", ".avi", ".m4a", ".m4b", ".mka"),
        *(".mkv", ".mov", ".mp4", ".mpc", ".tta", ".webm", ".wma", ".wmv", ".wv"),
    )
)
"""Suffixes of files that need PyAV; other files are given to it where libsndfile refuses them."""

_SAME = {"MP2": "MPEG_LAYER_II", "MP3": "MPEG_LAYER_III", "OPUS": "OPUS", "VORBIS": "VORBIS"}  # libsndfile's names
_EXACT = {"ALAC", "APE", "FLAC", "MLP", "SHORTEN", "TAK", "TRUEHD", "TTA", "WAVPACK", "WMALOSSLESS"}
_LACKING_S = 0.25  # seconds that an MP4 may be shorter than promised: the padding of its last frames


class Decoding(NamedTuple):
    """The audio of a file that is being decoded."""

    path: Path
    sample_rate: int  # Hz
    n_channels: int
    format: str
    subtype: str
    speakers: Speakers | None
    container: Any
    resampler: Any

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the samples, (t, channels) float32, in order."""
        n_samples = 0
        for frame in chain(self.container.decode(self.container.streams.audio[0]), (None,)):
            for block in self._arrays(frame):
                n_samples += len(block)
                yield block
        self._check_whole(n_samples)

    def _arrays(self, frame: Any) -> Iterator[np.ndarray]:
        for packed in self.resampler.resample(frame):
            yield packed.to_ndarray().reshape(-1, self.n_channels)

    def _check_whole(self, n_samples: int) -> None:
        """Raise where an MP4 is shorter than promised; the lengths in other containers are guesses."""
        stream = self.container.streams.audio[0]
        if self.format == "MOV" and stream.duration:
            announced_s, held_s = float(stream.duration * stream.time_base), n_samples / self.sample_rate
            if held_s < announced_s - _LACKING_S:
                raise AudioError(
                    f"{self.path} is cut off: it holds {held_s:.2f} of the {announced_s:.2f} s it promises"
                )


def has_pyav() -> bool:
    """Tell whether PyAV is installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def decoding(path: Path, file: ReadFile) -> Iterator[Decoding]:
    """Yield the decoder of an open file; PyAV must be installed.

    Raises:
        AudioError: the file is no audio that PyAV can decode.
    """
    import av
    from av.error import FFmpegError

    try:
        whole = Spliced(file, [(0, file.seek(0, 2))])  # PyAV prints a traceback where a seek raises, and goes on
        with av.open(whole) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} holds no audio")
            coder = container.streams.audio[0].codec_context
            if coder is None:
                raise AudioError(f"{path} holds audio in a coding that nobody knows: it is damaged, or no audio")
            resampler = av.AudioResampler(format="flt", layout=coder.layout, rate=coder.sample_rate)
            name = container.format.name.split(",")[0].upper()
            speakers = by_names([channel.name for channel in coder.layout.channels]) if coder.channels > 2 else None
            made = (name, _subtype_of(coder), speakers)
            yield Decoding(path, coder.sample_rate, coder.channels, *made, container, resampler)
    except (FFmpegError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path} cannot be read as audio ({reason}): it is damaged, or no audio") from error


def _subtype_of(coder: Any) -> str:
    """Return libsndfile's name of a codec's coding, or the codec's own."""
    name = str(coder.codec.canonical_name).upper()
    if name in _EXACT or name.startswith("PCM_"):
        if coder.format is not None and coder.format.name.rstrip("p") in ("flt", "dbl"):
            return "FLOAT"
        bits = coder.format.bits if coder.format is not None else 32
        return "PCM_16" if bits <= 16 else "PCM_24"
    if name.startswith("WMA"):
        return "WMA"
    return _SAME.get(name, name if name in FOREIGN else "LOSSY")


_BLOCK = 1 << 16  # samples for each channel that are decoded at once; the last bit of some MP3s depends on it
_TRIMMED = 10_000  # samples that an MP3 may ask to trim at its beginning and its end, with the decoder's delay


class DamagedError(AudioError):
    """Raised for a recording that can be decoded only in part."""


class SoundDecoder:
    """Decoder of a recording by libsndfile."""

    def __init__(self, path: Path, raw: Any, stream: Stream, is_mpeg: bool) -> None:
        self._path, self._stream = path, stream
        self._is_mpeg = is_mpeg or path.suffix.lower() == ".mp3"  # without other hints, libsndfile goes by the suffix
        self._first: np.ndarray | None = None
        with self._quiet():
            source: Any = stream.file or sound_name(path)
            self.file = soundfile.SoundFile(source)
            if self.file.subtype not in BITS:  # some files can be opened but not decoded
                self._first = self.file.read(_BLOCK, dtype="float32", always_2d=True)
        self.sample_rate, self.n_channels = self.file.samplerate, self.file.channels
        self.format, self.subtype = self.file.format, self.file.subtype
        place = 0 if stream.file is None else stream.file.tell()
        self.speakers = speakers_of(stream.file or raw, self.n_channels)
        (stream.file or raw).seek(place)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the samples to the last one in the file; ``SoundFile.blocks`` would pad what is missing."""
        block = np.empty((_BLOCK, self.n_channels), np.float32)
        n_read = 0
        decoded = self._first
        while decoded is None or len(decoded):
            if decoded is not None:
                n_read += len(decoded)
                yield decoded
            with self._quiet():
                decoded = self.file.read(out=block)
        # The header's length is a hint: for MPEG it is an estimate, a stream has none, and Ogg is checked by its pages.
        is_hint = self.format == "OGG" or self.subtype.startswith("MPEG")
        n_announced = self._stream.n_samples or (0 if is_hint else self.file.frames)
        if n_read < n_announced - (_TRIMMED if self._stream.n_samples else 0) and n_announced <= MANY_FRAMES:
            held = f"it holds {n_read} of the {n_announced} samples that it promises"
            if self._stream.n_samples:
                raise DamagedError(f"{self._path} is damaged: {held}")
            raise AudioError(f"{self._path} is cut off: {held}")

    def _quiet(self) -> AbstractContextManager[None]:
        return without_chatter() if self._is_mpeg else nullcontext()


Decoder = SoundDecoder | Decoding
"""A decoder of a recording: it has sample_rate, n_channels, format, subtype, speakers and blocks()."""


@contextmanager
def decoder(path: Path, raw: BinaryIO, stream: Stream, is_mpeg: bool = False) -> Iterator[Decoder]:
    """Yield a decoder for one recording of an open file.

    Raises:
        AudioError: no library can decode it; the line names PyAV where that is not installed.
    """
    try:
        sound = SoundDecoder(path, raw, stream, is_mpeg)
    except (soundfile.SoundFileError, TypeError) as error:
        refused = error
    else:
        with sound.file:
            yield sound
        return
    needs_pyav = path.suffix.lower() in AV_SUFFIXES
    known = ", ".join(suffix[1:] for suffix in SUFFIXES)
    problem = f"{path} cannot be read as audio ({reason_of(refused)}): it is damaged, or must first be converted to"
    install = 'PyAV: pip install "masktools[av]"'
    if not has_pyav():
        if needs_pyav:
            problem = f"{path} cannot be read without {install}, or convert it to WAV or FLAC first"
        else:
            problem += f" one of {known}, or needs {install}"
        raise AudioError(problem) from refused
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(decoding(path, stream.file or raw))
        except AudioError as error:
            raise (error if needs_pyav else AudioError(f"{problem} one of {known}")) from refused
        yield opened


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Return samples (..., t) at another rate, float32, of length t * to_hz / from_hz rounded to the nearest.

    Band-limited (soxr, VHQ), without delay.

    Raises:
        ParameterError: a rate that is not positive.
    """
    check_positive("Hz", from_hz=from_hz, to_hz=to_hz)
    return resample_to(samples, from_hz, to_hz, (2 * samples.shape[-1] * to_hz + from_hz) // (2 * from_hz))


def resample_to(samples: np.ndarray, from_hz: int, to_hz: int, n_samples: int) -> np.ndarray:
    """Return samples (..., t) at another rate and of exactly n_samples, float32; zeros pad what is missing.

    Raises:
        ParameterError: a rate that is not positive, or a negative length.
    """
    check_positive("Hz", from_hz=from_hz, to_hz=to_hz)
    if n_samples < 0:
        raise ParameterError(f"n_samples must not be negative, got {n_samples}")
    flat = np.asarray(samples, np.float32).reshape(prod(samples.shape[:-1]), samples.shape[-1])
    if from_hz != to_hz and flat.size:
        flat = soxr.resample(np.ascontiguousarray(flat.T), from_hz, to_hz, quality="VHQ").T
    exact = np.zeros((flat.shape[0], n_samples), np.float32)
    n_kept = min(n_samples, flat.shape[1])
    exact[:, :n_kept] = flat[:, :n_kept]
    return exact.reshape(*samples.shape[:-1], n_samples)


def converted_blocks(path: Path, part: Decoder, sample_rate: int, n_channels: int) -> Iterator[np.ndarray]:
    """Yield the blocks of a recording, (t, n_channels) float32, at a sample rate.

    Raises:
        AudioError: a number of channels that cannot be converted.
    """
    if part.n_channels != n_channels and 1 not in (part.n_channels, n_channels):
        raise AudioError(
            f"{path} holds recordings of {n_channels} and of {part.n_channels} channels, joined: split it first"
        )
    if part.sample_rate == sample_rate:
        for block in part.blocks():
            yield _with_channels(block, n_channels)
        return
    stream = soxr.ResampleStream(part.sample_rate, sample_rate, n_channels, "float32", "VHQ")
    for block in part.blocks():
        yield stream.resample_chunk(np.ascontiguousarray(_with_channels(block, n_channels))).reshape(-1, n_channels)
    yield stream.resample_chunk(np.zeros((0, n_channels), np.float32), last=True).reshape(-1, n_channels)


def _with_channels(block: np.ndarray, n_channels: int) -> np.ndarray:
    if block.shape[1] == n_channels:
        return block
    if block.shape[1] == 1:
        return np.repeat(block, n_channels, axis=1)
    return block.mean(axis=1, keepdims=True, dtype=np.float32)


_IN_MEMORY_BYTES = 1 << 26  # decoded audio in memory; longer recordings go to a temporary file


class Recording:
    """An audio file that is open for reading; a context manager, for one thread at a time.

    MP3, Vorbis and Opus do not seek to the exact sample: they are decoded once, from beginning to end, into an
    unnamed temporary file of 4 bytes a sample, which vanishes with the recording. So are files in which several
    recordings were joined: they have the rate and the channels of the first.

    Channels are in the order of WAVE: front left, front right, front centre, low frequencies, back left, back right.

    Attributes:
        path: the file.
        sample_rate: sampling rate in Hz.
        n_channels: number of channels of the file.
        n_samples: samples in each channel.
        format: libsndfile's name of the container (WAV, FLAC, OGG, MP3, AIFF, ...), or PyAV's.
        subtype: libsndfile's name of the coding (PCM_16, PCM_24, FLOAT, VORBIS, ...), or the nearest to what PyAV read.
        is_lossy: whether the coding changes samples.
        mask: speaker mask of the channels, as in WAVE; None if the file has none.
        warnings: defects of the file that did not prevent reading, a line each.
        is_exact: whether samples are at their exact positions; not so where an MP3 is sought in, which may end early
            too.
    """

    sample_rate: int
    n_channels: int
    n_samples: int
    format: str
    subtype: str
    is_lossy: bool
    mask: int | None
    warnings: tuple[str, ...]
    is_exact: bool

    def __init__(self, path: Path, exact: bool = True) -> None:
        self.path = path
        self.is_exact = exact
        self.n_samples = 0
        self._opened = ExitStack()
        self._file: soundfile.SoundFile | None = None  # open where it can be sought in
        self._store: IO[bytes] | None = None
        self._position = 0  # sample of the file
        check_readable(path)
        with ExitStack() as opened:
            try:
                raw = opened.enter_context(path.open("rb"))
                has_header = self._open(raw, opened)
            except (soundfile.SoundFileError, OSError) as error:
                reason = getattr(error, "strerror", None) or reason_of(error)
                raise AudioError(f"{path} cannot be read as audio ({reason}): it is damaged") from error
            if not self.n_samples:
                known = "its header is that of an audio file of length zero"
                raise AudioError(
                    f"{path} holds no samples: {known}"
                    if has_header
                    else f"{path} cannot be read as audio: it holds no sound"
                )
            self._opened = opened.pop_all()

    def _open(self, raw: BinaryIO, opened: ExitStack) -> bool:
        """Start reading, and tell whether libsndfile knows the header; PyAV takes almost anything for audio."""
        found = streams_of(self.path, raw)
        self.warnings = tuple(found.notes)
        first = opened.enter_context(decoder(self.path, raw, found.streams[0], found.is_mpeg))
        self.sample_rate, self.n_channels = first.sample_rate, first.n_channels
        self.format, self.subtype, self.is_lossy = first.format, first.subtype, first.subtype not in LOSSLESS
        self.mask, self._order = _arranged(first)
        lands = self.subtype in BITS
        can_seek = (lands or not self.is_exact) and len(found.streams) == 1
        self.is_exact = lands or not can_seek
        if isinstance(first, SoundDecoder) and can_seek and 0 < first.file.frames <= MANY_FRAMES:
            self._file, self.n_samples = first.file, first.file.frames
            return True
        self.is_exact = True
        self._store = opened.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115
        self._keep_all(first, raw, found.streams[0], self._store)
        for stream in found.streams[1:]:
            with decoder(self.path, raw, stream, found.is_mpeg) as following:
                self._keep_all(following, raw, stream, self._store)
        return isinstance(first, SoundDecoder)

    def _keep_all(self, part: Decoder, raw: BinaryIO, stream: Stream, store: IO[bytes]) -> None:
        """Store the decoded samples; where libsndfile fails before the end, PyAV may go on."""
        n_before = self.n_samples
        try:
            self._keep(part, store)
        except (soundfile.SoundFileError, DamagedError) as error:
            n_decoded, self.n_samples = self.n_samples - n_before, n_before
            if not isinstance(part, SoundDecoder) or not has_pyav():
                raise
            store.seek(4 * n_before * self.n_channels)
            store.truncate()
            with decoding(self.path, stream.file or raw) as other:
                self._keep(other, store)
            if self.n_samples < n_before + n_decoded:
                raise
            line = f"{self.path}: libsndfile stops at sample {n_before + n_decoded} ({reason_of(error)}): PyAV read it"
            self.warnings = (*self.warnings, line)

    def _keep(self, part: Decoder, store: IO[bytes]) -> None:
        """Store the decoded samples, (t, channels) float32 in order, with the rate and the channels of the first."""
        order = _arranged(part)[1]
        for block in converted_blocks(self.path, part, self.sample_rate, self.n_channels):
            arranged = block if order is None or block.shape[1] != len(order) else block[:, order]
            try:
                store.write(arranged.tobytes())
            except OSError as error:
                folder, n_bytes = tempfile.gettempdir(), 4 * self.n_samples * self.n_channels
                raise AudioError(
                    f"{self.path} cannot be decoded into {folder} ({error.strerror} after {n_bytes >> 20} MiB): "
                    "let TMPDIR name a folder with more room"
                ) from error
            self.n_samples += len(block)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and remove its decoded samples."""
        self._file = self._store = None
        self._opened.close()

    def read(
        self, start: int = 0, stop: int | None = None, finite: bool = True, dtype: type[np.floating] = np.float32
    ) -> np.ndarray:
        """Return samples [start, stop), (channels, stop - start), full scale 1; cut to the length of the recording.

        Args:
            start: the first sample.
            stop: the sample behind the last one; the end of the recording if None.
            finite: whether NaN and infinity are an error.
            dtype: float32, or float64 for codings of more than 24 bits.

        Raises:
            AudioError: samples that cannot be decoded, or that are not finite; a recording that has been closed.
        """
        start = max(0, start)
        stop = self.n_samples if stop is None else min(stop, self.n_samples)
        samples = np.empty((self.n_channels, max(0, stop - start)), dtype)
        for first in range(start, stop, _BLOCK):
            n = min(_BLOCK, stop - first)
            block = self._stored(self._store, first, n) if self._store else self._sought(first, n, dtype)
            if finite:
                check_finite(block, first, self.sample_rate, str(self.path))
            samples[:, first - start : first - start + n] = block.T
        return samples

    def _stored(self, store: IO[bytes], start: int, n: int) -> np.ndarray:
        store.seek(4 * start * self.n_channels)
        return np.frombuffer(store.read(4 * n * self.n_channels), np.float32).reshape(-1, self.n_channels)

    def _sought(self, start: int, n: int, dtype: type[np.floating]) -> np.ndarray:
        if self._file is None:
            raise AudioError(f"{self.path} has been closed")
        try:
            if start != self._position:
                self._file.seek(start)
            block = self._file.read(n, dtype="float64" if dtype is np.float64 else "float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            self._position = -1
            raise AudioError(f"{self.path} cannot be read as audio ({reason_of(error)}): it is damaged") from error
        self._position = start + len(block)
        if len(block) < n and not self.is_exact:
            block = np.pad(block, ((0, n - len(block)), (0, 0)))
        if len(block) < n:
            raise AudioError(
                f"{self.path} is cut off: it holds {self._position} of the {self.n_samples} samples that it promises"
            )
        return block if self._order is None else block[:, self._order]

    def blocks(self, n_samples: int = _BLOCK, finite: bool = True) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first sample and the samples (channels, n) of one block after the other."""
        for start in range(0, self.n_samples, n_samples):
            yield start, self.read(start, start + n_samples, finite)


def _arranged(part: Decoder) -> tuple[int | None, list[int] | None]:
    """Return the speaker mask of a recording, and the order that sorts its channels as in WAVE, None if sorted."""
    speakers = part.speakers
    if speakers is None:
        return None, None
    return speakers.mask, None if speakers.is_sorted else list(speakers.order)


def open_recording(path: str | Path, tell: bool = True, exact: bool = True) -> Recording:
    """Open an audio file for reading piece by piece, in bounded memory; close it, or use it in a with.

    Args:
        path: path of the file.
        tell: whether to log defects of the file that do not prevent reading (``Recording.warnings``), on
            the logger "masktools".
        exact: False for a preview: formats that would be decoded once are sought in, so that samples may be slightly
            displaced, and the length is that of the header.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut off or without samples. A truncated FLAC is
            found out only by reading.
    """
    recording = Recording(Path(path), exact)
    for line in recording.warnings if tell else ():
        logging.getLogger("masktools").warning("%s", line)
    return recording


@dataclass(frozen=True, eq=False)
class Audio:
    """An audio file in memory: samples, rate and coding."""

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
    """Return a whole audio file.

    Integers of up to 24 bits survive reading and writing bit for bit; 32-bit integers and doubles are rounded to
    float32.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut off, without samples, or not finite.
    """
    with open_recording(path) as recording:
        return Audio(recording.read(), recording.sample_rate, recording.subtype, recording.format)
