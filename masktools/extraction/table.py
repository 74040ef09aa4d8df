"""Vectors of many recordings: what every format of stores is written from and read as, and what they are of."""

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
"""The name under which it is stored."""

_FORMAT = 1


@dataclass(frozen=True)
class Meta:
    """What is stored with vectors, as JSON; vectors of another fingerprint or of other items are not added to them."""

    fingerprint: str  # SHA-256 of the model and the settings
    settings: Mapping[str, Any]
    items: str  # SHA-256 of the list of recordings, of all shards
    n_items: int  # recordings that belong here, those that failed among them
    model: str = ""  # its name, for people
    shard: tuple[int, int] | None = None  # which of how many
    n_failed: int = 0
    format: int = _FORMAT

    @property
    def dtype(self) -> str:
        """Type of the stored vectors."""
        return str(self.settings.get("dtype", "float32"))

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, where: object) -> "Meta":
        """Return what ``to_json`` wrote.

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
        """Return in words what another one has else, or None."""
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
    """Return the SHA-256, in hexadecimal, of a list of names, in their order."""
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
"""Arrays that there may be of all recordings, and what each is called of one."""


@dataclass(frozen=True)
class Failure:
    """A recording that could not be embedded."""

    key: str
    error: str


@dataclass(frozen=True)
class Layout:
    """The shapes of what there is of every recording; None where there is nothing."""

    clip: tuple[int, ...] | None = None
    frame: tuple[int, ...] | None = None  # of one moment
    n_token_rows: int | None = None
    dtype: str = "float32"

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]], dtype: str) -> "Layout":
        """Return the layout of arrays of whole recordings (clips, frames, tokens), whose first axis is left out."""
        one = {name: tuple(shape[1:]) for name, shape in shapes.items()}
        return cls(one.get("clips"), one.get("frames"), one["tokens"][0] if "tokens" in one else None, dtype)

    def has(self, name: str) -> bool:
        """Tell whether there is an array of a name."""
        given = {"clips": self.clip, "tokens": self.n_token_rows}
        return given.get(name, self.frame) is not None

    def item(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return the shape and the type of one entry of an array: of a clip, of a moment, of a column of tokens."""
        if name == "clips":
            return self.clip or (), np.dtype(self.dtype)
        if name == "frames":
            return self.frame or (), np.dtype(self.dtype)
        return ((), np.dtype(np.float64)) if name == "times_s" else ((self.n_token_rows or 0,), np.dtype(np.uint16))


class Table(ABC):
    """Vectors that are stored, in the order of their recordings; those that failed are not among them.

    Attributes:
        meta: what they are.
        layout: what there is of each.
        durations_s: (n,) how long each recording is.
        n_moments: (n,) how many vectors over time each has.
        n_columns: (n,) how many columns of tokens each has.
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
    """Yield name, shape, type and blocks of the arrays of all recordings together, as one file holds them."""
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
    """Return where each recording begins in arrays over time, and where the last one ends.

    >>> starts_of(np.array([2, 3])).tolist()
    [0, 2, 5]
    """
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def blocks(pieces: Iterable[np.ndarray], n_bytes: int = 1 << 24) -> Iterator[np.ndarray]:
    """Yield pieces that follow each other as fewer and larger ones of about n_bytes."""
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

    _module: ClassVar[str] = "numpy"  # that reads and writes the format
    _extra: ClassVar[str] = ""  # of masktools, that installs it

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ParameterError: something that masktools embed has not written, or a package that is not installed.
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
        """Refuse to begin what the format could not hold in the end.

        Raises:
            ParameterError: a package is missing, or the format does not hold what is wanted.
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
        """Write vectors by way of a scratch folder, holding a small part of them at a time."""

    @abstractmethod
    def _open(self, path: Path) -> None:
        """Read all but the arrays; what this raises says that something else is there."""

    def counts(self, name: str) -> np.ndarray:
        """Return how many entries of an array each recording has."""
        if name == "clips":
            return np.ones(len(self.durations_s), np.int64)
        return self.n_columns if name == "tokens" else self.n_moments


def counts_of(arrays: Mapping[str, Any], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many moments and columns each of n recordings has, from the starts that a file holds."""
    none = np.zeros(n, np.int64)
    moments, columns = (np.diff(arrays[name][:]) if name in arrays else none for name in ("starts", "token_starts"))
    return moments, columns


def not_ours(path: Path) -> ParameterError:
    """Return the error for what masktools embed has not written."""
    return ParameterError(f"{path} must be what masktools embed has written: it is damaged, or something else")


LOCK = "lock"
"""The file in a folder that is held by the process at work there."""


def locked(folder: Path) -> BaseFileLock:
    """Return a lock that keeps other processes from a folder, which is made, until it is released, or its process ends.

    File systems that have no locks let everybody in.

    Raises:
        AudioError: the folder cannot be made.
        ParameterError: another process is at work there.
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
    """Yield a name to write to, which takes the place of ``path`` if nothing goes wrong.

    Args:
        path: where the file belongs.
        scratch: a folder on the same disk.
        durable: whether it is on the disk when it takes its place.

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
