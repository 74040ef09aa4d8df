"""Vectors of many recordings: the interface that every format writes and reads, and their metadata."""

import hashlib
import json
import os
import shutil
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError
from masktools.io import telling

META = "masktools"
"""Name of the metadata in a file."""

_FORMAT = 1


@dataclass(frozen=True)
class Meta:
    """Metadata of stored vectors, as JSON; vectors of another fingerprint or of other items are not added to them."""

    fingerprint: str  # SHA-256 of the model and the settings
    settings: Mapping[str, Any]
    items: str  # SHA-256 of the list of recordings, of all shards
    n_items: int  # recordings of the list, failures included
    model: str = ""  # its name, for display
    shard: tuple[int, int] | None = None  # index and count
    n_failed: int = 0
    format: int = _FORMAT

    @property
    def dtype(self) -> str:
        """Type of the stored vectors."""
        return str(self.settings.get("dtype", "float32"))

    def to_json(self) -> str:
        """Return the metadata as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, where: object) -> "Meta":
        """Parse the output of ``to_json``.

        Raises:
            ParameterError: something else.
        """
        try:
            read = parse_json(text)
            shard = read.pop("shard")
            meta = cls(**read, shard=None if shard is None else (int(shard[0]), int(shard[1])))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            said = f"{where} must be what masktools embed has written: it says nothing of a model"
            raise ParameterError(said) from error
        if meta.format != _FORMAT:
            raise ParameterError(f"{where} must be of format {_FORMAT}, got {meta.format}: it takes another masktools")
        return meta

    def difference(self, other: "Meta") -> str | None:
        """Return the difference from another one in words, or None."""
        if self.fingerprint != other.fingerprint:
            names = sorted({*self.settings, *other.settings})
            pairs = [(name, self.settings.get(name), other.settings.get(name)) for name in names]
            named = [f"{name} {_shown(mine)}, now {_shown(theirs)}" for name, mine, theirs in pairs if mine != theirs]
            if named:
                return f"other settings ({'; '.join(named)})"
            if self.model != other.model:
                return f"another model ({self.model}, now {other.model})"
            return "other weights, or in another precision"
        if self.shard != other.shard:
            return f"another shard ({_shard(self.shard)}, now {_shard(other.shard)})"
        if (self.items, self.n_items) != (other.items, other.n_items):
            return f"other recordings ({self.n_items}, now {other.n_items}; their names, places or order)"
        return None


def keys_hash(keys: Iterable[str]) -> str:
    """Return the SHA-256, in hexadecimal, of a list of keys, in order."""
    digest = hashlib.sha256()
    for key in keys:
        digest.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _shown(value: Any) -> str:
    text = json.dumps(value).strip('"')
    return text if len(text) <= 40 else f"{text[:37]}..."


def _shard(shard: tuple[int, int] | None) -> str:
    return "none" if shard is None else f"{shard[0]}/{shard[1]}"


ARRAYS = {"clips": "clip", "frames": "frames", "times_s": "times_s", "tokens": "tokens"}
"""Names of the arrays of all recordings, and of the same for one recording."""


@dataclass(frozen=True)
class Failure:
    """A recording that could not be embedded."""

    key: str
    error: str


@dataclass(frozen=True)
class Layout:
    """Shapes of the arrays of every recording; None where there is no such array."""

    clip: tuple[int, ...] | None = None
    frame: tuple[int, ...] | None = None  # of one frame
    n_token_rows: int | None = None
    dtype: str = "float32"

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]], dtype: str) -> "Layout":
        """Return the layout of whole recordings (clips, frames, tokens), whose first axis is left out."""
        one = {name: tuple(shape[1:]) for name, shape in shapes.items()}
        return cls(one.get("clips"), one.get("frames"), one["tokens"][0] if "tokens" in one else None, dtype)

    def has(self, name: str) -> bool:
        """Tell whether there is an array of this name."""
        given = {"clips": self.clip, "tokens": self.n_token_rows}
        return given.get(name, self.frame) is not None

    def item(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return the shape and the type of one entry of an array: a clip, a frame or a column of tokens."""
        if name == "clips":
            return self.clip or (), np.dtype(self.dtype)
        if name == "frames":
            return self.frame or (), np.dtype(self.dtype)
        return ((), np.dtype(np.float64)) if name == "times_s" else ((self.n_token_rows or 0,), np.dtype(np.uint16))


class Table(ABC):
    """Stored vectors, in the order of their recordings; failed ones are not included.

    Attributes:
        meta: metadata.
        layout: shapes of the arrays of each recording.
        durations_s: (n,) length of each recording in seconds.
        n_moments: (n,) number of frames of each.
        n_columns: (n,) number of columns of tokens of each.
    """

    meta: Meta
    layout: Layout
    durations_s: np.ndarray
    n_moments: np.ndarray
    n_columns: np.ndarray

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""

    @abstractmethod
    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording: (1, ...) of clips, (m, ...) of the others."""


def flat_arrays(table: Table) -> Iterator[tuple[str, tuple[int, ...], np.dtype, Iterable[np.ndarray]]]:
    """Yield name, shape, type and blocks of the arrays of all recordings, concatenated."""
    layout, totals = table.layout, {"clips": len(table.durations_s), "tokens": int(table.n_columns.sum())}
    for name in ARRAYS:
        if layout.has(name):
            shape, kind = layout.item(name)
            yield name, (totals.get(name, int(table.n_moments.sum())), *shape), kind, blocks(table.pieces(name))
    for name, array, is_there in (
        ("starts", starts_of(table.n_moments), layout.has("frames")),
        ("token_starts", starts_of(table.n_columns), layout.has("tokens")),
        ("durations_s", table.durations_s, True),
    ):
        if is_there:
            yield name, array.shape, array.dtype, [array]


def starts_of(counts: np.ndarray) -> np.ndarray:
    """Return the index at which each recording begins in arrays over time, and the end of the last one.

    >>> starts_of(np.array([2, 3])).tolist()
    [0, 2, 5]
    """
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def blocks(pieces: Iterable[np.ndarray], n_bytes: int = 1 << 24) -> Iterator[np.ndarray]:
    """Join consecutive pieces into larger ones of about n_bytes."""
    held: list[np.ndarray] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += piece.nbytes
        if size >= n_bytes:
            yield np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)


class Stored(Table):
    """A complete file or folder of vectors, read recording by recording."""

    _module: ClassVar[str] = "numpy"  # package that reads and writes the format
    _extra: ClassVar[str] = ""  # extra of masktools that installs it

    def __init__(self, path: Path) -> None:
        """Open a file or folder.

        Raises:
            ParameterError: it was not written by masktools embed, or a package is not installed.
        """
        self.check({})
        self.path = path
        try:
            self._open(path)
        except ParameterError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
            raise not_ours(path) from error

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        """Refuse settings whose result the format cannot hold.

        Raises:
            ParameterError: a package is missing, or the format cannot hold the result.
        """
        try:
            import_module(cls._module)
        except ImportError as error:
            package = cls._module.partition(".")[0]
            raise ParameterError(
                f'.{cls._extra} files need the package {package}: pip install "masktools[{cls._extra}]"'
            ) from error

    @staticmethod
    @abstractmethod
    def write(path: Path, table: Table, scratch: Path) -> None:
        """Write vectors by way of a scratch folder, with a small part of them in memory at a time."""

    @abstractmethod
    def _open(self, path: Path) -> None:
        """Read all but the arrays; any error means that the file is not ours."""

    def counts(self, name: str) -> np.ndarray:
        """Return the number of entries of an array for each recording."""
        if name == "clips":
            return np.ones(len(self.durations_s), np.int64)
        return self.n_columns if name == "tokens" else self.n_moments


def counts_of(arrays: Mapping[str, Any], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of frames and of columns of each of n recordings, from the starts in a file."""
    none = np.zeros(n, np.int64)
    moments, columns = (np.diff(arrays[name][:]) if name in arrays else none for name in ("starts", "token_starts"))
    return moments, columns


def not_ours(path: Path) -> ParameterError:
    """Return the error for a file that masktools embed has not written."""
    return ParameterError(f"{path} must be what masktools embed has written: it is damaged, or something else")


LOCK = "lock"
"""Lock file of the process that uses a folder."""


def locked(folder: Path) -> BaseFileLock:
    """Make a folder and lock it against other processes until the lock is released, or the process ends.

    On file systems without locks, other processes are not kept out.

    Raises:
        AudioError: the folder cannot be made.
        ParameterError: another process is using it.
    """
    with telling(folder):
        folder.mkdir(exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise ParameterError(f"another process is at work on {folder}: wait for it, or end it") from error
    except (OSError, NotImplementedError):
        return lock
    return lock


@contextmanager
def placed(path: Path, scratch: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a path to write to; the file replaces ``path`` if there is no error.

    Args:
        path: path of the file.
        scratch: a folder on the same disk.
        durable: whether it is synced to disk before it replaces ``path``.

    Raises:
        AudioError: it cannot be written.
    """
    part = scratch / f"new{path.suffix}"
    with telling(path, part):
        yield part
        if durable:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
