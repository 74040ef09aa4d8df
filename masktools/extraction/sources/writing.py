"""Items -> a manifest: a collection is listed once, and many jobs read the list."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from masktools.errors import ParameterError
from masktools.extraction.sources.items import Item
from masktools.extraction.sources.manifests import BYTES, Columns, need_pyarrow
from masktools.extraction.sources.remote import ending_of, is_url
from masktools.io import replacing

__all__ = ["write_manifest"]

_NAMES = (*astuple(Columns()), *BYTES)
_GROUP = 1 << 16  # rows of a row group


def write_manifest(path: str | os.PathLike[str], items: Sequence[Item]) -> None:
    """Write items as a manifest that ``find_items`` reads back: the same keys and times, paths from the root.

    Args:
        path: ends in .csv, .tsv, .jsonl or .parquet; it is there as a whole, or not at all.
        items: what it is to name.

    Raises:
        ParameterError: another ending, or a Parquet file without pyarrow.
        AudioError: the file cannot be written.
    """
    place = Path(path)
    writers: dict[str, Callable[[Path, Sequence[Item]], None]] = {
        ".csv": lambda part, rows: _write_table(part, rows, ","),
        ".tsv": lambda part, rows: _write_table(part, rows, "\t"),
        ".jsonl": _write_json,
        ".parquet": _write_parquet,
    }
    write = writers.get(ending_of(place.name))
    if write is None:
        raise ParameterError(f"a manifest must end in {', '.join(writers)}, got {place.name!r}")
    with replacing(place) as part:
        try:
            write(part, items)
        except UnicodeEncodeError as error:
            name = ascii(error.object[max(0, error.start - 20) : error.end + 20])
            raise ParameterError(f"{place} cannot name {name}, which is no UTF-8: let it end in .jsonl") from error


def _rows(items: Sequence[Item]) -> Iterator[tuple[Any, ...]]:
    """Yield the values in the order of the columns."""
    for item in items:
        location = item.location if is_url(item.location) else os.path.abspath(item.location)
        yield location, item.key, item.start_s, item.stop_s, item.member, item.first_byte, item.n_bytes


def _write_table(part: Path, items: Sequence[Item], delimiter: str) -> None:
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(_NAMES)
        writer.writerows(_rows(items))


def _write_json(part: Path, items: Sequence[Item]) -> None:
    with part.open("w", encoding="utf-8") as file:
        for row in _rows(items):
            told = {name: value for name, value in zip(_NAMES, row, strict=True) if value is not None}
            file.write(json.dumps(told) + "\n")


def _write_parquet(part: Path, items: Sequence[Item]) -> None:
    pyarrow, parquet = need_pyarrow(str(part))
    kinds = (*[pyarrow.string()] * 2, *[pyarrow.float64()] * 2, pyarrow.string(), *[pyarrow.int64()] * 2)
    schema = pyarrow.schema(list(zip(_NAMES, kinds, strict=True)))
    with parquet.ParquetWriter(part, schema) as writer:
        for start in range(0, len(items), _GROUP):
            values = list(zip(*_rows(items[start : start + _GROUP]), strict=True))
            columns = [pyarrow.array(column, kind) for column, kind in zip(values, kinds, strict=True)]
            writer.write_table(pyarrow.table(columns, schema=schema))
