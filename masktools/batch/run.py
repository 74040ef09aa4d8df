"""Tasks are run one after the other or by several processes; one that fails does not stop the others."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from masktools.batch.outputs import Task
from masktools.errors import MasktoolsError
from masktools.processes import until_broken

__all__ = ["Outcome", "run_tasks"]

Work = Callable[[Task], dict[str, Any]]
Begin = Callable[[Task], object]


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a report, or the reason why there is none."""

    task: Task
    report: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def run_tasks(tasks: Sequence[Task], work: Work, n_jobs: int = 1, begin: Begin | None = None) -> Iterator[Outcome]:
    """Yield what becomes of each task, as soon as it is known.

    With several jobs the order is that of completion, and ``work`` must be something that another process can be
    given. A process that dies (killed, out of memory) fails its own task only: those beside it are begun anew.

    Args:
        tasks: what is to be done.
        work: does one task and returns its report; a MasktoolsError or OSError that it raises is the task's failure.
        n_jobs: processes.
        begin: called with each task before it is begun.
    """
    begin = begin or _unseen
    if n_jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            begin(task)
            yield _outcome(work, task)
        return
    waiting, done = list(tasks), functools.partial(_outcome, work)
    while waiting:
        interrupted: list[Task] = []
        for _, outcome in until_broken(waiting, done, n_jobs, interrupted, begin):
            yield outcome
        for task in interrupted:  # one of them has brought its process down: each alone now
            broken: list[Task] = []
            for _, outcome in until_broken([task], done, 1, broken, begin):
                yield outcome
            if broken:
                yield Outcome(task, error=f"{task.source}: the process at work on it was killed: too little memory?")


def _unseen(task: Task) -> None:
    """Nobody watches."""


def _outcome(work: Work, task: Task) -> Outcome:
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
