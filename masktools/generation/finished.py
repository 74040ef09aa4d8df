"""Which recordings of a list are finished, line by line in a file, so that a run that was killed can go on."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masktools.configs import to_dict
from masktools.generation.collection import Item
from masktools.pipeline import Pipeline
from masktools.solver import SolverConfig

__all__ = ["FINISHED", "Finished"]

FINISHED = ".masktools-generated.jsonl"
"""Name of the file in the folder of the recordings."""


class Finished:
    """The finished recordings of a folder; a line that was cut off is no line."""

    def __init__(self, folder: Path, pipeline: Pipeline, solver: SolverConfig, seconds: float | None) -> None:
        """Read what there is.

        Args:
            folder: of the recordings.
            pipeline: the model; recordings of another one are not taken for finished.
            solver: settings of the decoding; likewise.
            seconds: length of each; likewise.
        """
        self.path = folder / FINISHED
        self._settings = _key([_fingerprint(pipeline), to_dict(solver), seconds])
        self._entries: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self._entries[entry["file"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue

    def has(self, item: Item, target: Path) -> bool:
        """Tell whether a recording was finished with these settings, and its file is as it was then."""
        entry = self._entries.get(target.name)
        if entry is None or entry.get("key") != _key([self._settings, asdict(item)]):
            return False
        return target.is_file() and target.stat().st_size == entry.get("bytes")

    def add(self, item: Item, target: Path) -> None:
        """Note a finished recording; it is on the disk when this returns."""
        key = _key([self._settings, asdict(item)])
        entry = {"file": target.name, "key": key, "bytes": target.stat().st_size, **asdict(item)}
        self._entries[target.name] = entry
        torn = self.path.is_file() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _key(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprint(pipeline: Pipeline) -> list[str]:
    """Return what tells models apart: the name, and some weights that training always moves."""
    digest = hashlib.sha256()
    for weights in (pipeline.transformer.position, pipeline.transformer.mask_vector):
        digest.update(weights.detach().float().cpu().numpy().tobytes())
    return [pipeline.name, digest.hexdigest()[:16], str(pipeline.precision)]
