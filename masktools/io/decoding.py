"""Decoders: one recording in a file, opened by libsndfile, else by PyAV where it is installed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile

from masktools.core.errors import AudioError
from masktools.io.chunks import ReadFile, Spliced
from masktools.io.coding import BITS, FOREIGN, MANY_FRAMES, SUFFIXES, reason_of, sound_name, without_chatter
from masktools.io.speakers import Speakers, by_names, speakers_of
from masktools.io.streams import Stream

AV_SUFFIXES = frozenset(
    (
        *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".asf", ".avi", ".m4a", ".m4b", ".mka"),
        *(".mkv", ".mov", ".mp4", ".mpc", ".tta", ".webm", ".wma", ".wmv", ".wv"),
    )
)
"""Endings of files that need PyAV; files of other endings are given to it where libsndfile refuses them."""

_SAME = {"MP2": "MPEG_LAYER_II", "MP3": "MPEG_LAYER_III", "OPUS": "OPUS", "VORBIS": "VORBIS"}  # as libsndfile says
_EXACT = {"ALAC", "APE", "FLAC", "MLP", "SHORTEN", "TAK", "TRUEHD", "TTA", "WAVPACK", "WMALOSSLESS"}
_LACKING_S = 0.25  # that a file of MP4 may be shorter than it says: the padding of its last frames


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
        """Raise where an MP4 holds less than it says; the lengths that other containers tell are guesses."""
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
    """Yield the audio of an open file, ready to be decoded; PyAV must be installed.

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
    """Return libsndfile's name for how a codec holds its samples, or the codec's own."""
    name = str(coder.codec.canonical_name).upper()
    if name in _EXACT or name.startswith("PCM_"):
        if coder.format is not None and coder.format.name.rstrip("p") in ("flt", "dbl"):
            return "FLOAT"
        bits = coder.format.bits if coder.format is not None else 32
        return "PCM_16" if bits <= 16 else "PCM_24"
    if name.startswith("WMA"):
        return "WMA"
    return _SAME.get(name, name if name in FOREIGN else "LOSSY")


_BLOCK = 1 << 16  # samples a channel that are decoded at once; the last bit of some MP3s depends on it
_TRIMMED = 10_000  # samples that an MP3 may tell to leave out at its beginning and its end, and delay of the decoder


class DamagedError(AudioError):
    """A recording that was decoded up to a place and no further."""


class SoundDecoder:
    """A recording that libsndfile decodes."""

    def __init__(self, path: Path, raw: Any, stream: Stream, is_mpeg: bool) -> None:
        self._path, self._stream = path, stream
        self._is_mpeg = is_mpeg or path.suffix.lower() == ".mp3"  # where nothing else is known, libsndfile believes it
        self._first: np.ndarray | None = None
        with self._quiet():
            source: Any = stream.file or sound_name(path)
            self.file = soundfile.SoundFile(source)
            if self.file.subtype not in BITS:  # some that can be opened cannot be decoded
                self._first = self.file.read(_BLOCK, dtype="float32", always_2d=True)
        self.sample_rate, self.n_channels = self.file.samplerate, self.file.channels
        self.format, self.subtype = self.file.format, self.file.subtype
        place = 0 if stream.file is None else stream.file.tell()
        self.speakers = speakers_of(stream.file or raw, self.n_channels)
        (stream.file or raw).seek(place)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield what the file holds to its last sample; ``SoundFile.blocks`` fills up what is missing."""
        block = np.empty((_BLOCK, self.n_channels), np.float32)
        n_read = 0
        decoded = self._first
        while decoded is None or len(decoded):
            if decoded is not None:
                n_read += len(decoded)
                yield decoded
            with self._quiet():
                decoded = self.file.read(out=block)
        # The header's length is a hint: of MPEG it is an estimate, a stream has none, and Ogg is checked by its pages.
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
"""What decodes a recording: it has sample_rate, n_channels, format, subtype, speakers and blocks()."""


@contextmanager
def decoder(path: Path, raw: BinaryIO, stream: Stream, is_mpeg: bool = False) -> Iterator[Decoder]:
    """Yield what decodes one recording of an open file.

    Raises:
        AudioError: nobody can decode it; the line names PyAV where that is not installed.
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
