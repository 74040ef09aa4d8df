"""What a batch has finished, line by line in a file, so that one that was killed can go on."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from masktools.batch.outputs import Task
from masktools.jsons import parse_json

__all__ = ["JOURNAL", "Journal", "settings_key"]

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
    """The finished tasks of a folder; a line that was cut off is no line."""

    def __init__(self, path: Path, settings: Any) -> None:
        """Open it; the file is made with its first line.

        Args:
            path: of the file.
            settings: what, but for the recordings, decides what an output is; what JSON has.
        """
        self.path, self._key = path, settings_key(settings)
        self._finished: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = parse_json(line)
                    self._finished[entry["target"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue

    def add(self, task: Task, report: dict[str, Any]) -> None:
        """Note a finished task; it is on the disk when this returns."""
        entry = {"target": str(task.target), "settings": self._key, **_state(task), "report": report}
        self._finished[entry["target"]] = entry
        torn = self.path.is_file() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def report_of(self, task: Task) -> dict[str, Any] | None:
        """Return the report of a task that is finished, or None.

        It is finished if it was noted with these settings, and neither the recording nor its output has changed since.
        """
        entry = self._finished.get(str(task.target))
        if entry is None or entry.get("settings") != self._key or not task.target.is_file():
            return None
        try:
            state = _state(task)
        except OSError:
            return None
        return entry.get("report") if all(entry.get(name) == value for name, value in state.items()) else None


def _state(task: Task) -> dict[str, Any]:
    """Return what changes where a recording or its output changes."""
    source, target = task.source.stat(), task.target.stat()
    return {
        "source": str(task.source),
        "source_bytes": source.st_size,
        "source_mtime_ns": source.st_mtime_ns,
        "target_bytes": target.st_size,
        "target_mtime_ns": target.st_mtime_ns,
    }
