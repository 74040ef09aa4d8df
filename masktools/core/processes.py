"""Tasks shared among processes of this machine, which end with their parent process."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

KILLED = "the process at work on it was killed: too little memory?"
"""Error text for a task whose process died twice."""

_PATIENCE_S = 10.0  # seconds for a process to clean up after its parent has ended

Given = TypeVar("Given")
Made = TypeVar("Made")


def until_broken(
    waiting: list[Given],
    work: Callable[[Given], Made],
    n_jobs: int,
    broken: list[Given],
    begin: Callable[[Given], object] | None = None,
    n_ahead: int = 0,
) -> Iterator[tuple[Given, Made]]:
    """Yield the results of tasks as they come, until all are done or a process dies.

    Args:
        waiting: tasks; those that are started are removed from it, the first one first.
        work: function of one task; it is sent to each process once, and its errors are raised here.
        n_jobs: number of processes.
        broken: list that receives the running tasks when a process dies (killed, out of memory); the rest still waits.
        begin: called with each task before a process gets it.
        n_ahead: tasks that are queued in addition to the running ones, so that no process waits for the parent.
    """
    running: dict[Future[Made], Given] = {}
    waiting.reverse()  # removing from the end of a list is cheap
    with ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn"), _begin, (work,)) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < n_jobs + n_ahead:
                    one = waiting.pop()
                    if begin is not None:
                        begin(one)
                    running[pool.submit(_do, one)] = one
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    made = future.result()
                    yield running.pop(future), made
        except BrokenProcessPool:
            broken.extend(running.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            waiting.reverse()


def in_processes(
    things: Iterable[Given],
    work: Callable[[Given], Made],
    n_jobs: int,
    begin: Callable[[Given], object] | None = None,
    n_ahead: int = 0,
) -> Iterator[tuple[Given, Made | None]]:
    """Yield the results of tasks, as ``until_broken`` does; None for a task whose process died twice.

    Where a process dies, the running tasks are repeated one by one: only the one that kills its process is lost.
    """
    waiting = list(things)
    while waiting:
        interrupted: list[Given] = []
        yield from until_broken(waiting, work, n_jobs, interrupted, begin, n_ahead)
        for one in interrupted:
            dead: list[Given] = []
            yield from until_broken([one], work, 1, dead, begin)
            yield from ((thing, None) for thing in dead)


_work: Callable[[Any], Any]  # set once in each process


def _do(one: Any) -> Any:
    return _work(one)


def _begin(work: Callable[[Any], Any]) -> None:
    """Keep the function for tasks, and clean up on request or when the parent is gone; Ctrl-C is left to the parent."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_PATIENCE_S)
        os._exit(1)

    threading.Thread(target=follow, name="masktools-parent", daemon=True).start()
