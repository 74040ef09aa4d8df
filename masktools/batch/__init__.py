"""Many files, one after the other or several at once: what goes where, what is done already, what failed and why."""

from masktools.batch.journal import Journal, Journals
from masktools.batch.outputs import Task, outputs_of, plan_tasks
from masktools.batch.run import Outcome, run_tasks

__all__ = ["Journal", "Journals", "Outcome", "Task", "outputs_of", "plan_tasks", "run_tasks"]
