"""Work shared among processes of this machine, which end with the one that started them."""

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
"""What is said of a thing at which a process died twice."""

_PATIENCE_S = 10.0  # for a process to clean up behind itself when the one that started it is gone

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
    """Yield what is made of each thing that waits, as soon as it is known, until none waits or a process dies.

    Args:
        waiting: what is to be done; what has been begun is taken from it, the first one first.
        work: does one thing; each process is given it once, and what it raises is raised here.
        n_jobs: processes.
        broken: given what was being done when a process died (killed, out of memory); the rest still waits.
        begin: called with each thing before a process is given it.
        n_ahead: things that are given out beyond those that processes are at, so that none of them waits for us.
    """
    running: dict[Future[Made], Given] = {}
    waiting.reverse()  # the end of a list is where it is cheap to take from
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
    """Yield what is made of each thing, as ``until_broken`` does; None for one at which a process died twice.

    Where a process dies, what was being done is begun anew, each thing alone: only the one that brings it down is lost.
    """
    waiting = list(things)
    while waiting:
        interrupted: list[Given] = []
        yield from until_broken(waiting, work, n_jobs, interrupted, begin, n_ahead)
        for one in interrupted:
            dead: list[Given] = []
            yield from until_broken([one], work, 1, dead, begin)
            yield from ((thing, None) for thing in dead)


_work: Callable[[Any], Any]  # of this process, which was given it once


def _do(one: Any) -> Any:
    return _work(one)


def _begin(work: Callable[[Any], Any]) -> None:
    """Keep what there is to do, and clean up on request or when the parent is gone; Ctrl-C is the parent's affair."""
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
