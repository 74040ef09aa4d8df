"""Vectors on disk: written as they come, found again by the next run, read one layer at a time.

A folder holds the vectors of one model with one set of settings. It grows by parts:

- part-NAME.npy: (layers, rows, d), float32 or float16
- part-NAME.json: which recordings these are, how many rows each has, and what its file was like

A part counts once its .json is there, which is written last: what a killed run leaves behind is whole or not seen.
Recordings that failed are not kept, so that the next run tries them again; a file that has changed is read anew.
"""

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from masktools.core.errors import ParameterError
from masktools.extraction.items import Row
from masktools.io import replacing
from probes.vectors import LeftOut, Vectors

_ROWS, _PAUSE_S, _HELD_BYTES = 256, 60.0, 1 << 27  # recordings of a part, seconds between two, bytes that wait


def stamp_of(path: str) -> str:
    """Return what tells a changed file from the same one; nothing where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


class _Place(NamedTuple):
    """Where the vectors of a recording are."""

    part: int
    start: int
    stop: int


class VectorCache:
    """The vectors of recordings in a folder; what ``run_local`` stores its rows in.

    Args:
        folder: made when there is something to be stored.
        stamps: of the files that are wanted now, by key.
        about: what the vectors are, for who looks into the folder.

    Raises:
        ParameterError: a part that cannot be read.
    """

    def __init__(self, folder: Path, stamps: Mapping[str, str], about: Mapping[str, Any] | None = None) -> None:
        self.folder, self._stamps, self._about = folder, dict(stamps), dict(about or {})
        self._parts: list[Path] = []
        self._places: dict[str, _Place] = {}
        self._failed: dict[str, str] = {}
        self._held: list[Row] = []
        self._written_at = time.monotonic()
        for index in sorted(folder.glob("part-*.json")):
            self._take(index)

    def finished(self) -> set[str]:
        """Return the recordings whose vectors are here, and whose files have not changed since."""
        return set(self._places)

    def add(self, rows: Sequence[Row]) -> None:
        """Store some recordings, soon; ``flush`` does at once."""
        for row in rows:
            if row.error is None:
                self._held.append(row)
            else:
                self._failed[row.key] = row.error
        held = sum(_rows_of(row).nbytes for row in self._held)
        if len(self._held) >= _ROWS or held > _HELD_BYTES or time.monotonic() - self._written_at > _PAUSE_S:
            self.flush()

    def flush(self) -> None:
        """Store what waits."""
        held, self._held, self._written_at = self._held, [], time.monotonic()
        if not held:
            return
        arrays = [_rows_of(row) for row in held]  # (rows, layers, d)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._parts:
            self._write_json(self.folder / "about.json", self._about)
        index = self.folder / f"part-{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        with replacing(index.with_suffix(".npy")) as part, part.open("wb") as file:
            np.save(file, np.concatenate(arrays).swapaxes(0, 1).copy())
        recordings = [
            [row.key, len(array), self._stamps.get(row.key, "")] for row, array in zip(held, arrays, strict=True)
        ]
        self._write_json(index, {"recordings": recordings})
        self._take(index)

    def vectors(self, name: str, keys: Sequence[str], about: Mapping[str, Any] | None = None) -> Vectors:
        """Return the vectors of those recordings that have any, in the order of ``keys``, and what became of the rest.

        Raises:
            ParameterError: not one of them has vectors.
        """
        self.flush()
        here = [key for key in keys if key in self._places]
        left_out = tuple(LeftOut(key, self._failed.get(key, "not computed")) for key in keys if key not in self._places)
        if not here:
            why = f": {left_out[0].reason}" if left_out else ""
            raise ParameterError(f"none of the {len(keys)} recordings has vectors{why}")
        places = [self._places[key] for key in here]
        starts = np.cumsum([0, *(place.stop - place.start for place in places)])
        reader = _Reader(self._parts, places, starts)
        return Vectors(name, tuple(here), starts, reader.n_layers, reader, dict(about or self._about), left_out)

    def _take(self, index: Path) -> None:
        """Take note of a part."""
        try:
            recordings = json.loads(index.read_text(encoding="utf-8"))["recordings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{index} cannot be read: delete the folder {self.folder} and begin anew") from error
        self._parts.append(index.with_suffix(".npy"))
        start = 0
        for key, n_rows, stamp in recordings:
            if self._stamps.get(key) == stamp:
                self._places[key] = _Place(len(self._parts) - 1, start, start + n_rows)
            start += n_rows

    def _write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        with replacing(path) as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _rows_of(row: Row) -> np.ndarray:
    """Return the vectors of a recording as (rows, layers, d)."""
    if row.frames is not None:
        return row.frames if row.frames.ndim == 3 else row.frames[:, None]
    clip = np.zeros((0, 0)) if row.clip is None else row.clip
    return clip[None] if clip.ndim == 2 else clip[None, None]


class _Reader:
    """Layer -> the vectors (rows, d) of recordings that lie in several parts."""

    def __init__(self, parts: Sequence[Path], places: Sequence[_Place], starts: np.ndarray) -> None:
        by_part: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        for place, start in zip(places, starts, strict=False):
            rows = np.arange(place.start, place.stop)
            by_part.setdefault(place.part, []).append((rows, rows - place.start + start))
        self._plan = [
            (parts[part], *(np.concatenate(rows) for rows in zip(*found, strict=True)))
            for part, found in by_part.items()
        ]
        self._n_rows = int(starts[-1])
        shapes = {self._open(path).shape[0::2] for path, *_ in self._plan}
        if len(shapes) != 1:
            raise ParameterError(f"the vectors in {parts[0].parent} must be of one size, got (layers, d) of {shapes}")
        self.n_layers, self._width = shapes.pop()

    def _open(self, path: Path) -> np.ndarray:
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ParameterError(f"{path} cannot be read: delete its folder and begin anew") from error

    def __call__(self, layer: int) -> np.ndarray:
        vectors = np.empty((self._n_rows, self._width), np.float32)
        for path, stored, wanted in self._plan:
            vectors[wanted] = self._open(path)[layer][stored]
        return vectors
