"""Tasks are run one after the other or by several processes; one that fails does not stop the others."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masktools.batch.outputs import Task
from masktools.errors import MasktoolsError

__all__ = ["Outcome", "run_tasks"]

Work = Callable[[Task], dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a report, or the reason why there is none."""

    task: Task
    report: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def run_tasks(
    tasks: Sequence[Task], work: Work, n_jobs: int = 1, begin: Callable[[Path], object] | None = None
) -> Iterator[Outcome]:
    """Yield what becomes of each task, as soon as it is known.

    With several jobs the order is that of completion, and ``work`` must be something that another process can be
    given. A process that dies (killed, out of memory) fails its own task only: those beside it are begun anew.

    Args:
        tasks: what is to be done.
        work: does one task and returns its report; a MasktoolsError or OSError that it raises is the task's failure.
        n_jobs: processes.
        begin: called with each recording before its task is begun.
    """
    begin = begin or _unseen
    if n_jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            begin(task.source)
            yield _outcome(task, work)
        return
    waiting = list(tasks)
    while waiting:
        interrupted: list[Task] = []
        yield from _in_processes(waiting, work, n_jobs, interrupted, begin)
        for task in interrupted:  # one of them has brought its process down: each alone now
            broken: list[Task] = []
            yield from _in_processes([task], work, 1, broken, begin)
            if broken:
                yield Outcome(task, error=f"{task.source}: the process at work on it was killed: too little memory?")


def _in_processes(
    waiting: list[Task], work: Work, n_jobs: int, interrupted: list[Task], begin: Callable[[Path], object]
) -> Iterator[Outcome]:
    """Run tasks until none is left or a process dies: what was running then is ``interrupted``, the rest is waiting."""
    running: dict[Future[Outcome], Task] = {}
    with ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn"), _leave_when_asked) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < n_jobs:
                    task = waiting.pop(0)
                    begin(task.source)
                    running[pool.submit(_outcome, task, work)] = task
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = future.result()
                    del running[future]
                    yield outcome
        except BrokenProcessPool:
            interrupted.extend(running.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _unseen(path: Path) -> None:
    """Nobody watches."""


def _outcome(task: Task, work: Work) -> Outcome:
    try:
        return Outcome(task, work(task))
    except MasktoolsError as error:
        return Outcome(task, error=str(error))
    except OSError as error:
        return Outcome(task, error=f"{task.source}: {error.strerror or error}")
    except Exception as error:  # a fault of ours; the recordings after it shall not pay for it
        kind = type(error).__name__
        if kind == "OutOfMemoryError":  # torch's own, which is not imported here
            return Outcome(
                task, error=f"{task.source}: the device is out of memory: try --batch-size 1 or --device cpu"
            )
        return Outcome(task, error=f"{task.source}: internal error ({kind}: {error})")


def _leave_when_asked() -> None:
    """Let a process that is told to end clean up behind itself, and leave Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
