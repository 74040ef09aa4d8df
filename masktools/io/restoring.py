"""A recording is written with some samples replaced: patched where that is possible, else decoded and encoded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from masktools.io.coding import WAVES, Coding, coding_for
from masktools.io.patching import Piece, check_piece, layout_of, patch
from masktools.io.recordings import Recording
from masktools.io.writing import open_writer

__all__ = ["restore_into"]

_BLOCK = 1 << 16  # samples a channel
_EXACT_IN_DOUBLE = ("PCM_32", "DOUBLE")  # hold more than float32 does


def restore_into(
    source: str | Path,
    target: str | Path,
    recording: Recording,
    pieces: Iterable[Piece],
    subtype: str | None = None,
    format: str | None = None,
) -> int:
    """Write a recording with some samples replaced, and return how many samples were clipped.

    Where source and target are of one container and one coding, and both can be patched, the source is patched: every
    other byte stays. Else it is decoded and encoded block by block, with its tags. Where pieces overlap the last one
    stays.

    Args:
        source: the file.
        target: where to; it may be the source.
        recording: the source, open.
        pieces: what is replaced, in any order.
        subtype: libsndfile's name of the coding; that of the source if None.
        format: libsndfile's name of the container, where the suffix shall not choose it.

    Raises:
        AudioError: as ``write``, or a recording that cannot be read.
        ParameterError: as ``write``, or pieces that are outside the recording.
    """
    source, target = Path(source), Path(target)
    coding = coding_for(target, subtype or recording.subtype, format)
    if _can_stay(recording, coding, format):
        layout = layout_of(source)
        if layout is not None and layout.subtype == coding.subtype:
            return patch(source, target, pieces)
    waiting = list(pieces)
    for piece in waiting:
        check_piece(piece, recording.n_samples, recording.n_channels)
    size = (recording.sample_rate, recording.n_channels)
    n_samples = recording.n_samples
    with open_writer(target, *size, coding.subtype, format, like=recording, n_samples=n_samples) as writer:
        for block in _replaced(recording, waiting):
            writer.write(block)
    return writer.n_clipped


def _can_stay(recording: Recording, coding: Coding, format: str | None) -> bool:
    """Tell whether the container of a recording is the one that is wanted."""
    if format is None and coding.format == "WAV":
        return recording.format in WAVES
    return recording.format == coding.format


def _replaced(recording: Recording, pieces: Sequence[Piece]) -> Iterator[np.ndarray]:
    """Yield the blocks of a recording, with the pieces in their places."""
    dtype = np.float64 if recording.subtype in _EXACT_IN_DOUBLE else np.float32
    touching = defaultdict(list)
    for piece in pieces:
        for number in range(piece.start // _BLOCK, -(-piece.stop // _BLOCK)):
            touching[number].append(piece)
    for number, start in enumerate(range(0, recording.n_samples, _BLOCK)):
        stop = min(start + _BLOCK, recording.n_samples)
        block = recording.read(start, stop, finite=False, dtype=dtype)
        for piece in touching[number]:
            first, last = max(start, piece.start), min(stop, piece.stop)
            own = piece.samples[:, first - piece.start : last - piece.start]
            block[list(piece.channels), first - start : last - start] = own
        yield block
