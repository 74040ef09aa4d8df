"""A folder of .npz files, one for each recording, in folders like those of the recordings; index.jsonl lists them.

```python
with np.load("out/album/song.mp3.npz") as stored:
    vector = stored["clip"]
```
"""

import json
import os
import re
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from masktools.extraction.stores.meta import META, Meta
from masktools.extraction.stores.npz import write_arrays
from masktools.extraction.stores.placing import placed
from masktools.extraction.stores.stored import Stored, not_ours
from masktools.extraction.stores.table import Layout, Table
from masktools.io import telling
from masktools.jsons import parse_json

__all__ = ["INDEX", "FolderStored", "is_ours", "place_of", "write"]

INDEX = "index.jsonl"
"""Its first line says what the vectors are, each other one names a recording and its file."""

_ONE = {"clips": "clip", "frames": "frames", "times_s": "times_s", "tokens": "tokens"}
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_LONGEST = 200  # characters of one name


def is_ours(path: Path) -> bool:
    """Tell whether a folder holds vectors, complete."""
    return (path / INDEX).is_file()


def place_of(key: str) -> str:
    """Return the file of a recording inside the folder; names that no folder can hold are told apart by their hash.

    >>> place_of("album/song.mp3")
    'album/song.mp3.npz'
    """
    parts = [part for part in PurePosixPath(key).parts if part not in ("/", "//", ".")]
    tame = [_FORBIDDEN.sub("_", "_" if part == ".." else part)[:_LONGEST] for part in parts]
    place = "/".join(tame)
    return f"{place}.npz" if place == key and place != INDEX else f"{place}.{sha256(key.encode()).hexdigest()[:8]}.npz"


def write(path: Path, table: Table, scratch: Path) -> None:
    """Write a file for each recording, and then the list of them; files of an earlier list go first."""
    with telling(path):
        path.mkdir(exist_ok=True)
    if is_ours(path):
        _clear(path)
    names = [name for name in _ONE if table.layout.has(name)]
    pieces = [table.pieces(name) for name in names]
    inside = scratch / "inside"
    inside.mkdir(exist_ok=True)
    with placed(path / INDEX, scratch) as part, part.open("w", encoding="utf-8", newline="\n") as index:
        index.write(json.dumps({META: parse_json(table.meta.to_json())}, sort_keys=True) + "\n")
        for key, duration_s, *arrays in zip(table.keys(), table.durations_s.tolist(), *pieces, strict=True):
            place = place_of(key)
            given = dict(zip(names, arrays, strict=True))
            _write_one(path / place, key, duration_s, given, inside)
            entry: dict[str, Any] = {"key": key, "file": place, "duration_s": duration_s}
            entry["n_moments"] = len(given["times_s"]) if "times_s" in given else 0
            entry["n_columns"] = len(given["tokens"]) if "tokens" in given else 0
            index.write(json.dumps(entry) + "\n")
        if hasattr(os, "sync"):
            os.sync()  # once, not for each of a million files


def _write_one(path: Path, key: str, duration_s: float, given: dict[str, np.ndarray], scratch: Path) -> None:
    arrays = {_ONE[name]: array[0] if name == "clips" else array for name, array in given.items()}
    with telling(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with placed(path, scratch, durable=False) as part, zipfile.ZipFile(part, "w") as file:
        write_arrays(file, arrays | {"key": np.array(key), "duration_s": np.array(duration_s)})


def _clear(path: Path) -> None:
    """Remove what an earlier run has written, and nothing else; the list of it last."""
    for entry in FolderStored(path).entries:
        file = path / str(entry["file"])
        if file.resolve().is_relative_to(path.resolve()):
            file.unlink(missing_ok=True)
    (path / INDEX).unlink()


class FolderStored(Stored):
    """Vectors in a folder."""

    def __init__(self, path: Path) -> None:
        """Open its list.

        Raises:
            ParameterError: a folder that masktools embed has not written.
        """
        self.path = path
        try:
            with (path / INDEX).open(encoding="utf-8") as file:
                self.meta = Meta.from_json(json.dumps(parse_json(file.readline())[META]), path)
                self.entries: list[dict[str, Any]] = [parse_json(line) for line in file]
            self.durations_s = np.array([entry["duration_s"] for entry in self.entries], np.float64)
            self.n_moments = np.array([entry["n_moments"] for entry in self.entries], np.int64)
            self.n_columns = np.array([entry["n_columns"] for entry in self.entries], np.int64)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise not_ours(path) from error
        self.layout = self._layout()

    def _layout(self) -> Layout:
        dtype = str(self.meta.settings.get("dtype", "float32"))
        if not self.entries:
            return Layout(dtype=dtype)
        stored = self._read(self.entries[0])
        return Layout(
            stored["clip"].shape if "clip" in stored else None,
            stored["frames"].shape[1:] if "frames" in stored else None,
            stored["tokens"].shape[1] if "tokens" in stored else None,
            dtype,
        )

    def _read(self, entry: dict[str, Any]) -> dict[str, np.ndarray]:
        place = self.path / str(entry["file"])
        try:
            with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise not_ours(place) from error

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        return (str(entry["key"]) for entry in self.entries)

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        for entry in self.entries:
            array = self._read(entry)[_ONE[name]]
            yield array[None] if name == "clips" else array
