"""Audio files of any length, read piece by piece: what can be sought in is sought in, the rest is decoded once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import soundfile

from masktools.errors import AudioError
from masktools.io import av_files
from masktools.io.checks import MANY_FRAMES, check_finite, check_readable, check_whole, reason_of
from masktools.io.coding import BITS, LOSSLESS, SUFFIXES

__all__ = ["Recording", "open_recording"]

_BLOCK = 1 << 16  # samples a channel that are decoded at once; the last bit of some MP3s depends on it
_IN_MEMORY_BYTES = 1 << 26  # of decoded audio; what is longer goes to a temporary file


class Recording:
    """An audio file that is open for reading, as a context; for one reader at a time.

    MP3, Vorbis and Opus do not land on the exact sample when one seeks in them: they are decoded once, from the
    beginning to the end, into a temporary file without a name, 4 bytes a sample, that vanishes with the recording.

    Attributes:
        path: the file.
        sample_rate: in Hz.
        n_channels: of the file.
        n_samples: for each channel.
        format: libsndfile's name of the container (WAV, FLAC, OGG, MP3, AIFF, ...), or PyAV's.
        subtype: libsndfile's name of the coding (PCM_16, PCM_24, FLOAT, VORBIS, ...), or the nearest to what PyAV read.
        is_lossy: whether the coding gives back other samples than went in.
    """

    sample_rate: int
    n_channels: int
    n_samples: int
    format: str
    subtype: str
    is_lossy: bool

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: soundfile.SoundFile | None = None
        self._store: IO[bytes] | None = None
        self._position = 0  # in the file, in samples
        check_readable(path)
        try:
            if path.suffix.lower() in av_files.AV_SUFFIXES:
                self._open_foreign()
            else:
                self._open()
            if not self.n_samples:
                raise AudioError(f"{path} holds no samples: its header is that of an audio file of length zero")
        except (soundfile.SoundFileError, TypeError) as error:
            self.close()
            known = ", ".join(suffix[1:] for suffix in SUFFIXES)
            problem = f"{path} cannot be read as audio ({reason_of(error)})"
            raise AudioError(f"{problem}: it is damaged, or must first be converted to one of {known}") from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        file = self._file = soundfile.SoundFile(self.path)
        self.sample_rate, self.n_channels = file.samplerate, file.channels
        self.format, self.subtype = file.format, file.subtype
        self.is_lossy = self.subtype not in LOSSLESS
        # The header's length is a hint: an MP3 without one is only estimated, a stream has none.
        n_announced = file.frames
        if self.subtype in BITS and 0 < n_announced <= MANY_FRAMES:
            self.n_samples = n_announced
        else:
            self._keep(_decoded(file))
            n_announced = file.frames
        check_whole(self.path, self.format, self.n_samples, n_announced)

    def _open_foreign(self) -> None:
        """Decode what libsndfile does not know."""
        with av_files.decoding(self.path) as decoding:
            self.sample_rate, self.n_channels = decoding.sample_rate, decoding.n_channels
            self.format, self.subtype = decoding.format, decoding.subtype
            self.is_lossy = self.subtype not in LOSSLESS
            self._keep(decoding.blocks())
            decoding.check_whole(self.n_samples)

    def _keep(self, blocks: Iterator[np.ndarray]) -> None:
        """Store what is decoded, (t, channels) float32 in order."""
        store = self._store = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        self.n_samples = 0
        for block in blocks:
            try:
                store.write(block.tobytes())
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and remove what was decoded of it."""
        for opened in (self._file, self._store):
            if opened is not None:
                opened.close()
        self._file = self._store = None

    def read(
        self, start: int = 0, stop: int | None = None, finite: bool = True, dtype: type[np.floating] = np.float32
    ) -> np.ndarray:
        """Return samples [start, stop), (channels, stop - start), full scale 1; none outside the recording.

        Args:
            start: the first sample.
            stop: behind the last one; the end of the recording if None.
            finite: whether NaN and infinity are an error.
            dtype: float32, or float64 for what holds more than 24 bits.

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
        if len(block) < n:
            raise AudioError(
                f"{self.path} is cut off: it holds {self._position} of the {self.n_samples} samples that it promises"
            )
        return block

    def blocks(self, n_samples: int = _BLOCK, finite: bool = True) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first sample and the samples (channels, n) of one block after the other."""
        for start in range(0, self.n_samples, n_samples):
            yield start, self.read(start, start + n_samples, finite)


def _decoded(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield what a file holds, (t, channels), to its last sample; ``SoundFile.blocks`` fills up what is missing."""
    block = np.empty((_BLOCK, file.channels), np.float32)
    while len(decoded := file.read(out=block)):
        yield decoded


def open_recording(path: str | Path) -> Recording:
    """Return an audio file that is open for reading piece by piece, in bounded memory; close it, or use it in a with.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut off or without samples. Of a FLAC that was cut
            off only reading tells.
    """
    return Recording(Path(path))
