"""Chunks of recordings shared among processes of this machine; one that dies takes no other recordings along."""

from collections.abc import Callable, Generator, Sequence

from masktools.extraction.rows import Row
from masktools.extraction.sources import Item
from masktools.processes import until_broken

__all__ = ["in_processes"]

Work = Callable[[Sequence[Item]], list[Row]]


def in_processes(
    chunks: Sequence[Sequence[Item]], work: Work, n_jobs: int
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
    waiting: list[Sequence[Item]], work: Work, n_jobs: int, broken: list[Sequence[Item]]
) -> Generator[tuple[list[Row], bool], None, None]:
    for _, rows in until_broken(waiting, work, n_jobs, broken, n_ahead=1):
        yield rows, True
