"""Batches of files, in order or in parallel: outputs, finished tasks, and failures with their reasons."""

from masktools.batch.tasks import Journal, Journals, Outcome, Task, outputs_of, plan_tasks, run_tasks

__all__ = ["Journal", "Journals", "Outcome", "Task", "outputs_of", "plan_tasks", "run_tasks"]
