"""Mel spectrograms packed into one small file, a byte a cell, to be carried to another machine that has no audio.

A cell is a 255th of the mel's range, 0.4 dB of 100; the bytes are differences from frame to frame, compressed.
"""

import json
import lzma
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from masktools.errors import ParameterError
from masktools.jsons import parse_json
from masktools.training.captioned_mels import CaptionedMel

__all__ = ["is_packed", "pack_mels", "read_packed"]

SUFFIX = ".mels"
_LEVELS = 255
_MAGIC = b"masktools mels 1\n"
_PRESET = 1  # of LZMA: higher ones save little here and take long


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a file of packed mel spectrograms."""
    return Path(path).suffix == SUFFIX and Path(path).is_file()


def pack_mels(recordings: Sequence[CaptionedMel], path: str | os.PathLike[str], max_bytes: int) -> int:
    """Write as many recordings as fit, in their order, and return their number.

    Raises:
        ParameterError: The name does not end in .mels, or not even the first recording fits.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise ParameterError(f"packed mel spectrograms are a file that ends in {SUFFIX}, got {target}")
    rows, pieces, size = [], [], len(_MAGIC) + 8
    for recording in recordings:
        cells = ((np.asarray(recording.mel, np.float32) + 1.0) * (_LEVELS / 2.0)).round().clip(0, _LEVELS)
        steps = np.diff(cells.astype(np.uint8), axis=0, prepend=np.uint8(0))
        piece = lzma.compress(np.ascontiguousarray(steps.T).tobytes(), preset=_PRESET)
        told = asdict(recording) | {"tags": sorted(recording.tags), "mel": list(cells.shape), "n_bytes": len(piece)}
        size += len(piece) + len(json.dumps(told)) + 2
        if size > max_bytes:
            break
        rows.append(told)
        pieces.append(piece)
    if not rows:
        raise ParameterError(f"no recording fits into {max_bytes} bytes")
    head = json.dumps(rows).encode()
    partial = target.with_name(f"{target.name}.part")
    partial.write_bytes(b"".join([_MAGIC, len(head).to_bytes(8, "little"), head, *pieces]))
    partial.replace(target)
    return len(rows)


def read_packed(path: str | os.PathLike[str]) -> list[CaptionedMel]:
    """Return the recordings of a file of packed mel spectrograms, their mels as float16.

    Raises:
        ParameterError: It is no such file, or it was cut off.
    """
    content = Path(path).read_bytes()
    start = len(_MAGIC) + 8
    try:
        if not content.startswith(_MAGIC):
            raise ValueError("it begins otherwise")
        length = int.from_bytes(content[len(_MAGIC) : start], "little")
        rows, start = parse_json(content[start : start + length]), start + length
        found = []
        for row in rows:
            n_frames, n_mels = row["mel"]
            steps = np.frombuffer(lzma.decompress(content[start : start + row["n_bytes"]]), np.uint8)
            cells = np.cumsum(steps.reshape(n_mels, n_frames), axis=1, dtype=np.uint8).T
            start += row.pop("n_bytes")
            mel = (cells * (2.0 / _LEVELS) - 1.0).astype(np.float16)
            found.append(CaptionedMel(**{**row, "mel": mel, "tags": frozenset(row["tags"])}))
    except (ValueError, KeyError, TypeError, lzma.LZMAError) as error:
        raise ParameterError(f"{path} holds no packed mel spectrograms ({error})") from error
    return found
