"""Formats that libsndfile does not know (AAC in MP4, WMA, WebM), read by PyAV where it is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from masktools.errors import AudioError
from masktools.io.coding import FOREIGN

__all__ = ["AV_SUFFIXES", "Decoding", "decoding"]

AV_SUFFIXES = frozenset(
    (
        *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".asf", ".avi", ".m4a", ".m4b", ".mka"),
        *(".mkv", ".mov", ".mp4", ".mpc", ".tta", ".webm", ".wma", ".wmv", ".wv"),
    )
)
"""Endings of files that need PyAV."""

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
    container: Any
    resampler: Any

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the samples, (t, channels) float32, in order."""
        for frame in self.container.decode(self.container.streams.audio[0]):
            yield from self._arrays(frame)
        yield from self._arrays(None)

    def _arrays(self, frame: Any) -> Iterator[np.ndarray]:
        for packed in self.resampler.resample(frame):
            yield packed.to_ndarray().reshape(-1, self.n_channels)

    def check_whole(self, n_samples: int) -> None:
        """Raise where an MP4 holds less than it says; the lengths that other containers tell are guesses."""
        stream = self.container.streams.audio[0]
        if self.format == "MOV" and stream.duration:
            announced_s, held_s = float(stream.duration * stream.time_base), n_samples / self.sample_rate
            if held_s < announced_s - _LACKING_S:
                raise AudioError(
                    f"{self.path} is cut off: it holds {held_s:.2f} of the {announced_s:.2f} s it promises"
                )


@contextmanager
def decoding(path: Path) -> Iterator[Decoding]:
    """Yield the audio of a file, ready to be decoded.

    Raises:
        AudioError: PyAV is not installed, or the file is no audio that it can decode.
    """
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise AudioError(
            f'{path} cannot be read without PyAV: pip install "masktools[av]", or convert it to WAV or FLAC first'
        ) from None
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} holds no audio")
            stream = container.streams.audio[0]
            coder = stream.codec_context
            resampler = av.AudioResampler(format="flt", layout=coder.layout, rate=coder.sample_rate)
            name = container.format.name.split(",")[0].upper()
            subtype = _subtype_of(coder)
            yield Decoding(path, coder.sample_rate, coder.channels, name, subtype, container, resampler)
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
