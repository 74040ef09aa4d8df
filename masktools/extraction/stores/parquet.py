"""One .parquet file: a row for each recording, in groups of rows that can be read one by one.

```python
table = pd.read_parquet("out.parquet")
vectors = np.stack(table["clip"])
```
"""

import itertools
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masktools.extraction.stores.meta import META, Meta
from masktools.extraction.stores.placing import placed
from masktools.extraction.stores.stored import Stored, missing, not_ours
from masktools.extraction.stores.table import Layout, Table

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow import Table as Rows
else:
    Schema = Rows = Any  # pyarrow need not be installed

__all__ = ["ParquetStored", "check", "write"]

_GROUP_BYTES, _GROUP_ROWS = 1 << 25, 1 << 14
_COLUMNS = {"clips": "clip", "frames": "frames", "times_s": "times_s", "tokens": "tokens"}


def check() -> None:
    """Refuse to begin where the format cannot be written.

    Raises:
        ParameterError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise missing(".parquet", "pyarrow", "parquet") from error


def write(path: Path, table: Table, scratch: Path) -> None:
    """Write vectors by way of a scratch folder, holding one group of rows at a time."""
    import pyarrow
    import pyarrow.parquet

    schema = _schema(table)
    with (
        placed(path, scratch) as part,
        pyarrow.parquet.ParquetWriter(part, schema, compression="zstd") as writer,
    ):
        for group in _groups(table):
            writer.write_table(_as_table(group, schema, table.layout))


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
    names = [name for name in _COLUMNS if table.layout.has(name)]
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


def _as_table(group: list[dict[str, Any]], schema: Schema, layout: Layout) -> Rows:
    import pyarrow

    columns: list[Any] = [
        pyarrow.array([row["key"] for row in group], pyarrow.string()),
        pyarrow.array([row["duration_s"] for row in group], pyarrow.float64()),
    ]
    for name in _COLUMNS:
        if not layout.has(name):
            continue
        arrays = [row[name] for row in group]
        width = prod(layout.item(name)[0])
        values = pyarrow.array(np.concatenate(arrays).reshape(-1))
        entries = values if name == "times_s" else pyarrow.FixedSizeListArray.from_arrays(values, width)
        if name != "clips":
            starts = np.concatenate([[0], np.cumsum([len(array) for array in arrays])])
            entries = pyarrow.ListArray.from_arrays(pyarrow.array(starts, pyarrow.int32()), entries)
        columns.append(entries)
    return pyarrow.Table.from_arrays(columns, schema=schema)


class ParquetStored(Stored):
    """Vectors in a .parquet file."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ParameterError: a file that masktools embed has not written, or pyarrow is not installed.
        """
        check()
        import pyarrow
        import pyarrow.parquet

        self.path = path
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                said = {key.decode(): text.decode() for key, text in (file.schema_arrow.metadata or {}).items()}
                self.meta = Meta.from_json(said[META], path)
                names = file.schema_arrow.names
                self.durations_s = file.read(["duration_s"])["duration_s"].to_numpy()
                none = np.zeros(len(self.durations_s), np.int64)
                self.n_moments = self._lengths(file, "times_s") if "times_s" in names else none
                self.n_columns = self._lengths(file, "tokens") if "tokens" in names else none
                rows = file.schema_arrow.field("tokens").type.value_type.list_size if "tokens" in names else None
        except (OSError, KeyError, pyarrow.ArrowException) as error:
            raise not_ours(path) from error
        shapes = {name: tuple(map(int, filter(None, said[name].split(",")))) for name in said if name != META}
        dtype = str(self.meta.settings.get("dtype", "float32"))
        self.layout = Layout(shapes.get("clip_shape"), shapes.get("frame_shape"), rows, dtype)

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
        for column in self._columns(_COLUMNS[name]):
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
