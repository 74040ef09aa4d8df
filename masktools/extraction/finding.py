"""Inputs (files, folders, manifests, shards, URLs) -> items, in a fixed order; items -> a manifest."""

import csv
import glob
import io
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from operator import itemgetter
from pathlib import Path
from typing import Any

from masktools.core.configs import parse_json
from masktools.core.errors import AudioError, ParameterError
from masktools.extraction import reading
from masktools.extraction.items import Item, check_distinct
from masktools.io import file_names, is_recording, replacing

MANIFEST_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")
BYTES = ("first_byte", "n_bytes")
"""Columns for the position of a member in its shard."""

_LONGEST_FIELD = 1 << 30  # characters of a cell; the default of csv is 131,072
_BLOCK = 8192  # rows of a Parquet file that are in memory at once
_ROW = tuple[int, Sequence[Any]]  # row number in the manifest; values in the order of Columns, then those of BYTES


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a manifest; a column whose name is empty is not read.

    A column whose name is not the default must exist, and so must that of the paths.

    Attributes:
        path: a path or a URL; relative ones are relative to the manifest's folder.
        key: unique ids.
        start: start of the part of a recording, in seconds.
        stop: end of the part, in seconds.
        member: name of the recording in the shard that the path names.
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
        """Return the required columns that are missing."""
        asked = [getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default]
        return [name for name in dict.fromkeys((self.path, *asked)) if name and name not in names]


def manifest_items(manifest: str, columns: Columns, root: str | None = None) -> Iterator[Item]:
    """Yield the items of a manifest, in its order; a few thousand rows are in memory at once.

    Args:
        manifest: path or URL of the manifest.
        columns: names of its columns.
        root: base of relative paths; the manifest's folder if None.

    Raises:
        AudioError: the manifest is missing, or cannot be read.
        ParameterError: a column is missing, or a row is invalid; or pyarrow is missing for a Parquet file.
    """
    base = manifest.rpartition("/")[0] if reading.is_url(manifest) and root is None else root
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
    place = reading.as_local(path)
    location = place if not base or reading.is_url(place) or os.path.isabs(place) else f"{base.rstrip('/')}/{place}"
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
    """Return a cell as text; empty for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def _number(value: Any) -> float | None:
    """Return a cell as a number; None for empty cells and NaN."""
    if value is None or value == "":
        return None
    number = float(value)
    return None if math.isnan(number) else number


def _rows(manifest: str, columns: Columns, base: str) -> Iterator[_ROW]:
    ending = reading.ending_of(manifest)
    if ending == ".parquet":
        yield from _parquet_rows(manifest, columns)
        return
    with reading.opened_bytes(manifest) as binary:
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
    """Yield the paths of a list; lines that begin with # are comments, unless there is such a file."""
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
    with reading.opened_bytes(manifest) as file:
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
    """Return pyarrow and its Parquet module.

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


_SHOWN = 20  # inputs without recordings that are named in a message
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


def find_items(
    inputs: Iterable[str | os.PathLike[str]],
    recursive: bool = True,
    columns: Columns | None = None,
    root: str | os.PathLike[str] | None = None,
) -> list[Item]:
    """Return the items of inputs, in their order; nothing is decoded, and recordings are not opened.

    An input is a recording; a folder, whose recordings and shards are taken by name; a manifest (.csv,
    .tsv, .jsonl, .parquet, or .txt with a path a line); a shard (.tar, in the format of WebDataset), whose
    recordings are taken; or a URL of one of these. Braces are a list, as in ``shard-{000..127}.tar``; *, ? and [] a
    pattern.

    Keys: below a folder that is the only input, the path relative to it; in a manifest its id, or its path as it is
    written there, with "#start-stop" where it names times; in a shard "shard/member"; else the path as it is given.

    Args:
        inputs: paths and URLs.
        recursive: whether subfolders are searched, too.
        columns: names of the columns of manifests.
        root: base of relative paths in manifests; the folder of each manifest if None.

    Raises:
        AudioError: an input is missing or cannot be read, or none of them holds recordings.
        ParameterError: two items with one key, an invalid manifest, or a missing package.
    """
    given = [one for path in inputs for one in _spelled_out(reading.as_local(os.fspath(path)))]
    items: list[Item] = []
    empty: list[str] = []
    for path in given:
        before = len(items)
        items.extend(_items_of(path, len(given) == 1, recursive, columns or Columns(), root))
        if len(items) == before:
            empty.append(_nothing_in(path, recursive))
    if empty and not items:
        raise AudioError(
            empty[0] if len(empty) == 1 else f"none of the {len(empty)} inputs holds recordings: {empty[0]}"
        )
    for what in empty[:_SHOWN]:
        warnings.warn(what, stacklevel=2)
    if len(empty) > _SHOWN:
        warnings.warn(f"{len(empty) - _SHOWN} more inputs hold no recordings", stacklevel=2)
    check_distinct(items)
    return items


def _items_of(
    path: str, only: bool, recursive: bool, columns: Columns, root: str | os.PathLike[str] | None
) -> Iterator[Item]:
    if not reading.is_url(path) and os.path.isdir(path):
        for name in file_names(path, recursive):
            yield from _file_items(name if only else Path(path, name).as_posix(), os.path.join(path, name))
    elif reading.is_url(path) and (reading.has_wildcard(path) or not _is_file_name(path)):
        for name, url in reading.names_below(path, recursive):
            yield from _file_items(name if only else url, url)
    elif reading.ending_of(path) in MANIFEST_ENDINGS:
        yield from manifest_items(path, columns, None if root is None else reading.as_local(os.fspath(root)))
    elif reading.ending_of(path) == reading.SHARD_ENDING:
        if not reading.is_url(path) and not os.path.exists(path):
            raise AudioError(f"{path} does not exist")
        yield from reading.shard_items(path.rsplit("/", 1)[-1] if only else Path(path).as_posix(), path)
    else:
        yield Item(path, path)


def _file_items(key: str, location: str) -> Iterator[Item]:
    """Yield the items of a file in a folder; none if it is neither a recording nor a shard."""
    if is_recording(key):
        yield Item(key, location)
    elif reading.ending_of(key) == reading.SHARD_ENDING:
        yield from reading.shard_items(key, location)


def _is_file_name(url: str) -> bool:
    ending = reading.ending_of(url)
    return ending in MANIFEST_ENDINGS or ending == reading.SHARD_ENDING or is_recording(f"a{ending}")


def _spelled_out(path: str) -> list[str]:
    """Expand braces and, for local files, wildcards.

    >>> _spelled_out("s3://clips/{train,test}-{08..10}.tar")[2:5]
    ['s3://clips/train-10.tar', 's3://clips/test-08.tar', 's3://clips/test-09.tar']
    """
    if not reading.is_url(path) and os.path.exists(path):
        return [path]
    braces = _BRACES.search(path)
    if braces:
        first, last, names = braces.groups()
        width = len(first or "")
        words = names.split(",") if names else [f"{n:0{width}}" for n in range(int(first), int(last) + 1)]
        return [
            whole for word in words for whole in _spelled_out(f"{path[: braces.start()]}{word}{path[braces.end() :]}")
        ]
    if not reading.is_url(path) and reading.has_wildcard(path):
        return sorted(glob.glob(path, recursive=True)) or [path]
    return [path]


def _nothing_in(path: str, recursive: bool) -> str:
    if reading.ending_of(path) in MANIFEST_ENDINGS:
        return f"{path} names no recordings"
    if reading.ending_of(path) == reading.SHARD_ENDING:
        return f"{path} holds no recordings"
    deeper = "" if recursive else "; folders in it were not searched"
    return f"{path} holds no recordings, and no shards (.tar) of them{deeper}"


_NAMES = (*astuple(Columns()), *BYTES)
_GROUP = 1 << 16  # rows of a row group


def write_manifest(path: str | os.PathLike[str], items: Sequence[Item]) -> None:
    """Write items as a manifest for ``find_items``, with the same keys and times and absolute paths.

    Args:
        path: path of the manifest, in .csv, .tsv, .jsonl or .parquet; it is written whole, or not at all.
        items: items of the manifest.

    Raises:
        ParameterError: another suffix, or a Parquet file without pyarrow.
        AudioError: the file cannot be written.
    """
    place = Path(path)
    writers: dict[str, Callable[[Path, Sequence[Item]], None]] = {
        ".csv": lambda part, rows: _write_table(part, rows, ","),
        ".tsv": lambda part, rows: _write_table(part, rows, "\t"),
        ".jsonl": _write_json,
        ".parquet": _write_parquet,
    }
    write = writers.get(reading.ending_of(place.name))
    if write is None:
        raise ParameterError(f"a manifest must end in {', '.join(writers)}, got {place.name!r}")
    with replacing(place) as part:
        try:
            write(part, items)
        except UnicodeEncodeError as error:
            name = ascii(error.object[max(0, error.start - 20) : error.end + 20])
            raise ParameterError(f"{place} cannot name {name}, which is no UTF-8: let it end in .jsonl") from error


def _values(items: Sequence[Item]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of items in the order of the columns."""
    for item in items:
        location = item.location if reading.is_url(item.location) else os.path.abspath(item.location)
        yield location, item.key, item.start_s, item.stop_s, item.member, item.first_byte, item.n_bytes


def _write_table(part: Path, items: Sequence[Item], delimiter: str) -> None:
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(_NAMES)
        writer.writerows(_values(items))


def _write_json(part: Path, items: Sequence[Item]) -> None:
    with part.open("w", encoding="utf-8") as file:
        for row in _values(items):
            told = {name: value for name, value in zip(_NAMES, row, strict=True) if value is not None}
            file.write(json.dumps(told) + "\n")


def _write_parquet(part: Path, items: Sequence[Item]) -> None:
    pyarrow, parquet = need_pyarrow(str(part))
    kinds = (*[pyarrow.string()] * 2, *[pyarrow.float64()] * 2, pyarrow.string(), *[pyarrow.int64()] * 2)
    schema = pyarrow.schema(list(zip(_NAMES, kinds, strict=True)))
    with parquet.ParquetWriter(part, schema) as writer:
        for start in range(0, len(items), _GROUP):
            values = list(zip(*_values(items[start : start + _GROUP]), strict=True))
            columns = [pyarrow.array(column, kind) for column, kind in zip(values, kinds, strict=True)]
            writer.write_table(pyarrow.table(columns, schema=schema))
