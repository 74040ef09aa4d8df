r"""File formats of stored embeddings, by name: NumPy's, and HDF5 and Parquet, whose packages are optional.

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

```python
with h5py.File("out.h5") as stored:
    keys, vectors = stored["keys"].asstr()[:], stored["clips"][:]
```

```python
table = pd.read_parquet("out.parquet")
vectors = np.stack(table["clip"])
```
"""

import itertools
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from io import BufferedIOBase, BufferedReader, RawIOBase
from math import prod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from masktools.core.arguments import checked_name
from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError
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

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a .zip file can hold: files do not depend on the time of writing


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
        """Write vectors array by array, with a small part of them in memory at a time."""
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
    """Yield consecutive pieces of the array in a .npy file, with the given numbers of entries."""
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
    """Return the paths of the row names and of the metadata beside a .npy file."""
    return path.with_name(f"{path.name}.keys.txt"), path.with_name(f"{path.name}.json")


class NpyStored(Stored):
    """One .npy file of clip vectors, with the names of its rows in OUT.npy.keys.txt and metadata in OUT.npy.json."""

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        """Refuse settings that give more than one vector for each recording, or none."""
        several = {"frames": "moments", "tokens": "tokens"}
        what = next((word for name, word in several.items() if settings.get(name)), None)
        if settings.get("pool") == "none":
            what = what or "vectors that are not pooled"
        if what:
            raise ParameterError(f".npy holds one vector for each recording and no {what}: write .npz, .parquet or .h5")

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors by way of a scratch folder, after the files beside them."""
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
"""Name of the index: its first line holds the metadata, each other one a recording and its file."""

_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_LONGEST = 200  # characters of one name


def is_ours(path: Path) -> bool:
    """Tell whether a folder holds complete vectors of masktools."""
    return (path / INDEX).is_file()


def place_of(key: str) -> str:
    """Return the file of a recording inside the folder; keys that are no valid file names get a hash.

    >>> place_of("album/song.mp3")
    'album/song.mp3.npz'
    """
    parts = [part for part in PurePosixPath(key).parts if part not in ("/", "//", ".")]
    tame = [_FORBIDDEN.sub("_", "_" if part == ".." else part)[:_LONGEST] for part in parts]
    place = "/".join(tame)
    return f"{place}.npz" if place == key and place != INDEX else f"{place}.{sha256(key.encode()).hexdigest()[:8]}.npz"


class FolderStored(Stored):
    """A folder of .npz files, one for each recording, in subfolders like those of the recordings; INDEX lists them."""

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write a file for each recording, then the index; files of an earlier index are removed first."""
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
        """Remove the files of an earlier run, and nothing else; the index last."""
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


if TYPE_CHECKING:
    from pyarrow import Schema
else:
    Schema = Any  # pyarrow need not be installed

_KEYS_AT_ONCE = 4096
_GROUP_BYTES, _GROUP_ROWS = 1 << 25, 1 << 14


class H5Stored(Stored):
    """One HDF5 file of datasets, with the metadata in its attributes."""

    _module, _extra = "h5py", "h5"

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors by way of a scratch folder, with a small part of them in memory at a time."""
        import h5py

        with placed(path, scratch) as part, h5py.File(part, "w") as file:
            names = file.create_dataset("keys", len(table.durations_s), h5py.string_dtype(), track_times=False)
            keys, position = iter(table.keys()), 0
            while held := list(itertools.islice(keys, _KEYS_AT_ONCE)):
                names[position : position + len(held)] = held
                position += len(held)
            for name, shape, kind, blocks in flat_arrays(table):
                out, position = file.create_dataset(name, shape, kind, track_times=False), 0
                for block in blocks:
                    out[position : position + len(block)] = block
                    position += len(block)
            file.attrs[META] = table.meta.to_json()

    def _open(self, path: Path) -> None:
        import h5py

        with h5py.File(path, "r") as file:
            stored: Any = file
            self.meta = Meta.from_json(str(file.attrs[META]), path)
            self.durations_s = stored["durations_s"][:]
            self.n_moments, self.n_columns = counts_of(stored, len(self.durations_s))
            shapes = {name: stored[name].shape for name in ("clips", "frames", "tokens") if name in stored}
            self.layout = Layout.of(shapes, self.meta.dtype)

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        import h5py

        with h5py.File(self.path, "r") as file:
            stored: Any = file["keys"]
            for start in range(0, len(self.durations_s), _KEYS_AT_ONCE):
                yield from stored.asstr()[start : start + _KEYS_AT_ONCE]

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        import h5py

        with h5py.File(self.path, "r") as file:
            stored: Any = file[name]
            position = 0
            for count in self.counts(name).tolist():
                yield stored[position : position + count]
                position += count


class ParquetStored(Stored):
    """One .parquet file: a row for each recording, in row groups."""

    _module, _extra = "pyarrow.parquet", "parquet"

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors by way of a scratch folder, with one row group in memory at a time."""
        import pyarrow
        import pyarrow.parquet

        schema = _schema(table)
        with placed(path, scratch) as part, pyarrow.parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            for group in _groups(table):
                columns = [_column([row[name] for row in group], name, table.layout) for name in group[0]]
                writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))

    def _open(self, path: Path) -> None:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as file:
            said = {key.decode(): text.decode() for key, text in (file.schema_arrow.metadata or {}).items()}
            self.meta = Meta.from_json(said[META], path)
            names = file.schema_arrow.names
            self.durations_s = file.read(["duration_s"])["duration_s"].to_numpy()
            none = np.zeros(len(self.durations_s), np.int64)
            self.n_moments = self._lengths(file, "times_s") if "times_s" in names else none
            self.n_columns = self._lengths(file, "tokens") if "tokens" in names else none
            rows = file.schema_arrow.field("tokens").type.value_type.list_size if "tokens" in names else None
        shapes = {name: tuple(map(int, filter(None, said[name].split(",")))) for name in said if name != META}
        self.layout = Layout(shapes.get("clip_shape"), shapes.get("frame_shape"), rows, self.meta.dtype)

    def _lengths(self, file: Any, column: str) -> np.ndarray:
        groups = (file.read_row_group(index, [column])[column] for index in range(file.num_row_groups))
        lengths = [np.diff(chunk.offsets.to_numpy()) for group in groups for chunk in group.chunks]
        return np.concatenate([np.zeros(0, np.int64), *lengths]).astype(np.int64)

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        return itertools.chain.from_iterable(column.to_pylist() for column in self._columns("key"))

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        shape, kind = self.layout.item(name)
        counts = iter(self.counts(name).tolist())
        for column in self._columns(ARRAYS[name]):
            values = column.combine_chunks()
            while hasattr(values, "flatten") and hasattr(values, "values"):
                values = values.flatten()
            flat = values.to_numpy(zero_copy_only=False).astype(kind, copy=False).reshape(-1, *shape)
            position = 0
            for count in itertools.islice(counts, len(column)):
                yield flat[position : position + count]
                position += count

    def _columns(self, name: str) -> Iterator[Any]:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(self.path) as file:
            for index in range(file.num_row_groups):
                yield file.read_row_group(index, [name])[name]


def _schema(table: Table) -> Schema:
    import pyarrow

    layout = table.layout
    number = pyarrow.from_numpy_dtype(layout.dtype)
    fields = [pyarrow.field("key", pyarrow.string(), nullable=False), pyarrow.field("duration_s", pyarrow.float64())]
    if layout.clip is not None:
        fields.append(pyarrow.field("clip", pyarrow.list_(number, prod(layout.clip))))
    if layout.frame is not None:
        fields.append(pyarrow.field("frames", pyarrow.list_(pyarrow.list_(number, prod(layout.frame)))))
        fields.append(pyarrow.field("times_s", pyarrow.list_(pyarrow.float64())))
    if layout.n_token_rows is not None:
        fields.append(pyarrow.field("tokens", pyarrow.list_(pyarrow.list_(pyarrow.uint16(), layout.n_token_rows))))
    shapes = {"clip_shape": layout.clip, "frame_shape": layout.frame}
    said = {name: ",".join(map(str, shape)) for name, shape in shapes.items() if shape is not None}
    return pyarrow.schema(fields, {META: table.meta.to_json(), **said})


def _groups(table: Table) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in groups; the boundaries depend on the rows alone."""
    names = [name for name in ARRAYS if table.layout.has(name)]
    pieces = [table.pieces(name) for name in names]
    group: list[dict[str, Any]] = []
    size = 0
    for key, duration_s, *arrays in zip(table.keys(), table.durations_s.tolist(), *pieces, strict=True):
        group.append({"key": key, "duration_s": duration_s, **dict(zip(names, arrays, strict=True))})
        size += sum(array.nbytes for array in arrays)
        if size >= _GROUP_BYTES or len(group) >= _GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _column(values: list[Any], name: str, layout: Layout) -> Any:
    """Return a column of a row group as a pyarrow array."""
    import pyarrow

    if name not in ARRAYS:
        return pyarrow.array(values, pyarrow.string() if name == "key" else pyarrow.float64())
    flat = pyarrow.array(np.concatenate(values).reshape(-1))
    width = prod(layout.item(name)[0])
    entries = flat if name == "times_s" else pyarrow.FixedSizeListArray.from_arrays(flat, width)
    if name == "clips":
        return entries
    starts = np.concatenate([[0], np.cumsum([len(array) for array in values])])
    return pyarrow.ListArray.from_arrays(pyarrow.array(starts, pyarrow.int32()), entries)


FORMATS: Mapping[str, type[Stored]] = {
    "npz": NpzStored,
    "npy": NpyStored,
    "parquet": ParquetStored,
    "h5": H5Stored,
    "dir": FolderStored,
}
"""Formats by name; dir is a folder of .npz files."""

_ENDINGS = {".npz": "npz", ".npy": "npy", ".parquet": "parquet", ".pq": "parquet", ".h5": "h5", ".hdf5": "h5"}


def format_of(path: Path, format: str | None = None) -> str:
    """Return the format of a path: the given one, else that of its suffix, else a folder where it has none.

    Raises:
        ParameterError: an unknown name, or a suffix that is none of these formats.
    """
    if format is not None:
        return checked_name("format", format, FORMATS)
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    if path.suffix and not path.is_dir():
        raise ParameterError(
            f"the output must end in .npz, .npy, .parquet or .h5, or be a folder (without an ending), got "
            f"{path.name!r}: or name its format (--format {', '.join(FORMATS)})"
        )
    return "dir"


def exists(path: Path, format: str) -> bool:
    """Tell whether there are complete vectors at a path.

    Raises:
        ParameterError: something else is there.
    """
    if format == "dir":
        if path.exists() and not path.is_dir():
            raise ParameterError(f"the output must be a folder, got the file {path}: name another, or give --format")
        return is_ours(path)
    if path.is_dir():
        raise ParameterError(f"the output must be a file, got the folder {path}")
    return path.exists()


def files_of(path: Path, format: str | None = None) -> list[Path]:
    """Return the files of stored vectors that do not depend on the recordings; the others of a folder are inside it."""
    chosen = format_of(path, format)
    if chosen == "dir":
        return [path / INDEX, errors_of(path)]
    return [path, *(sidecars(path) if chosen == "npy" else ()), errors_of(path)]


def parts_of(path: Path) -> Path:
    """Return the folder of the parts of an unfinished store."""
    return path.with_name(f"{path.name}.parts")


def errors_of(path: Path) -> Path:
    """Return the file that lists the failed recordings."""
    return path.with_name(f"{path.name}.errors.jsonl")
