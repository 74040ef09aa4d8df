"""Extraction on this machine: recordings are decoded while those before them are computed, in one process or several.

Recordings are taken by the chunk, as they stand in the list. The short ones of a chunk are computed side by side,
always the same, so that an extraction that was killed and gone on with gives what an undisturbed one does, bit for bit.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Protocol, runtime_checkable

from masktools.core.errors import AudioError
from masktools.core.processes import until_broken
from masktools.extraction.items import Item, Row
from masktools.extraction.worker import Prepared, ahead

Compute = Callable[[Sequence[Item]], list[Row]]


def in_processes(
    chunks: Sequence[Sequence[Item]], work: Compute, n_jobs: int
) -> Generator[tuple[list[Row], bool], None, None]:
    """Yield the rows of each chunk as soon as they are known, and that they are whole.

    Where a process dies (killed, out of memory), the chunks that were being computed are begun anew, each alone, and
    where it dies again, recording by recording: the one that kills it has a row that says so.
    """
    waiting = list(chunks)
    while waiting:
        broken: list[Sequence[Item]] = []
        yield from _rows(waiting, work, n_jobs, broken)
        for chunk in broken:
            again: list[Sequence[Item]] = []
            yield from _rows([chunk], work, 1, again)
            for item in (item for rest in again for item in rest):
                dead: list[Sequence[Item]] = []
                yield from _rows([[item]], work, 1, dead)
                if dead:
                    why = f"{item.location}: the process at work on it was killed: too little memory?"
                    yield [Row(item.key, error=why)], True


def _rows(
    waiting: list[Sequence[Item]], work: Compute, n_jobs: int, broken: list[Sequence[Item]]
) -> Generator[tuple[list[Row], bool], None, None]:
    for _, rows in until_broken(waiting, work, n_jobs, broken, n_ahead=1):
        yield rows, True


CHUNK = 32
"""Recordings of a chunk."""

_PAUSE_S, _HELD_BYTES = 30.0, 1 << 26  # between two parts of a chunk; rows that are held at once

Progress = Callable[[int, int], object]
"""Called with (recordings done, recordings in all)."""


@runtime_checkable
class Work(Protocol):
    """What embeds recordings: a ``Worker``."""

    @property
    def n_decoders(self) -> int:
        """How many threads decode recordings."""
        ...

    def prepare(self, item: Item) -> Prepared:
        """Return an item decoded."""
        ...

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        """Return a row for each prepared item."""
        ...

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return a row for each item."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where rows go: a ``Store``."""

    def finished(self) -> set[str]:
        """Return the recordings that need no more work."""
        ...

    def add(self, rows: Sequence[Row]) -> None:
        """Store some recordings."""
        ...


def run_local(
    items: Sequence[Item],
    worker: Work,
    store: Sink,
    progress: Progress | None = None,
    *,
    n_jobs: int = 1,
    fail_fast: bool = False,
) -> None:
    """Embed what is not finished yet, and store it.

    Args:
        items: all recordings, in order.
        worker: what embeds them; with several jobs, something that another process can be given.
        store: where the rows go.
        progress: called with (recordings done, recordings in all), those of earlier runs among them.
        n_jobs: processes.
        fail_fast: whether the first recording that cannot be embedded ends the run.

    Raises:
        AudioError: with ``fail_fast``: what is wrong with the first recording that cannot be embedded.
    """
    finished = store.finished()
    chunks = [left for chunk in chunks_of(items) if (left := [item for item in chunk if item.key not in finished])]
    rows = _here(chunks, worker) if n_jobs == 1 else in_processes(chunks, worker, n_jobs)
    store_rows(rows, store, len(items) - sum(map(len, chunks)), len(items), progress, fail_fast)


def store_rows(
    rows: Generator[tuple[list[Row], bool], None, None],
    store: Sink,
    done: int,
    total: int,
    progress: Progress | None,
    fail_fast: bool,
) -> None:
    """Store rows as they come, at the end of every chunk at least, and tell how far they have come.

    Args:
        rows: some rows, and whether they end a chunk.
        store: where they go.
        done: recordings that were finished before.
        total: recordings in all.
        progress: as for ``run_local``.
        fail_fast: as for ``run_local``.

    Raises:
        AudioError: with ``fail_fast``: what is wrong with the first recording that cannot be embedded.
    """
    held: list[Row] = []
    stored_at = time.monotonic()
    if progress is not None:
        progress(done, total)
    try:
        for new, is_whole in rows:
            bad = next((row for row in new if row.error is not None), None) if fail_fast else None
            held += [row for row in new if row.error is None] if bad else new
            done += len(new)
            if bad is not None:
                raise AudioError(bad.error or "")
            n_bytes = sum(array.nbytes for row in held for array in row.arrays.values())
            if is_whole or time.monotonic() - stored_at > _PAUSE_S or n_bytes > _HELD_BYTES:
                store.add(held)
                held, stored_at = [], time.monotonic()
            if progress is not None:
                progress(done, total)
    finally:
        rows.close()
        if held:
            store.add(held)


def chunks_of(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the list in chunks."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def _here(chunks: Sequence[Sequence[Item]], worker: Work) -> Generator[tuple[list[Row], bool], None, None]:
    """Yield rows as they are computed, and whether they end a chunk."""
    items = (item for chunk in chunks for item in chunk)
    with closing(ahead(worker.prepare, items, worker.n_decoders)) as every:
        for chunk in chunks:
            short: list[Prepared] = []
            for prepared in islice(every, len(chunk)):
                if prepared.is_short:
                    short.append(prepared)
                else:
                    yield worker.embed([prepared]), False
            yield worker.embed(short), True
