"""The work of a batch of restorations, as a thing that other processes can be given."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masktools.batch.outputs import Task, compared_in
from masktools.batch.restoring import Restoring, restore_file
from masktools.model import Model, load
from masktools.pipeline import Progress
from masktools.review import compare, repairs_of, write_page, write_picture

__all__ = ["Restorer", "restorer"]


@dataclass(frozen=True)
class Restorer:
    """Restores one recording after the other with one model, which each process loads once."""

    settings: Restoring
    model_options: tuple[tuple[str, Any], ...]
    dry_run: bool = False
    comparison: str = "none"  # png, html or none
    progress: Progress | None = None

    def __call__(self, task: Task) -> dict[str, Any]:
        """Restore a recording and return its report."""
        report = restore_file(
            task.source,
            task.target,
            self.settings,
            functools.partial(_loaded, self.model_options),
            dry_run=self.dry_run,
            progress=self.progress,
        )
        if self.comparison != "none" and not self.dry_run:
            report["comparison"] = str(_compared(task, report, self.comparison))
        return report


def restorer(
    settings: Restoring,
    model_options: Mapping[str, Any],
    dry_run: bool = False,
    comparison: str = "none",
    progress: Progress | None = None,
) -> Restorer:
    """Return what restores recordings with the model that ``masktools.load`` gives for these options."""
    return Restorer(settings, tuple(sorted(model_options.items())), dry_run, comparison, progress)


@functools.lru_cache(maxsize=1)
def _loaded(model_options: tuple[tuple[str, Any], ...]) -> Model:
    return load(**dict(model_options))


def _compared(task: Task, report: Mapping[str, Any], kind: str) -> Path:
    """Write a picture or a page beside a result that compares it with its source, and return its place."""
    path = compared_in(task.target, kind)
    extended = report["cutoff_hz"] if "extension" in report else None
    comparison = compare(task.source, task.target, repairs=repairs_of(report.get("gaps", ())), cutoff_hz=extended)
    (write_page if kind == "html" else write_picture)(comparison, path)
    return path
