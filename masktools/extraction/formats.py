"""The formats of stores by name; HDF5 and Parquet, whose packages need not be installed.

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
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masktools.core.arguments import checked_name
from masktools.core.errors import ParameterError
from masktools.extraction.array_files import INDEX, FolderStored, NpyStored, NpzStored, is_ours, sidecars
from masktools.extraction.table import ARRAYS, META, Layout, Meta, Stored, Table, counts_of, flat_arrays, placed

if TYPE_CHECKING:
    from pyarrow import Schema
else:
    Schema = Any  # pyarrow need not be installed

_KEYS_AT_ONCE = 4096
_GROUP_BYTES, _GROUP_ROWS = 1 << 25, 1 << 14


class H5Stored(Stored):
    """One HDF5 file of datasets; what they are stands in its attributes."""

    _module, _extra = "h5py", "h5"

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors by way of a scratch folder, holding a small part of them at a time."""
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
    """One .parquet file: a row for each recording, in groups of rows that can be read one by one."""

    _module, _extra = "pyarrow.parquet", "parquet"

    @staticmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors by way of a scratch folder, holding one group of rows at a time."""
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
    """Yield rows in groups; where one ends depends on the rows alone."""
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
    """Return a column of a group of rows, as pyarrow has it."""
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
    """Return the format of a path: the one that is named, else that of its ending, else a folder where it has none.

    Raises:
        ParameterError: an unknown name, or an ending that is none of these formats.
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
    """Return the files of vectors whose names do not depend on the recordings; those of a folder are in it."""
    chosen = format_of(path, format)
    if chosen == "dir":
        return [path / INDEX, errors_of(path)]
    return [path, *(sidecars(path) if chosen == "npy" else ()), errors_of(path)]


def parts_of(path: Path) -> Path:
    """Return the folder of what is not yet complete."""
    return path.with_name(f"{path.name}.parts")


def errors_of(path: Path) -> Path:
    """Return the file that names what could not be embedded."""
    return path.with_name(f"{path.name}.errors.jsonl")
