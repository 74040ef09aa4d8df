"""Unfinished stores: vectors in small files (parts) beside the output, each whole or not there at all.

    OUT.parts/masktools.json      metadata
    OUT.parts/part-000000032.npz  some recordings, the first of them number 32 of the list

A process that is killed loses the rows that it has not stored yet, and nothing else.
"""

import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from masktools.core.errors import ParameterError
from masktools.extraction.items import Row
from masktools.extraction.table import ARRAYS, LOCK, META, Failure, Layout, Meta
from masktools.io import replacing

_HELD_BYTES = 1 << 26  # cache of parts that are read again


class Parts:
    """The parts of one store, with a few bytes in memory about each recording."""

    def __init__(self, folder: Path, keys: Sequence[str], meta: Meta) -> None:
        """Take a folder of parts, which need not exist yet.

        Raises:
            ParameterError: a key that occurs twice.
        """
        self.folder, self.meta = folder, meta
        self._keys = keys
        self._number_of = {key: number for number, key in enumerate(keys)}
        if len(self._number_of) < len(keys):
            twice = next(key for number, key in enumerate(keys) if self._number_of[key] != number)
            raise ParameterError(f"each recording must have a name of its own, got {twice!r} twice")
        n = len(keys)
        self.first_of_part = np.full(n, -1, np.int64)  # by recording: first one of its part; -1 without
        self.n_moments, self.n_columns = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.durations_s = np.zeros(n)
        self.errors: dict[int, str] = {}
        self.layout: Layout | None = None
        self._files: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._n_held = 0  # bytes of the cached arrays

    @staticmethod
    def meta_of(folder: Path) -> Meta | None:
        """Return the metadata of a folder of parts; None where there are none that can be resumed."""
        file = folder / f"{META}.json"
        return Meta.from_json(file.read_bytes(), folder) if file.is_file() else None

    def begin(self) -> None:
        """Empty the folder, and write the metadata into it."""
        (self.folder / f"{META}.json").unlink(missing_ok=True)
        for left in self.folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != LOCK:
                left.unlink()
        with replacing(self.folder / f"{META}.json") as part:
            part.write_text(self.meta.to_json() + "\n", encoding="utf-8")

    def load(self, tidy: bool = True) -> None:
        """Index the parts in the folder; those that cannot be read are computed again.

        Args:
            tidy: whether unfinished and unreadable files are removed.
        """
        for left in self.folder.glob(".*.part") if tidy else ():
            left.unlink(missing_ok=True)
        for path in sorted(self.folder.glob("part-*.npz")):
            try:
                stored = _read(path, ("index", "errors", "durations_s", "n_moments", "n_columns", "layout"))
            except (OSError, ValueError, KeyError, EOFError, BadZipFile):
                if tidy:
                    path.unlink()
                continue
            index = stored["index"]
            if len(index) and index[0] >= 0 and index[-1] < len(self._keys):
                self._note(stored)
                self._fit(_layout_from(stored["layout"], self.meta.dtype), path)

    def finished(self) -> set[str]:
        """Return the keys of the recordings that are stored, or known to fail."""
        return {self._keys[number] for number in np.flatnonzero(self.first_of_part >= 0).tolist()}

    def add(self, rows: Sequence[Row]) -> None:
        """Store some recordings, in any order; those that are stored already stay as they are.

        Raises:
            ParameterError: a recording that is not in the list, or vectors of another shape than those before.
        """
        unknown = [row.key for row in rows if row.key not in self._number_of]
        if unknown:
            raise ParameterError(f"rows must be of recordings of the list, got {unknown[0]!r}")
        numbered = {self._number_of[row.key]: row for row in rows}
        new = {number: numbered[number] for number in sorted(numbered) if self.first_of_part[number] < 0}
        if not new:
            return
        good = [row for row in new.values() if row.error is None]
        for row in good:
            shapes = {name: array.shape for name, array in row.arrays.items() if name in ("frames", "tokens")}
            if row.clip is not None:
                shapes["clips"] = (1, *row.clip.shape)
            self._fit(Layout.of(shapes, self.meta.dtype), good[0].key)
        index = np.fromiter(new, np.int64, len(new))
        arrays: dict[str, np.ndarray] = {
            "index": index,
            "errors": np.array([row.error or "" for row in new.values()]),
            "durations_s": np.array([row.duration_s for row in new.values()], np.float64),
            "n_moments": np.array([len(row.arrays.get("frames", ())) for row in new.values()], np.int64),
            "n_columns": np.array([len(row.arrays.get("tokens", ())) for row in new.values()], np.int64),
            "layout": _layout_array(self.layout if good else None),
        }
        for name, own in ARRAYS.items():
            there = [row.arrays[own] for row in good if own in row.arrays]
            if there and self.layout is not None:
                kind = self.layout.item(name)[1]
                arrays[name] = (np.stack if name == "clips" else np.concatenate)(there).astype(kind)
        with replacing(self._place(int(index[0]))) as part, part.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        self._note(arrays)

    def failures(self) -> Iterator[Failure]:
        """Yield the failed recordings."""
        for number in sorted(self.errors):
            yield Failure(self._keys[number], self.errors[number])

    def good(self) -> np.ndarray:
        """Return the indices of the recordings with vectors."""
        is_good = self.first_of_part >= 0
        is_good[np.fromiter(self.errors, np.int64, len(self.errors))] = False
        return np.flatnonzero(is_good)

    def piece(self, number: int, name: str) -> np.ndarray:
        """Return one array of one recording."""
        first = int(self.first_of_part[number])
        stored = self._stored(first, name)
        place = stored["place"][int(np.searchsorted(stored["index"], number))]
        if name == "clips":
            return stored["clips"][place : place + 1]
        starts = stored["column_starts" if name == "tokens" else "moment_starts"]
        return stored[name][starts[place] : starts[place + 1]]

    def remove(self) -> None:
        """Remove the folder, the metadata first, so that half of it is never resumed."""
        (self.folder / f"{META}.json").unlink(missing_ok=True)
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _place(self, first: int) -> Path:
        return self.folder / f"part-{first:09d}.npz"

    def _note(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the recordings of a part to the index."""
        index = arrays["index"]
        self.first_of_part[index] = index[0]
        for name in ("durations_s", "n_moments", "n_columns"):
            getattr(self, name)[index] = arrays[name]
        self.errors |= {int(number): str(error) for number, error in zip(index, arrays["errors"], strict=True) if error}

    def _fit(self, layout: Layout | None, where: object) -> None:
        if layout is None:
            return
        if self.layout is None:
            self.layout = layout
        elif layout != self.layout:
            raise ParameterError(f"vectors must all be of one shape, got {layout} after {self.layout} at {where}")

    def _stored(self, first: int, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of a part that are needed; recent parts are cached."""
        stored = self._files.get(first)
        if stored is None:
            stored = _read(self._place(first), ("index", "errors", "n_moments", "n_columns"))
            good = stored["errors"] == ""
            stored["place"] = np.cumsum(good) - 1  # index among the good ones
            for counted, starts in (("n_moments", "moment_starts"), ("n_columns", "column_starts")):
                stored[starts] = np.concatenate([[0], np.cumsum(stored[counted][good])])
            self._files[first] = stored
        self._files.move_to_end(first)
        if name not in stored:
            stored |= _read(self._place(first), (name,))
            self._n_held += stored[name].nbytes
            while len(self._files) > 1 and self._n_held > _HELD_BYTES:
                _, dropped = self._files.popitem(last=False)
                self._n_held -= sum(dropped[array].nbytes for array in ARRAYS if array in dropped)
        return stored


def _read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in names}


def _layout_array(layout: Layout | None) -> np.ndarray:
    """Return a layout as numbers: for each array the number of axes (-1: no array) and their lengths."""
    if layout is None:
        return np.zeros(0, np.int64)
    shapes = (layout.clip, layout.frame, None if layout.n_token_rows is None else (layout.n_token_rows,))
    return np.array([n for shape in shapes for n in ((-1,) if shape is None else (len(shape), *shape))], np.int64)


def _layout_from(numbers: np.ndarray, dtype: str) -> Layout | None:
    if not len(numbers):
        return None
    left, shapes = numbers.tolist(), []
    for _ in range(3):
        n_axes = left.pop(0)
        shapes.append(None if n_axes < 0 else tuple(left[:n_axes]))
        left = left[max(0, n_axes) :]
    clip, frame, tokens = shapes
    return Layout(clip, frame, None if tokens is None else tokens[0], dtype)
