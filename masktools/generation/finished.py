"""Which recordings of a list are finished, line by line in a file, so that a run that was killed can go on.

A recording has a line before it is written, and another one, with its size, when it is on the disk: where a run was
killed between its file and the second line, the first one says whose file that is.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from masktools.configs import to_dict
from masktools.errors import MasktoolsError
from masktools.generation.collection import Item
from masktools.pipeline import Walk
from masktools.solver import Plan, SolverConfig

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
        self.path = folder / FINISHED
        plan = to_dict(solver) if isinstance(solver, SolverConfig) else [to_dict(config) for config in solver]
        self._settings = _key([_fingerprint(pipeline), plan, seconds])
        self._entries: dict[str, dict[str, Any]] = {}
        self._torn = False  # whether the last line lacks its end
        if self.path.is_file():
            content = self.path.read_text(encoding="utf-8", errors="replace")
            self._torn = content[-1:] not in ("", "\n")
            for line in content.splitlines():
                try:
                    entry = json.loads(line)
                    self._entries[entry["file"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue

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
            MasktoolsError: the note cannot be written.
        """
        self._note({"file": target.name, "key": self._key_of(item)})

    def add(self, item: Item, target: Path) -> None:
        """Note a finished recording; it is on the disk when this returns.

        Raises:
            MasktoolsError: the note cannot be written.
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
        line = ("\n" if self._torn else "") + json.dumps(entry) + "\n"
        self._torn = True
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MasktoolsError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._torn = False
        self._entries[entry["file"]] = entry


def _key(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprint(pipeline: Walk) -> list[str]:
    """Return what tells models apart: the name, the precision, and the checksums of the bundle or else all weights."""
    checksums = None if pipeline.folder is None else pipeline.folder / "checksums.json"
    digest = hashlib.sha256()
    if checksums is not None and checksums.is_file():
        sums = json.loads(checksums.read_text(encoding="utf-8"))
        digest.update(_key({name: value for name, value in sums.items() if not name.endswith(".md")}).encode())
    else:
        for part in pipeline.parts.values():
            for name, weights in sorted(part.state_dict().items()) if isinstance(part, nn.Module) else ():
                digest.update(name.encode())
                digest.update(weights.detach().float().cpu().numpy().tobytes())
    return [pipeline.name, digest.hexdigest()[:16], str(pipeline.precision)]
