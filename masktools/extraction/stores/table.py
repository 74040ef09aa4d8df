"""Vectors of many recordings, one recording after the other: what every format is written from and read as."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from masktools.extraction.stores.meta import Meta

__all__ = ["ARRAYS", "Failure", "Layout", "Table", "blocks", "starts_of"]

ARRAYS = ("clips", "frames", "times_s", "tokens")
"""What there may be of a recording."""


@dataclass(frozen=True)
class Failure:
    """A recording that could not be embedded."""

    key: str
    error: str


@dataclass(frozen=True)
class Layout:
    """The shapes of what there is of every recording; None where there is nothing."""

    clip: tuple[int, ...] | None = None
    frame: tuple[int, ...] | None = None  # of one moment
    n_token_rows: int | None = None
    dtype: str = "float32"

    def has(self, name: str) -> bool:
        """Tell whether there is an array of a name."""
        given = {"clips": self.clip, "frames": self.frame, "times_s": self.frame, "tokens": self.n_token_rows}
        return given[name] is not None

    def item(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return the shape and the type of one entry of an array: of a clip, of a moment, of a column of tokens."""
        if name == "clips":
            return self.clip or (), np.dtype(self.dtype)
        if name == "frames":
            return self.frame or (), np.dtype(self.dtype)
        return ((), np.dtype(np.float64)) if name == "times_s" else ((self.n_token_rows or 0,), np.dtype(np.uint16))


@runtime_checkable
class Table(Protocol):
    """Vectors that are stored, in the order of their recordings; those that failed are not among them."""

    @property
    def meta(self) -> Meta:
        """What they are."""
        ...

    @property
    def layout(self) -> Layout:
        """What there is of each."""
        ...

    @property
    def durations_s(self) -> np.ndarray:
        """(n,) how long each recording is."""
        ...

    @property
    def n_moments(self) -> np.ndarray:
        """(n,) how many vectors over time each has."""
        ...

    @property
    def n_columns(self) -> np.ndarray:
        """(n,) how many columns of tokens each has."""
        ...

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        ...

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording: (1, ...) of clips, (m, ...) of the others."""
        ...


def starts_of(counts: np.ndarray) -> np.ndarray:
    """Return where each recording begins in arrays over time, and where the last one ends.

    >>> starts_of(np.array([2, 3])).tolist()
    [0, 2, 5]
    """
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def blocks(pieces: Iterable[np.ndarray], n_bytes: int = 1 << 24) -> Iterator[np.ndarray]:
    """Yield pieces that follow each other as fewer and larger ones of about n_bytes."""
    held: list[np.ndarray] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += piece.nbytes
        if size >= n_bytes:
            yield np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)
