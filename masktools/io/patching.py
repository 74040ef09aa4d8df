"""Some samples of a file are replaced: in place where the format allows it, every other byte as it was."""

import io
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from masktools.errors import AudioError, ParameterError
from masktools.io.aiff import aiff_layout
from masktools.io.checks import check_finite, check_place, check_readable
from masktools.io.chunks import Layout
from masktools.io.coding import INTEGER_BITS, UNLIMITED, as_codes
from masktools.io.replacing import replacing
from masktools.io.riff import riff_layout
from masktools.io.speakers import speakers_of

__all__ = ["Piece", "can_patch", "check_piece", "layout_of", "patch"]

_BLOCK = 1 << 16  # samples a channel


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples that take the place of those at [start, start + n) in some channels."""

    start: int
    samples: np.ndarray  # (len(channels), n) float32 or float64, full scale 1
    channels: tuple[int, ...]  # from 0, in the order of WAVE

    def __post_init__(self) -> None:
        """Check that there is a row of samples for each channel."""
        rows, kind = self.samples.shape[:-1], self.samples.dtype
        if rows != (len(set(self.channels)),) or rows != (len(self.channels),) or self.start < 0:
            raise ParameterError(
                "a piece must have a row for each of its channels and start at 0 or later, got samples of shape "
                f"{self.samples.shape}, channels {self.channels} and start {self.start}"
            )
        if kind not in (np.float32, np.float64):
            raise ParameterError(f"the samples of a piece must be float32 or float64, got {kind}")

    @property
    def stop(self) -> int:
        """The sample behind the last one."""
        return self.start + self.samples.shape[1]


def can_patch(path: str | Path) -> bool:
    """Tell whether samples of a file can be replaced in place: those of RIFF, RF64 and AIFF files can.

    Raises:
        AudioError: a file that is missing or cannot be read.
    """
    path = Path(path)
    check_readable(path)
    return layout_of(path) is not None


def layout_of(path: Path) -> Layout | None:
    """Return where and how a file holds its samples; None where they cannot be replaced one by one."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            return riff_layout(file)
        return aiff_layout(file) if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC") else None


def patch(source: str | Path, target: str | Path, pieces: Iterable[Piece]) -> int:
    """Copy a file with some samples replaced, and return how many of these were clipped.

    Everything else stays as it was, byte for byte: the other samples, all chunks (bext, iXML, LIST, cue, ...), the
    length of the file. Source and target may be the same file; the new one takes its place when it is complete. Where
    pieces overlap the last one stays.

    Raises:
        AudioError: a file that cannot be patched, samples that are not finite, or a place that cannot be written to.
        ParameterError: pieces that are outside the recording.
    """
    source, target = Path(source), Path(target)
    check_readable(source)
    check_place(target)
    layout = layout_of(source)
    if layout is None:
        raise AudioError(f"{source} must be a RIFF or RF64 wave file or an AIFF file to be patched")
    n_clipped = 0
    with replacing(target) as part:
        shutil.copyfile(source, part)
        with part.open("rb+") as file:
            speakers = speakers_of(file, layout.n_channels)
            for piece in pieces:
                check_piece(piece, layout.n_samples, layout.n_channels)
                check_finite(piece.samples.T, piece.start, layout.sample_rate, f"{target} is not written")
                n_clipped += _put(file, layout, piece, range(layout.n_channels) if speakers is None else speakers.order)
    return n_clipped


def check_piece(piece: Piece, n_samples: int, n_channels: int) -> None:
    """Raise where a piece is outside a recording."""
    if piece.stop > n_samples or any(not 0 <= channel < n_channels for channel in piece.channels):
        raise ParameterError(
            f"a piece must lie within the {n_samples} samples and {n_channels} channels of the recording, got samples "
            f"{piece.start} to {piece.stop} of channels {piece.channels}"
        )


def _put(file: BinaryIO, layout: Layout, piece: Piece, order: Sequence[int]) -> int:
    """Replace the samples of a piece in a file whose channels have an order, and return how many were clipped."""
    n_clipped = 0
    frame = layout.n_channels * layout.sample_bytes
    for start in range(0, piece.samples.shape[1], _BLOCK):
        samples = piece.samples[:, start : start + _BLOCK]
        position = layout.start + (piece.start + start) * frame
        file.seek(position)
        there = np.frombuffer(file.read(samples.shape[1] * frame), np.uint8)
        frames = there.reshape(-1, layout.n_channels, layout.sample_bytes).copy()
        if layout.subtype not in UNLIMITED:
            n_clipped += int(np.count_nonzero(np.abs(samples) > 1.0))
            samples = np.clip(samples, -1.0, 1.0)
        for channel, wave in zip(piece.channels, samples, strict=True):
            frames[:, order[channel]] = _encoded(wave, layout)
        file.seek(position)
        file.write(frames.tobytes())
    return n_clipped


def _encoded(wave: np.ndarray, layout: Layout) -> np.ndarray:
    """Return samples (n,) as bytes (n, sample_bytes)."""
    bits = INTEGER_BITS.get(layout.subtype)
    stream = io.BytesIO()
    endian = layout.order.upper() if layout.sample_bytes > 1 else None
    with soundfile.SoundFile(stream, "w", 48_000, 1, layout.subtype, endian, "RAW") as file:
        file.write(as_codes(wave, bits) if bits else wave)
    return np.frombuffer(stream.getvalue(), np.uint8).reshape(len(wave), layout.sample_bytes)
