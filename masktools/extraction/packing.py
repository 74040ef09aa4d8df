"""Items and rows as text and bytes, so that they travel between machines: exactly, and without pickles."""

import io
import json
from collections.abc import Iterable
from dataclasses import astuple

import numpy as np

from masktools.extraction.rows import Row
from masktools.extraction.sources import Item
from masktools.jsons import parse_json

__all__ = ["pack_items", "pack_row", "unpack_items", "unpack_row"]

_ARRAYS = ("clip", "frames", "times_s", "tokens")


def pack_items(items: Iterable[Item]) -> str:
    """Return items as JSON.

    >>> unpack_items(pack_items([Item("a", "a.wav", start_s=0.5)])) == [Item("a", "a.wav", start_s=0.5)]
    True
    """
    return json.dumps([astuple(item) for item in items])


def unpack_items(packed: str) -> list[Item]:
    """Return what ``pack_items`` was given."""
    return [Item(*values) for values in parse_json(packed)]


def pack_row(row: Row) -> bytes:
    """Return a row as the bytes of a .npz file."""
    arrays = {name: value for name in _ARRAYS if (value := getattr(row, name)) is not None}
    told = json.dumps({"key": row.key, "duration_s": row.duration_s, "error": row.error})
    stream = io.BytesIO()
    np.savez(stream, told=np.frombuffer(told.encode("ascii"), np.uint8), **arrays)  # pyright: ignore[reportArgumentType]
    return stream.getvalue()


def unpack_row(packed: bytes) -> Row:
    """Return what ``pack_row`` was given, bit for bit."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in _ARRAYS if name in stored}
        return Row(**parse_json(stored["told"].tobytes().decode("ascii")), **arrays)
