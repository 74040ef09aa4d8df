r"""Stores made of NumPy's files: one .npz, one .npy with its names beside it, or a folder of .npz files.

```python
with np.load("out.npz") as stored:
    keys, vectors = stored["keys"], stored["clips"]
```

```python
vectors = np.load("out.npy", mmap_mode="r")
keys = open("out.npy.keys.txt", encoding="utf-8").read().split("\n")[:-1]
```

```python
with np.load("out/album/song.mp3.npz") as stored:
    vector = stored["clip"]
```
"""

import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from masktools.core.errors import ParameterError
from masktools.core.jsons import parse_json
from masktools.extraction.table import (
    ARRAYS,
    META,
    Layout,
    Meta,
    Stored,
    Table,
    blocks,
    counts_of,
    flat_arrays,
    not_ours,
    placed,
)
from masktools.io import telling

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a .zip file can hold: when it was written is nobody's business


def write_arrays(file: zipfile.ZipFile, arrays: Mapping[str, np.ndarray]) -> None:
    """Write whole arrays into an .npz file."""
    for name, array in arrays.items():
        write_array(file, name, array.shape, array.dtype, [array])


def write_array(
    file: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    kind: np.dtype,
    pieces: Iterable[np.ndarray],
    compressed: bool = False,
) -> None:
    """Write one array into an .npz file, piece by piece along its first axis."""
    member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with file.open(member, "w", force_zip64=True) as out:
        array_stream(cast(BufferedIOBase, out), shape, kind, pieces)


def array_stream(out: BufferedIOBase, shape: tuple[int, ...], kind: np.dtype, pieces: Iterable[np.ndarray]) -> None:
    """Write one array as a .npy file, piece by piece along its first axis."""
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(out, header)
    for piece in pieces:
        out.write(np.ascontiguousarray(piece, kind).tobytes())


class NpzStored(Stored):
    """One .npz file, byte for byte the same for the same vectors."""

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors array by array, holding a small part of them at a time."""
        with placed(path, scratch) as part, zipfile.ZipFile(part, "w", allowZip64=True) as file:
            kind = np.dtype(f"<U{max(1, max(map(len, table.keys()), default=0))}")
            keys = (np.array([key], kind) for key in table.keys())  # noqa: SIM118
            write_array(file, "keys", (len(table.durations_s),), kind, keys, compressed=True)
            for array in flat_arrays(table):
                write_array(file, *array)
            write_arrays(file, {META: np.array(table.meta.to_json())})

    def _open(self, path: Path) -> None:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            self.meta = Meta.from_json(str(stored[META]), path)
            self.durations_s = stored["durations_s"]
            self.n_moments, self.n_columns = counts_of(stored, len(self.durations_s))
            names = set(stored.files)
        shapes = {name: self._header(name)[0] for name in ("clips", "frames", "tokens") if name in names}
        self.layout = Layout.of(shapes, self.meta.dtype)

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        with zipfile.ZipFile(self.path) as file, file.open(f"{name}.npy") as member:
            return _read_header(cast(BufferedIOBase, member))

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        for piece in self._read("keys", np.ones(len(self.durations_s), np.int64)):
            yield str(piece[0])

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        return self._read(name, self.counts(name))

    def _read(self, name: str, counts: np.ndarray) -> Iterator[np.ndarray]:
        with zipfile.ZipFile(self.path) as file, file.open(f"{name}.npy") as member:
            yield from read_pieces(cast(BufferedIOBase, member), counts)


def read_pieces(file: BufferedIOBase, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield so many entries of the array in a .npy file, then so many, and so on."""
    shape, kind = _read_header(file)
    entry = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
    buffered = BufferedReader(cast(RawIOBase, file), 1 << 20)
    for count in counts.tolist():
        yield np.frombuffer(buffered.read(count * entry), kind).reshape(count, *shape[1:])
    buffered.detach()


def _read_header(file: BufferedIOBase) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind


def sidecars(path: Path) -> tuple[Path, Path]:
    """Return where the names of the rows, and what they are, stand beside a .npy file."""
    return path.with_name(f"{path.name}.keys.txt"), path.with_name(f"{path.name}.json")


class NpyStored(Stored):
    """One .npy file of clip vectors, its rows named in OUT.npy.keys.txt, and what they are in OUT.npy.json."""

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        """Refuse what such a file cannot hold: more than one vector for each recording, or none."""
        several = {"frames": "moments", "tokens": "tokens"}
        what = next((word for name, word in several.items() if settings.get(name)), None)
        if settings.get("pool") == "none":
            what = what or "vectors that are not pooled"
        if what:
            raise ParameterError(f".npy holds one vector for each recording and no {what}: write .npz, .parquet or .h5")

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors by way of a scratch folder, and before them what names them."""
        keys, about = sidecars(path)
        with placed(keys, scratch) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            for key in table.keys():  # noqa: SIM118
                file.write(key.replace("\r", "\\r").replace("\n", "\\n") + "\n")
        with placed(about, scratch) as part:
            said = {META: parse_json(table.meta.to_json()), "durations_s": table.durations_s.tolist()}
            part.write_text(json.dumps(said, sort_keys=True) + "\n", encoding="utf-8")
        shape, kind = table.layout.item("clips")
        with placed(path, scratch) as part, part.open("wb") as file:
            array_stream(file, (len(table.durations_s), *shape), kind, blocks(table.pieces("clips")))

    def _open(self, path: Path) -> None:
        keys, about = sidecars(path)
        said = parse_json(about.read_bytes())
        self.meta = Meta.from_json(json.dumps(said[META]), path)
        self.durations_s = np.array(said["durations_s"], np.float64)
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        self._keys = keys.read_text(encoding="utf-8").split("\n")[:-1]
        if not len(self._keys) == len(self.durations_s) == shape[0]:
            raise not_ours(path)
        self.n_moments = self.n_columns = np.zeros(len(self._keys), np.int64)
        self.layout = Layout.of({"clips": shape}, self.meta.dtype)

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        yield from self._keys

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        with self.path.open("rb") as file:
            yield from read_pieces(file, self.counts(name))


INDEX = "index.jsonl"
"""Its first line says what the vectors are, each other one names a recording and its file."""

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


class FolderStored(Stored):
    """A folder of .npz files, one for each recording, in folders like those of the recordings; INDEX lists them."""

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write a file for each recording, and then the list of them; files of an earlier list go first."""
        with telling(path):
            path.mkdir(exist_ok=True)
        if is_ours(path):
            FolderStored(path)._clear()
        names = [name for name in ARRAYS if table.layout.has(name)]
        pieces = [table.pieces(name) for name in names]
        inside = scratch / "inside"
        inside.mkdir(exist_ok=True)
        with placed(path / INDEX, scratch) as part, part.open("w", encoding="utf-8", newline="\n") as index:
            index.write(json.dumps({META: parse_json(table.meta.to_json())}, sort_keys=True) + "\n")
            for key, duration_s, *arrays in zip(table.keys(), table.durations_s.tolist(), *pieces, strict=True):
                given = dict(zip(names, arrays, strict=True))
                place = path / place_of(key)
                with telling(place):
                    place.parent.mkdir(parents=True, exist_ok=True)
                held = {ARRAYS[name]: array[0] if name == "clips" else array for name, array in given.items()}
                with placed(place, inside, durable=False) as new, zipfile.ZipFile(new, "w") as file:
                    write_arrays(file, held | {"key": np.array(key), "duration_s": np.array(duration_s)})
                entry: dict[str, Any] = {"key": key, "file": place_of(key), "duration_s": duration_s}
                entry["n_moments"], entry["n_columns"] = (len(given.get(name, ())) for name in ("times_s", "tokens"))
                index.write(json.dumps(entry) + "\n")
            if hasattr(os, "sync"):
                os.sync()  # once, not for each of a million files

    def _open(self, path: Path) -> None:
        with (path / INDEX).open(encoding="utf-8") as file:
            self.meta = Meta.from_json(json.dumps(parse_json(file.readline())[META]), path)
            self.entries: list[dict[str, Any]] = [parse_json(line) for line in file]
        self.durations_s = np.array([entry["duration_s"] for entry in self.entries], np.float64)
        self.n_moments = np.array([entry["n_moments"] for entry in self.entries], np.int64)
        self.n_columns = np.array([entry["n_columns"] for entry in self.entries], np.int64)
        stored = self._read(self.entries[0]) if self.entries else {}
        shapes = {name: stored[name].shape for name in ("frames", "tokens") if name in stored}
        if "clip" in stored:
            shapes["clips"] = (1, *stored["clip"].shape)
        self.layout = Layout.of(shapes, self.meta.dtype)

    def _clear(self) -> None:
        """Remove what an earlier run has written, and nothing else; the list of it last."""
        for entry in self.entries:
            file = self.path / str(entry["file"])
            if file.resolve().is_relative_to(self.path.resolve()):
                file.unlink(missing_ok=True)
        (self.path / INDEX).unlink()

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
            array = self._read(entry)[ARRAYS[name]]
            yield array[None] if name == "clips" else array
