"""Many files, one after the other or several at once: what goes where, what is done already, what failed and why."""

from masktools.batch.journal import Journal
from masktools.batch.outputs import Task, clear_parts, plan_tasks
from masktools.batch.run import Outcome, run_tasks

__all__ = ["Journal", "Outcome", "Task", "clear_parts", "plan_tasks", "run_tasks"]
