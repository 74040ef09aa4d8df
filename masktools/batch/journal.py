"""What a batch has begun and finished, line by line in a file, so that one that was killed can go on.

Each folder of results has a file of its own, in which they stand by their names: the folder may be named otherwise, be
moved, or get folders inside it. A result has a line before it is written, and another when it is there.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from masktools.batch.outputs import Task
from masktools.io import JsonLines

__all__ = ["JOURNAL", "Journal", "Journals", "settings_key"]

JOURNAL = ".masktools-journal.jsonl"
"""Its name in the folder of the outputs."""


def settings_key(settings: Any) -> str:
    """Return what tells settings apart: outputs of other settings are not taken for finished.

    >>> settings_key({"seed": 1}) == settings_key({"seed": 1}), settings_key({"seed": 1}) == settings_key({"seed": 2})
    (True, False)
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Journal:
    """The begun and the finished tasks of a folder."""

    def __init__(self, path: Path, settings: Any) -> None:
        """Read it; the file is made with its first line.

        Args:
            path: of the file.
            settings: what, but for the recordings, decides what an output is; what JSON has.
        """
        self._lines, self._key = JsonLines(path), settings_key(settings)
        self._ours: set[str] = set()
        self._finished: dict[str, dict[str, Any]] = {}
        for entry in self._lines.read():
            name, outputs = entry.get("file"), entry.get("outputs", [])
            if isinstance(name, str) and isinstance(outputs, list):
                self._ours.update(output for output in (name, *outputs) if isinstance(output, str))
                if "report" in entry:
                    self._finished[name] = entry

    def begin(self, task: Task, outputs: Iterable[Path]) -> None:
        """Note a task and the files that it is going to write, which are ours from now on.

        Raises:
            AudioError: the note cannot be written.
        """
        names = [output.name for output in outputs]
        self._lines.add({"file": task.target.name, "settings": self._key, "outputs": names})

    def add(self, task: Task, report: dict[str, Any]) -> None:
        """Note a finished task.

        Raises:
            AudioError: the note cannot be written.
        """
        self._lines.add({"file": task.target.name, "settings": self._key, **_state(task), "report": report})

    def is_ours(self, output: Path) -> bool:
        """Tell whether a file is what an earlier run wrote, or was going to write when it was killed."""
        return output.name in self._ours

    def report_of(self, task: Task) -> dict[str, Any] | None:
        """Return the report of a task that is finished, or None.

        It is finished if it was noted with these settings, and neither the recording nor its output has changed since.
        """
        entry = self._finished.get(task.target.name)
        if entry is None or entry.get("settings") != self._key:
            return None
        try:
            state = _state(task)
        except OSError:
            return None
        return entry.get("report") if all(entry.get(name) == value for name, value in state.items()) else None


class Journals:
    """The journals of all folders that the results of one batch go to."""

    def __init__(self, settings: Any) -> None:
        """Open none yet; they are of these settings."""
        self._settings = settings
        self._of: dict[Path, Journal] = {}

    def of(self, output: Path) -> Journal:
        """Return the journal of the folder that an output is in."""
        if output.parent not in self._of:
            self._of[output.parent] = Journal(output.parent / JOURNAL, self._settings)
        return self._of[output.parent]


def _state(task: Task) -> dict[str, Any]:
    """Return what changes where a recording or its output changes."""
    source, target = task.source.stat(), task.target.stat()
    return {
        "source": os.path.realpath(task.source),
        "source_bytes": source.st_size,
        "source_mtime_ns": source.st_mtime_ns,
        "target_bytes": target.st_size,
        "target_mtime_ns": target.st_mtime_ns,
    }
