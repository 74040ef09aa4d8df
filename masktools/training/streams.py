"""Endless training data that is shared out and taken up again exactly: sample i depends on the seed and on i alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from masktools.arguments import checked_real
from masktools.errors import ParameterError

__all__ = ["FULL_BAND_HZ", "Batch", "Stream", "StreamLoader", "drawn_index", "shared_indices"]

FULL_BAND_HZ = 10_000.0  # what a recording must reach to teach what upper rows hold

Batch = dict[str, Any]  # "wave": (b, t) float, "caption": b texts; or "tokens", "condition", "caption"


def shared_indices(
    start: int, rank: int = 0, n_ranks: int = 1, worker: int = 0, n_workers: int = 1, batch_size: int = 1
) -> Iterator[int]:
    """Yield the samples of one worker of one process, for ever.

    The workers of a process take turns at its batches, as ``DataLoader`` collects them, and the processes divide each
    step: whatever their numbers, a step sees the same samples as one process with their batches together.

    >>> from itertools import islice
    >>> list(islice(shared_indices(100, rank=1, n_ranks=2, worker=0, n_workers=2, batch_size=2), 4))
    [101, 103, 109, 111]
    """
    batch = worker
    while True:
        for place in range(batch * batch_size, (batch + 1) * batch_size):
            yield start + place * n_ranks + rank
        batch += n_workers


def weighted_by_kind(
    weights: np.ndarray, kinds: Sequence[str], kind_weights: Mapping[str, float] | None, where: str = "of those at hand"
) -> np.ndarray:
    """Return how often each recording is drawn, once some kinds are drawn more often, or never.

    Args:
        weights: (n,) of the recordings.
        kinds: of each.
        kind_weights: kind -> a number of 0 or more; 1 where a kind is not named.
        where: whose the recordings are, for errors.

    Raises:
        ParameterError: a weight that is negative or no number, or nothing that may be drawn.
    """
    named = {kind: checked_real(f"kind_weights of {kind!r}", weight) for kind, weight in (kind_weights or {}).items()}
    for kind, weight in named.items():
        if not 0 <= weight < np.inf:
            raise ParameterError(f"kind_weights must be finite and not negative, got {weight:g} for {kind!r}")
    weighted = weights * np.array([named.get(kind, 1.0) for kind in kinds])
    if not weighted.sum() > 0:
        raise ParameterError(f"kind_weights must leave some recording {where}, got {kind_weights}")
    return weighted


def drawn_index(cumulative: np.ndarray, rng: np.random.Generator) -> int:
    """Return an index drawn by its weight, given the running sum of the weights (n,)."""
    last = np.searchsorted(cumulative, cumulative[-1])  # the product below may be rounded up to the whole sum
    return int(min(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"), last))


class Stream(IterableDataset[Batch], ABC):
    """Endless samples of which each is a pure function of the seed and of its number.

    Iterating yields those from the sample that ``seek`` set on, or the share of them that ``share_out`` set, each with
    its number as ``index``.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self._start = 0
        self._rank, self._n_ranks, self._batch_size = 0, 1, 1

    @abstractmethod
    def sample(self, index: int) -> Batch:
        """Return sample ``index``, the same at each call."""

    def seek(self, sample_index: int) -> None:
        """Let the next iteration begin at a sample, counted over all processes.

        Raises:
            ParameterError: A negative number.
        """
        if sample_index < 0:
            raise ParameterError(f"sample_index must not be negative, got {sample_index}")
        self._start = sample_index

    def share_out(self, rank: int, n_ranks: int, batch_size: int) -> None:
        """Yield the share of one process only, and let its workers take turns at batches of a size.

        Raises:
            ParameterError: A rank that is not below their number, or an empty batch.
        """
        if not 0 <= rank < n_ranks:
            raise ParameterError(f"0 <= rank < n_ranks must hold, got {rank} and {n_ranks}")
        if batch_size < 1:
            raise ParameterError(f"batch_size must be at least 1, got {batch_size}")
        self._rank, self._n_ranks, self._batch_size = rank, n_ranks, batch_size

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        own = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in shared_indices(self._start, self._rank, self._n_ranks, *own, self._batch_size):
            yield self.sample(index) | {"index": index}


class StreamLoader(DataLoader[Batch]):
    """Batches of a stream; each iteration begins where training stands by then."""

    def __init__(
        self, stream: Stream, batch_size: int, n_workers: int = 0, position: Callable[[], int] | None = None
    ) -> None:
        """Load a stream; ``position`` tells at which sample an iteration begins, without it where ``seek`` put it."""
        super().__init__(stream, batch_size, num_workers=n_workers)
        self._stream, self._position = stream, position

    def __iter__(self) -> Any:
        if self._position is not None:
            self._stream.seek(self._position())
        return super().__iter__()
