"""Chunks of recordings shared among processes of this machine; one that dies takes no other recordings along."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from masktools.extraction.rows import Row
from masktools.extraction.sources import Item

__all__ = ["in_processes"]

Work = Callable[[Sequence[Item]], list[Row]]


def in_processes(
    chunks: Sequence[Sequence[Item]], work: Work, n_jobs: int
) -> Generator[tuple[list[Row], bool], None, None]:
    """Yield the rows of each chunk as soon as they are known, and that they are whole.

    Where a process dies (killed, out of memory), the chunks that were being computed are begun anew, each alone, and
    where it dies again, recording by recording: the one that kills it has a row that says so.
    """
    waiting = list(reversed(chunks))
    while waiting:
        broken: list[Sequence[Item]] = []
        yield from _until_broken(waiting, work, n_jobs, broken)
        for chunk in broken:
            again: list[Sequence[Item]] = []
            yield from _until_broken([chunk], work, 1, again)
            for item in (item for rest in again for item in rest):
                dead: list[Sequence[Item]] = []
                yield from _until_broken([[item]], work, 1, dead)
                if dead:
                    why = f"{item.location}: the process at work on it was killed: too little memory?"
                    yield [Row(item.key, error=why)], True


def _until_broken(
    waiting: list[Sequence[Item]], work: Work, n_jobs: int, broken: list[Sequence[Item]]
) -> Generator[tuple[list[Row], bool], None, None]:
    """Yield rows until nothing waits or a process dies: what was being computed then is ``broken``."""
    running: dict[Future[list[Row]], Sequence[Item]] = {}
    with ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn"), _leave_when_asked) as pool:
        try:
            while waiting or running:
                while waiting and len(running) <= n_jobs:  # one more than there are processes: none waits for us
                    running[pool.submit(work, waiting[-1])] = waiting[-1]
                    waiting.pop()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    rows = future.result()
                    del running[future]
                    yield rows, True
        except BrokenProcessPool:
            broken.extend(running.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _leave_when_asked() -> None:
    """Leave Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
