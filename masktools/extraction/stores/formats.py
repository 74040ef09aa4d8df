"""The formats by name: which there are, which one a path means, how each is written and read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from masktools.errors import ParameterError, unknown_name
from masktools.extraction.stores import folder, h5, npy, npz, parquet
from masktools.extraction.stores.stored import Stored
from masktools.extraction.stores.table import Table

__all__ = [
    "FORMATS",
    "check_format",
    "errors_of",
    "exists",
    "files_of",
    "format_of",
    "open_stored",
    "parts_of",
    "write_table",
]


class _Format(NamedTuple):
    write: Callable[[Path, Table, Path], None]
    stored: Callable[[Path], Stored]


_FORMATS: Mapping[str, _Format] = {
    "npz": _Format(npz.write, npz.NpzStored),
    "npy": _Format(npy.write, npy.NpyStored),
    "parquet": _Format(parquet.write, parquet.ParquetStored),
    "h5": _Format(h5.write, h5.H5Stored),
    "dir": _Format(folder.write, folder.FolderStored),
}
_ENDINGS = {".npz": "npz", ".npy": "npy", ".parquet": "parquet", ".pq": "parquet", ".h5": "h5", ".hdf5": "h5"}
FORMATS = tuple(_FORMATS)
"""dir is a folder of .npz files."""


def format_of(path: Path, format: str | None = None) -> str:
    """Return the format of a path: the one that is named, else that of its ending, else a folder where it has none.

    Raises:
        ParameterError: an unknown name, or an ending that is none of these formats.
    """
    if format is not None:
        if format not in FORMATS:
            raise unknown_name("format", format, FORMATS)
        return format
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    if path.suffix and not path.is_dir():
        raise ParameterError(
            f"the output must end in .npz, .npy, .parquet or .h5, or be a folder (without an ending), got "
            f"{path.name!r}: or name its format (--format {', '.join(FORMATS)})"
        )
    return "dir"


def check_format(format: str, settings: Mapping[str, Any]) -> None:
    """Refuse to begin what could not be written in the end.

    Raises:
        ParameterError: a package is missing, or the format does not hold what is wanted.
    """
    if format == "parquet":
        parquet.check()
    elif format == "h5":
        h5.check()
    elif format == "npy":
        npy.check(bool(settings.get("frames")), bool(settings.get("tokens")), str(settings.get("pool")))


def exists(path: Path, format: str) -> bool:
    """Tell whether there are complete vectors at a path.

    Raises:
        ParameterError: something else is there.
    """
    if format == "dir":
        if path.exists() and not path.is_dir():
            raise ParameterError(f"the output must be a folder, got the file {path}: name another, or give --format")
        return folder.is_ours(path)
    if path.is_dir():
        raise ParameterError(f"the output must be a file, got the folder {path}")
    return path.exists()


def open_stored(path: Path, format: str) -> Stored:
    """Return vectors that were stored before.

    Raises:
        ParameterError: nothing of that format is there, or masktools embed has not written it.
    """
    return _FORMATS[format].stored(path)


def write_table(path: Path, format: str, table: Table, scratch: Path) -> None:
    """Write vectors, each file as a whole or not at all.

    Args:
        path: where to.
        format: one of ``FORMATS``.
        table: the vectors.
        scratch: a folder on the same disk for what is half written.

    Raises:
        AudioError: the disk is full, or closed to us.
    """
    _FORMATS[format].write(path, table, scratch)


def files_of(path: Path, format: str | None = None) -> list[Path]:
    """Return the files of vectors whose names do not depend on the recordings; those of a folder are in it."""
    chosen = format_of(path, format)
    if chosen == "dir":
        return [path / folder.INDEX, errors_of(path)]
    return [path, *(npy.sidecars(path) if chosen == "npy" else ()), errors_of(path)]


def parts_of(path: Path) -> Path:
    """Return the folder of what is not yet complete."""
    return path.with_name(f"{path.name}.parts")


def errors_of(path: Path) -> Path:
    """Return the file that names what could not be embedded."""
    return path.with_name(f"{path.name}.errors.jsonl")
