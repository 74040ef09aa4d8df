"""Vectors of tokens -> one for each column -> one for the clip, a piece of the recording at a time."""

import numpy as np
from torch import Tensor

from masktools.arguments import checked_name

__all__ = ["POOLS", "ClipPool", "check_pool", "clip_factor", "frame_factor", "pool_rows"]

POOLS = ("mean", "rows", "max", "mean_std", "rows_std", "none")
"""How the vectors of tokens become one.

``mean`` averages over rows and time. ``rows`` keeps the rows apart, one after the other, lowest first, and averages
over time. ``max`` is the largest over rows and time. ``mean_std`` is the mean and the standard deviation over time of
the average over rows, ``rows_std`` those of each row. ``none`` keeps every token's own vector: there are frames
(m, rows, d) and no vector of the clip.
"""

_BY_ROW, _WITH_STD = ("rows", "rows_std"), ("mean_std", "rows_std")


def check_pool(pool: str) -> str:
    """Return the name of a pool.

    Raises:
        ParameterError: an unknown name.
    """
    return checked_name("pool", pool, POOLS)


def frame_factor(pool: str, n_rows: int) -> int:
    """Return how many times the model's width the vector of a moment is long (of a token, with ``none``)."""
    return n_rows if pool in _BY_ROW else 1


def clip_factor(pool: str, n_rows: int) -> int:
    """Return how many times the model's width the vector of a clip is long (0 with ``none``)."""
    return {"mean_std": 2, "rows_std": 2 * n_rows, "none": 0}.get(pool, frame_factor(pool, n_rows))


def pool_rows(states: Tensor, pool: str) -> Tensor:
    """Return the states (..., r, d) of columns as one vector for each, (..., d or r * d); with ``none`` as they are."""
    if pool == "none":
        return states
    if pool in _BY_ROW:
        return states.flatten(-2)
    return states.amax(dim=-2) if pool == "max" else states.mean(dim=-2)


class ClipPool:
    """The vectors of a clip's columns, met in any order and in pieces, as one. Sums are kept in double precision."""

    def __init__(self, pool: str) -> None:
        self.pool = check_pool(pool)
        self._n = 0
        self._sum: np.ndarray | None = None  # (l, d), or the largest so far
        self._squares: np.ndarray | None = None

    def add(self, columns: np.ndarray) -> None:
        """Take in the vectors (l, w, d) of some columns."""
        self._n += columns.shape[1]
        if self.pool == "max":
            largest = columns.max(axis=1)
            self._sum = largest if self._sum is None else np.maximum(self._sum, largest)
            return
        total = columns.sum(axis=1, dtype=np.float64)
        self._sum = total if self._sum is None else self._sum + total
        if self.pool in _WITH_STD:
            squares = np.square(columns, dtype=np.float64).sum(axis=1)
            self._squares = squares if self._squares is None else self._squares + squares

    def vector(self) -> np.ndarray | None:
        """Return the vectors (l, d) of what was taken in, float32; None where nothing is pooled."""
        if self.pool == "none" or self._sum is None:
            return None
        if self.pool == "max":
            return self._sum.astype(np.float32)
        mean = self._sum / self._n
        if self._squares is None:
            return mean.astype(np.float32)
        variance = np.maximum(self._squares / self._n - np.square(mean), 0.0)
        return np.concatenate([mean, np.sqrt(variance)], axis=-1).astype(np.float32)
