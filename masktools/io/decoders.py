"""One recording in a file, opened by whoever can decode it: libsndfile, else PyAV where it is installed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from masktools.errors import AudioError
from masktools.io import av_files
from masktools.io.checks import MANY_FRAMES, reason_of, sound_name
from masktools.io.coding import BITS, SUFFIXES
from masktools.io.quiet import without_chatter
from masktools.io.speakers import speakers_of
from masktools.io.streams import Stream

__all__ = ["DamagedError", "Decoder", "SoundDecoder", "decoder"]

_BLOCK = 1 << 16  # samples a channel that are decoded at once; the last bit of some MP3s depends on it
_TRIMMED = 10_000  # samples that an MP3 may tell to leave out at its beginning and its end, and delay of the decoder


class DamagedError(AudioError):
    """A recording that was decoded up to a place and no further."""


class SoundDecoder:
    """A recording that libsndfile decodes."""

    def __init__(self, path: Path, raw: Any, stream: Stream, is_mpeg: bool) -> None:
        self._path, self._stream, self._is_mpeg = path, stream, is_mpeg
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


Decoder = SoundDecoder | av_files.Decoding
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
    needs_pyav = path.suffix.lower() in av_files.AV_SUFFIXES
    known = ", ".join(suffix[1:] for suffix in SUFFIXES)
    problem = f"{path} cannot be read as audio ({reason_of(refused)}): it is damaged, or must first be converted to"
    install = 'PyAV: pip install "masktools[av]"'
    if not av_files.has_pyav():
        if needs_pyav:
            problem = f"{path} cannot be read without {install}, or convert it to WAV or FLAC first"
        else:
            problem += f" one of {known}, or needs {install}"
        raise AudioError(problem) from refused
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(av_files.decoding(path, stream.file or raw))
        except AudioError as error:
            raise (error if needs_pyav else AudioError(f"{problem} one of {known}")) from refused
        yield opened
