"""A function applied to many jobs in several processes, which end with the process that started them."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from masktools.errors import MasktoolsError, ParameterError

__all__ = ["unordered"]

Job = TypeVar("Job")
Result = TypeVar("Result")


def unordered(work: Callable[[Job], Result], jobs: Iterable[Job], n_workers: int = 1) -> Iterator[Result]:
    """Yield the result of each job, as they become ready; with one worker in this process and in order.

    Each process is given ``work`` once, and then job after job. One whose starter was killed finishes its job, finds
    nobody to report to, and ends.

    Raises:
        ParameterError: Fewer than one worker.
        MasktoolsError: A process died. What ``work`` itself raises is raised here.
    """
    if n_workers < 1:
        raise ParameterError(f"n_workers must be at least 1, got {n_workers}")
    if n_workers == 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of running threads
    waiting = iter(jobs)
    busy: dict[Connection, BaseProcess] = {}
    try:
        for _, job in zip(range(n_workers), waiting, strict=False):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(work, theirs), daemon=True)
            process.start()
            theirs.close()
            busy[ours] = process
            ours.send(job)
        while busy:
            for ready in wait(list(busy)):
                yield _received(ready)  # type: ignore[arg-type]
                for job in waiting:
                    ready.send(job)  # type: ignore[union-attr]
                    break
                else:
                    _dismiss(ready, busy)  # type: ignore[arg-type]
    finally:
        for process in busy.values():
            process.terminate()


def _received(connection: Connection) -> object:
    try:
        result, error = connection.recv()
    except EOFError as end:
        raise MasktoolsError(
            "a worker process died, perhaps for want of memory: run it again with fewer workers, what is done is kept"
        ) from end
    if error is not None:
        raise error
    return result


def _dismiss(connection: Connection, busy: dict[Connection, BaseProcess]) -> None:
    connection.close()
    busy.pop(connection).join()


def _serve(work: Callable[[Job], Result], connection: Connection) -> None:
    """Do one job after the other until nobody asks any more."""
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        while True:
            job = connection.recv()
            try:
                answer = work(job), None
            except MasktoolsError as error:
                answer = None, error
            except Exception as error:
                answer = None, MasktoolsError(f"a worker failed with {type(error).__name__}: {error}")
            connection.send(answer)
