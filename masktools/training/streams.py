"""Endless streams of training samples, shared among workers and resumed exactly; and resumable builds of files.

A part of a build is written under another name and renamed when it is complete; last comes its note, a small JSON file
that marks it as done. Finished parts are appended in order to the final files, and then removed, so that no more than
their own size is needed. The result depends on the jobs alone.
"""

import json
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Protocol, TypeVar

import lightning.pytorch as pl
import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from masktools.core.arguments import check_least, checked_real
from masktools.core.configs import read_json
from masktools.core.errors import MasktoolsError, ParameterError
from masktools.core.processes import until_broken
from masktools.io import replacing

FULL_BAND_HZ = 10_000.0  # least upper limit of the band of recordings for training the upper rows

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


Note = dict[str, Any]  # metadata of a part, in JSON types
Progress = Callable[[int, int], None]  # called with (recordings done, recordings in total)
Item = TypeVar("Item")
_MAX_PARTS = 4096
_MIN_ITEMS = 8  # least size of a part, to limit the number of files


class PartWork(Protocol):
    """A function that computes a part: it writes files of the given names, and returns the part's note."""

    def __call__(self, job: Any, outputs: Mapping[str, Path]) -> Note:
        """Write a part."""
        ...


def chunked(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Return the items in parts of at least 8, at most 4096 parts.

    >>> [len(part) for part in chunked(range(20))]
    [8, 8, 4]
    """
    size = max(_MIN_ITEMS, -(-len(items) // _MAX_PARTS))
    return [items[start : start + size] for start in range(0, len(items), size)]


def is_built(index: Path, key: str, what: str) -> bool:
    """Tell whether a folder holds a complete build, by its index, which is written last.

    Raises:
        ParameterError: it has another key: other recordings or settings.
    """
    if not index.is_file():
        return False
    if read_json(index).get("key") != key:
        raise ParameterError(f"{index.parent} holds {what} of other recordings or settings: choose another folder")
    return True


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(content), encoding="utf-8")


def spread_over(items: Sequence[Item], n: int) -> Sequence[Item]:
    """Return up to n of some items, evenly spread, the same at each call.

    >>> spread_over(range(10), 3)
    range(0, 9, 3)
    """
    return items[:: max(1, len(items) // n)][:n]


class ResumableBuild:
    """A build in progress in a folder; ``names`` are the final files that parts are appended to."""

    def __init__(self, folder: Path, key: str, names: Sequence[str] = ()) -> None:
        """Open the folder for a build with this ``key``.

        Raises:
            ParameterError: the folder holds another unfinished build, or parts of this one were removed.
        """
        self.folder, self.names = folder, tuple(names)
        self.parts = folder / "parts"
        self.parts.mkdir(parents=True, exist_ok=True)
        of = self.parts / "key.txt"
        if not of.is_file():
            with replacing(of) as part:
                part.write_text(key, encoding="utf-8")
        if of.read_text(encoding="utf-8") != key:
            raise ParameterError(
                f"{folder} holds the beginning of another build, of other recordings or settings: "
                "remove it, or choose another folder"
            )
        self._appended = {name: self._recovered(name) for name in self.names}

    def _note(self, number: int) -> Path:
        return self.parts / f"{number:06d}.json"

    def _part(self, number: int, name: str) -> Path:
        return self.parts / f"{number:06d}.{name}"

    def _read(self, number: int) -> Note:
        return read_json(self._note(number))

    def _recovered(self, name: str) -> int:
        """Return the number of parts in a file, after removing one that was appended only in part."""
        number = n_bytes = 0
        while self._note(number).is_file() and not self._part(number, name).is_file():
            n_bytes += self._read(number)["n_bytes"][name]
            number += 1
        path = self.folder / name
        path.touch()
        if path.stat().st_size < n_bytes:
            raise ParameterError(f"{path} lacks parts that were finished: remove {self.folder} and start again")
        os.truncate(path, n_bytes)
        return number

    def run(
        self, jobs: Sequence[Sized], work: PartWork, n_workers: int = 1, progress: Progress | None = None
    ) -> list[Note]:
        """Compute the missing parts, and return the notes of all in the order of their jobs."""
        total = sum(map(len, jobs))
        missing = [number for number in range(len(jobs)) if not self._note(number).is_file()]
        done = total - sum(len(jobs[number]) for number in missing)
        if progress is not None and done:
            progress(done, total)
        self._append(len(jobs))
        writer = _Writer(work, self.parts, self.names)
        for number in unordered(writer, ((number, jobs[number]) for number in missing), n_workers):
            done += len(jobs[number])
            self._append(len(jobs))
            if progress is not None:
                progress(done, total)
        return [self._read(number)["note"] for number in range(len(jobs))]

    def _append(self, n_parts: int) -> None:
        for name in self.names:
            number = self._appended[name]
            with (self.folder / name).open("ab") as whole:
                while number < n_parts and self._note(number).is_file():
                    with self._part(number, name).open("rb") as part:
                        shutil.copyfileobj(part, whole, 1 << 20)
                    whole.flush()
                    self._part(number, name).unlink()
                    number += 1
            self._appended[name] = number

    def close(self) -> None:
        """Remove the parts: to be called when the result is complete and marked so."""
        shutil.rmtree(self.parts)


class _Writer:
    """Writes numbered parts, in any process."""

    def __init__(self, work: PartWork, folder: Path, names: Sequence[str]) -> None:
        self.work, self.folder, self.names = work, folder, names

    def __call__(self, numbered: tuple[int, Any]) -> int:
        number, job = numbered
        token = secrets.token_hex(4)
        outputs = {name: self.folder / f"{number:06d}.{name}.{token}.part" for name in self.names}
        note = self.work(job, outputs)
        n_bytes = {name: path.stat().st_size for name, path in outputs.items()}
        for name, path in outputs.items():
            os.replace(path, self.folder / f"{number:06d}.{name}")
        write_json(self.folder / f"{number:06d}.json", {"note": note, "n_bytes": n_bytes})
        return number


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


Job = TypeVar("Job")
Result = TypeVar("Result")


def unordered(work: Callable[[Job], Result], jobs: Iterable[Job], n_workers: int = 1) -> Iterator[Result]:
    """Yield the result of each job, in order of completion; with one worker in this process and in order.

    Each process receives ``work`` once, and then job after job; it ends with the process that started it.

    Raises:
        ParameterError: fewer than one worker.
        MasktoolsError: a process died. Errors of ``work`` itself are raised here.
    """
    check_least(1, n_workers=n_workers)
    if n_workers == 1:
        yield from map(work, jobs)
        return
    waiting, broken = list(jobs), list[Job]()
    try:
        for _, result in until_broken(waiting, work, min(n_workers, len(waiting) or 1), broken):
            yield result
    except MasktoolsError:
        raise
    except Exception as error:
        raise MasktoolsError(f"a worker failed with {type(error).__name__}: {error}") from error
    if broken:
        raise MasktoolsError(
            "a worker process died, perhaps for want of memory: run it again with fewer workers, what is done is kept"
        )
