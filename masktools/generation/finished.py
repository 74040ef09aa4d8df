"""Which recordings of a list are finished, line by line in a file, so that a run that was killed can go on.

A recording has a line before it is written, and another one, with its size, when it is on the disk: where a run was
killed between its file and the second line, the first one says whose file that is.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from masktools.configs import to_plain
from masktools.generation.collection import Item
from masktools.io import JsonLines
from masktools.packing import weights_digest
from masktools.pipeline import Walk
from masktools.solver import Plan

__all__ = ["FINISHED", "Finished"]

FINISHED = ".masktools-generated.jsonl"
"""Name of the file in the folder of the recordings."""


class Finished:
    """The finished recordings of a folder; a line that was cut off is no line."""

    def __init__(self, folder: Path, pipeline: Walk, solver: Plan, seconds: float | None) -> None:
        """Read what there is.

        Args:
            folder: of the recordings.
            pipeline: the model; recordings of another one are not taken for finished.
            solver: settings of the decoding; likewise.
            seconds: length of each; likewise.
        """
        self._lines = JsonLines(folder / FINISHED)
        self._settings = _key([_fingerprint(pipeline), to_plain(solver), seconds])
        self._entries = {one["file"]: one for one in self._lines.read() if isinstance(one.get("file"), str)}

    def has(self, item: Item, target: Path) -> bool:
        """Tell whether a recording was finished with these settings, and its file is as it was then."""
        entry = self._of(item, target)
        return target.is_file() and target.stat().st_size == entry.get("bytes")

    def has_begun(self, item: Item, target: Path) -> bool:
        """Tell whether a run with these settings was ended while it wrote a recording, so that the file is its own."""
        entry = self._of(item, target)
        return bool(entry) and "bytes" not in entry

    def begin(self, item: Item, target: Path) -> None:
        """Note a recording that is about to be written.

        Raises:
            AudioError: the note cannot be written.
        """
        self._note({"file": target.name, "key": self._key_of(item)})

    def add(self, item: Item, target: Path) -> None:
        """Note a finished recording.

        Raises:
            AudioError: the note cannot be written.
        """
        key, n_bytes = self._key_of(item), target.stat().st_size
        self._note({"file": target.name, "key": key, "bytes": n_bytes, **asdict(item)})

    def _of(self, item: Item, target: Path) -> dict[str, Any]:
        """Return the last line of a recording, nothing if that was of other settings."""
        entry = self._entries.get(target.name, {})
        return entry if entry.get("key") == self._key_of(item) else {}

    def _key_of(self, item: Item) -> str:
        return _key([self._settings, asdict(item)])

    def _note(self, entry: dict[str, Any]) -> None:
        self._lines.add(entry)
        self._entries[entry["file"]] = entry


def _key(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprint(pipeline: Walk) -> list[str]:
    """Return what tells models apart: the name, the digests of its parts, and the precision."""
    digests = [weights_digest(part.state_dict()) for part in pipeline.parts.values() if isinstance(part, nn.Module)]
    return [pipeline.name, _key(digests), str(pipeline.precision)]
