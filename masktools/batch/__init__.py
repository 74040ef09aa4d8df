"""Many files, one after the other or several at once: what goes where, what is done already, what failed and why."""

from masktools.batch.tasks import Journal, Journals, Outcome, Task, outputs_of, plan_tasks, run_tasks

__all__ = ["Journal", "Journals", "Outcome", "Task", "outputs_of", "plan_tasks", "run_tasks"]
