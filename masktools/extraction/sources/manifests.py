"""Tables that name recordings (.csv, .tsv, .jsonl, .parquet, .txt) -> items, row by row."""

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from operator import itemgetter
from typing import Any

from masktools.errors import AudioError, ParameterError
from masktools.extraction.sources.items import Item
from masktools.extraction.sources.remote import as_local, ending_of, is_url, open_bytes
from masktools.jsons import parse_json

__all__ = ["BYTES", "MANIFEST_ENDINGS", "Columns", "manifest_items", "need_pyarrow"]

MANIFEST_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")
BYTES = ("first_byte", "n_bytes")
"""Columns that say where a member lies in its shard."""

_LONGEST_FIELD = 1 << 30  # characters of a cell, of which csv takes 131,072 by itself
_BLOCK = 8192  # rows of a Parquet file that are in memory at once
_ROW = tuple[int, Sequence[Any]]  # its number in the manifest; values in the order of Columns, and those of BYTES


@dataclass(frozen=True)
class Columns:
    """What the columns of a manifest are called; an empty name is that of a column that is not to be read.

    A column that is called otherwise than here by default must be there, and so must that of the paths.

    Attributes:
        path: a path or a URL; relative ones are relative to the manifest's folder.
        key: ids, of which each is there once.
        start: where in a recording the part begins, in seconds.
        stop: where it ends, in seconds.
        member: the recording's name in the shard that the path names.
    """

    path: str = "path"
    key: str = "id"
    start: str = "start"
    stop: str = "stop"
    member: str = "member"

    def __post_init__(self) -> None:
        names = [name for name in astuple(self) if name]
        if not self.path or len(set(names)) < len(names):
            raise ParameterError(f"columns must have a path, and each another name, got {', '.join(astuple(self))}")

    def missing_in(self, names: Sequence[str]) -> list[str]:
        """Return the columns that must be there and are not."""
        asked = [getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default]
        return [name for name in dict.fromkeys((self.path, *asked)) if name and name not in names]


def manifest_items(manifest: str, columns: Columns, root: str | None = None) -> Iterator[Item]:
    """Yield the items that a manifest names, in its order; a few thousand rows are in memory at once.

    Args:
        manifest: a file or a URL.
        columns: what its columns are called.
        root: what relative paths are relative to; the manifest's folder if None.

    Raises:
        AudioError: the manifest is missing, or cannot be read.
        ParameterError: a column is missing, or a row cannot be understood; or pyarrow is missing for a Parquet file.
    """
    base = manifest.rpartition("/")[0] if is_url(manifest) and root is None else root
    base = os.path.dirname(manifest) if base is None else base
    for number, row in _rows(manifest, columns, base):
        try:
            yield _item(row, base)
        except (ParameterError, ValueError, TypeError) as error:
            raise ParameterError(f"row {number} of {manifest} cannot be understood: {error}") from error


def _item(row: Sequence[Any], base: str) -> Item:
    path, key, start, stop, member, first_byte, n_bytes = row
    path = _text(path)
    if not path:
        raise ParameterError("it names no file")
    start_s, stop_s = _number(start), _number(stop)
    member = _text(member) or None
    place = as_local(path)
    location = place if not base or is_url(place) or os.path.isabs(place) else f"{base.rstrip('/')}/{place}"
    first, size = _number(first_byte), _number(n_bytes)
    return Item(
        _text(key) or _made_key(path, member, start_s, stop_s),
        location,
        member,
        start_s,
        stop_s,
        None if first is None else int(first),
        None if size is None else int(size),
    )


def _made_key(path: str, member: str | None, start_s: float | None, stop_s: float | None) -> str:
    whole = f"{path}/{member}" if member else path
    if start_s is None and stop_s is None:
        return whole
    return f"{whole}#{start_s or 0:.10g}-{'' if stop_s is None else format(stop_s, '.10g')}"


def _text(value: Any) -> str:
    """Return a cell as text; nothing and NaN as none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def _number(value: Any) -> float | None:
    """Return a cell as a number; nothing and NaN as None."""
    if value is None or value == "":
        return None
    number = float(value)
    return None if math.isnan(number) else number


def _rows(manifest: str, columns: Columns, base: str) -> Iterator[_ROW]:
    ending = ending_of(manifest)
    if ending == ".parquet":
        yield from _parquet_rows(manifest, columns)
        return
    with _opened(manifest) as binary:
        newline, errors = (
            "" if ending in (".csv", ".tsv") else None,
            "surrogateescape" if ending == ".txt" else "strict",
        )
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline=newline, errors=errors)
        try:
            if ending == ".txt":
                yield from _path_rows(text, manifest, base)
            elif ending == ".jsonl":
                yield from _json_rows(text, manifest, columns)
            else:
                yield from _table_rows(text, manifest, columns, "\t" if ending == ".tsv" else ",")
        except (UnicodeDecodeError, csv.Error) as error:
            raise ParameterError(f"{manifest} must be text in UTF-8, with a row a line: {error}") from error
        finally:
            text.detach()


def _path_rows(text: Iterable[str], manifest: str, base: str) -> Iterator[_ROW]:
    """Yield the paths of a list; what begins with # is a remark, unless there is such a file."""
    for number, line in enumerate(text, start=1):
        path = line.strip()
        if "\0" in path:
            raise ParameterError(f"{manifest} must be text in UTF-8, with a path a line: line {number} is none")
        if path and (not path.startswith("#") or os.path.exists(os.path.join(base, path))):
            yield number, (path, None, None, None, None, None, None)


def _table_rows(text: Iterable[str], manifest: str, columns: Columns, delimiter: str) -> Iterator[_ROW]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    reader = csv.reader(text, delimiter=delimiter)
    names = [name.strip() for name in next(reader, [])]
    _check_columns(manifest, columns, names)
    places = [names.index(name) if name in names else None for name in (*astuple(columns), *BYTES)]
    for row in reader:
        if row:
            n = len(row)
            yield reader.line_num, [None if place is None or place >= n else row[place] for place in places]


def _json_rows(text: Iterable[str], manifest: str, columns: Columns) -> Iterator[_ROW]:
    wanted = (*astuple(columns), *BYTES)
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ParameterError(f"row {number} of {manifest} must be JSON: {error}") from error
        if not isinstance(row, dict):
            raise ParameterError(f"row {number} of {manifest} must be a JSON object, got {line.strip()[:40]}")
        if columns.path not in row:
            _check_columns(f"row {number} of {manifest}", columns, list(row))
        yield number, [row.get(name) for name in wanted]


def _parquet_rows(manifest: str, columns: Columns) -> Iterator[_ROW]:
    pyarrow, parquet = need_pyarrow(manifest)
    with _opened(manifest) as file:
        try:
            with parquet.ParquetFile(file) as table:
                names = table.schema_arrow.names
                _check_columns(manifest, columns, names)
                wanted = (*astuple(columns), *BYTES)
                number = 0
                for batch in table.iter_batches(_BLOCK, columns=[name for name in wanted if name in names]):
                    held = {name: batch.column(name).to_pylist() for name in batch.schema.names}
                    nothing = [None] * batch.num_rows
                    for row in zip(*itemgetter(*wanted)({name: nothing for name in wanted} | held), strict=True):
                        number += 1
                        yield number, row
        except (pyarrow.ArrowException, OSError) as error:
            raise AudioError(f"{manifest} must be a Parquet file: {' '.join(str(error).split())}") from error


def _check_columns(manifest: str, columns: Columns, names: Sequence[str]) -> None:
    missing = columns.missing_in(names)
    if missing:
        known = ", ".join(map(repr, names)) or "none at all"
        raise ParameterError(f"{manifest} must have a column {missing[0]!r}, got {known}: say which one is meant")


def need_pyarrow(path: str) -> tuple[Any, Any]:
    """Return pyarrow and its module for Parquet files.

    Raises:
        ParameterError: it is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ParameterError(
            f'{path} needs pyarrow: pip install "masktools[parquet]", or give the manifest as .csv or .jsonl'
        ) from None
    return pyarrow, parquet


@contextmanager
def _opened(manifest: str) -> Iterator[Any]:
    try:
        file = open_bytes(manifest) if is_url(manifest) else open(manifest, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise AudioError(f"{manifest} does not exist") from error
    except OSError as error:
        raise AudioError(f"{manifest} cannot be read: {(error.strerror or str(error)).lower()}") from error
    with file:
        yield file
