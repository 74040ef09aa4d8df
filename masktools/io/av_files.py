"""What libsndfile cannot read (AAC in MP4, WMA, WebM, FLAC in Ogg and others), read by PyAV where it is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from masktools.errors import AudioError
from masktools.io.coding import FOREIGN
from masktools.io.speakers import Speakers, by_names
from masktools.io.spliced import ReadFile

__all__ = ["AV_SUFFIXES", "Decoding", "decoding", "has_pyav"]

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
        file.seek(0)
        with av.open(file) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} holds no audio")
            stream = container.streams.audio[0]
            coder = stream.codec_context
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
