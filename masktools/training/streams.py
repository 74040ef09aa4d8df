"""Endless streams of training samples, shared among workers and resumed exactly; and resumable builds of files."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from masktools.core.arguments import check_least, checked_real
from masktools.core.errors import ParameterError

FULL_BAND_HZ = 10_000.0  # least upper limit of the band of recordings for training the upper rows

Item = TypeVar("Item")
Batch = dict[str, Any]  # "wave": (b, t) float, "caption": b texts; or "tokens", "condition", "caption"


def shared_indices(
    start: int, rank: int = 0, n_ranks: int = 1, worker: int = 0, n_workers: int = 1, batch_size: int = 1
) -> Iterator[int]:
    """Yield the indices of the samples of one worker of one process, endlessly.

    The workers of a process alternate in its batches, as ``DataLoader`` collects them, and the processes divide each
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
    """Return the weights of recordings multiplied by those of their kinds.

    Args:
        weights: weights (n,) of the recordings.
        kinds: kind of each recording.
        kind_weights: kind -> a number of 0 or more; 1 where a kind is missing.
        where: name of the collection, for errors.

    Raises:
        ParameterError: a weight that is negative or no number, or all weights are zero.
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
    """Return a random index, given the cumulative sum of the weights (n,)."""
    last = np.searchsorted(cumulative, cumulative[-1])  # the product below may be rounded up to the whole sum
    return int(min(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"), last))


def assembled(
    silence: np.ndarray,
    first: np.ndarray,
    following: Callable[[], np.ndarray],
    pauses: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return a clip of consecutive short recordings, with short pauses, from a random position on.

    Args:
        silence: (n, ...) array for the clip, filled with silence; it is written to.
        first: (m, ...) the first recording.
        following: function that returns another recording.
        pauses: least and greatest length of a pause, in entries of the first axis.
        rng: random generator of the pauses and the start.
    """
    piece, position = first, 0
    while position < len(silence):
        piece = piece[: len(silence) - position]
        silence[position : position + len(piece)] = piece
        position += len(piece) + pauses[0] + int(rng.integers(pauses[1] - pauses[0] + 1))
        piece = following()
    return np.roll(silence, int(rng.integers(len(silence))), axis=0)


class Stream(IterableDataset[Batch], ABC):
    """Endless samples, each a pure function of the seed and of its index.

    Iteration starts at the sample set by ``seek``, and yields the share set by ``share_out``, each sample with
    its index as ``index``.
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
        """Set the first sample of the next iteration, counted over all processes.

        Raises:
            ParameterError: a negative number.
        """
        check_least(0, sample_index=sample_index)
        self._start = sample_index

    def share_out(self, rank: int, n_ranks: int, batch_size: int) -> None:
        """Yield the share of one process only, with its workers alternating in batches of this size.

        Raises:
            ParameterError: a rank that is not below their number, or an empty batch.
        """
        if not 0 <= rank < n_ranks:
            raise ParameterError(f"0 <= rank < n_ranks must hold, got {rank} and {n_ranks}")
        check_least(1, batch_size=batch_size)
        self._rank, self._n_ranks, self._batch_size = rank, n_ranks, batch_size

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        own = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in shared_indices(self._start, self._rank, self._n_ranks, *own, self._batch_size):
            yield self.sample(index) | {"index": index}


class RecordingStream(Stream):
    """Random clips of recordings, which are drawn by their weight times the weight of their kind.

    A recording shorter than a clip is followed by similar ones, with short pauses between.

    Args:
        seed: random seed of all that is drawn.
        weights: weights (n,) of the recordings.
        kinds: kind of each recording.
        alike: group of each recording, within which recordings may follow each other.
        kind_weights: kind -> weight of its recordings; 1 where it is missing.
        where: name of the collection, for errors.
    """

    pauses: tuple[int, int]  # least and greatest, in the unit of ``read``

    def __init__(
        self,
        seed: int,
        weights: np.ndarray,
        kinds: Sequence[str],
        alike: Sequence[Hashable],
        kind_weights: Mapping[str, float] | None = None,
        where: str = "of those at hand",
    ) -> None:
        super().__init__(seed)
        self._key_of, self._alike = alike, defaultdict(list)
        for index, key in enumerate(alike):
            self._alike[key].append(index)
        self._cumulative = np.cumsum(weighted_by_kind(weights, kinds, kind_weights, where))

    @abstractmethod
    def length(self, index: int) -> int:
        """Return the length of a recording."""

    @abstractmethod
    def read(self, index: int, start: int, n: int) -> np.ndarray:
        """Return entries [start, start + n) of a recording, cropped to its length, (n, ...)."""

    @abstractmethod
    def silence(self, n: int) -> np.ndarray:
        """Return a silent clip, to be written to."""

    def drawn(self, rng: np.random.Generator) -> int:
        """Return the index of the next recording."""
        return drawn_index(self._cumulative, rng)

    def clip(self, index: int, n: int, rng: np.random.Generator, step: int = 1) -> tuple[np.ndarray, int]:
        """Return a clip of a recording, (n, ...), and its start in the recording, a multiple of ``step``."""
        length = self.length(index)
        if length >= n:
            start = int(rng.integers(length - n + 1))
            start -= start % step
            return self.read(index, start, n), start
        alike = self._alike[self._key_of[index]]

        def following() -> np.ndarray:
            return self.read(alike[int(rng.integers(len(alike)))], 0, n)

        return assembled(self.silence(n), self.read(index, 0, length), following, self.pauses, rng), 0


class StreamLoader(DataLoader[Batch]):
    """Batches of a stream; each iteration starts at the current sample of the training."""

    def __init__(
        self, stream: Stream, batch_size: int, n_workers: int = 0, position: Callable[[], int] | None = None
    ) -> None:
        """Load a stream; ``position`` returns the first sample of an iteration, by default that set by ``seek``."""
        super().__init__(stream, batch_size, num_workers=n_workers)
        self._stream, self._position = stream, position

    def __iter__(self) -> Any:
        if self._position is not None:
            self._stream.seek(self._position())
        return super().__iter__()


def spread_over(items: Sequence[Item], n: int) -> Sequence[Item]:
    """Return up to n of some items, evenly spread, the same at each call.

    >>> spread_over(range(10), 3)
    range(0, 9, 3)
    """
    return items[:: max(1, len(items) // n)][:n]


class StreamData(pl.LightningDataModule):
    """A data module that counts the samples of the training, and stores the count in checkpoints.

    An epoch goes on where the one before ended. A resumed run sees the same samples as an uninterrupted one, also with
    another number of processes or another batch size.
    """

    def __init__(self) -> None:
        super().__init__()
        self._resumed_at: int | None = None
        self._loader_position: Any = None

    def stream_loader(self, stream: Stream, batch_size: int, n_workers: int = 0) -> StreamLoader:
        """Return the batches of this process, from the current sample of the training on."""
        trainer = self.trainer
        rank, n_ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        stream.share_out(rank, n_ranks, batch_size)
        together, before = batch_size * n_ranks, self._n_batches()
        start = before * together if self._resumed_at is None else self._resumed_at
        self._resumed_at = None
        self._loader_position = lambda: start + (self._n_batches() - before) * together
        return StreamLoader(stream, batch_size, n_workers, self._loader_position)

    def _n_batches(self) -> int:
        """Return the number of batches in each process, in this run and those it resumes."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return progress.processed

    def state_dict(self) -> dict[str, Any]:
        """Return the index of the next sample, if there are any."""
        return {} if self._loader_position is None else {"next_sample": self._loader_position()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume at the sample of a checkpoint."""
        self._resumed_at = state_dict["next_sample"]
