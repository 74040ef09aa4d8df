"""Values of an extraction: items, settings, rows of vectors, and their serialisation for other machines."""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from masktools.core import arguments, configs
from masktools.core.errors import ParameterError, unknown_name

T = TypeVar("T")
_ARRAYS = ("clip", "frames", "times_s", "tokens")


@dataclass(frozen=True, slots=True)
class Item:
    """A recording, or a part of one, with the key of its vectors.

    Attributes:
        key: unique in a collection, and the same on every machine; vectors are found by it.
        location: a file, or a URL of one.
        member: name in the tar file at ``location``; None if ``location`` is the recording.
        start_s: start of the part in seconds; None for the beginning.
        stop_s: end of the part in seconds; None for the end of the recording.
        first_byte: position of the member in the tar file, if known; it is not searched for then.
        n_bytes: length of the member in bytes; given with ``first_byte``.
    """

    key: str
    location: str
    member: str | None = None
    start_s: float | None = None
    stop_s: float | None = None
    first_byte: int | None = None
    n_bytes: int | None = None

    def __post_init__(self) -> None:
        if not (self.key and self.location):
            raise ParameterError(f"an item must have a key and a location, got {self.key!r} and {self.location!r}")
        start, stop = self.start_s or 0.0, math.inf if self.stop_s is None else self.stop_s
        if not 0 <= start < stop:
            raise ParameterError(
                f"an item must start at 0 s or later and stop after its start, got {start:g} s to {stop:g} s"
                f" for {self.key!r}"
            )
        if (self.first_byte is None) != (self.n_bytes is None) or min(self.first_byte or 0, self.n_bytes or 0) < 0:
            raise ParameterError(
                "first_byte and n_bytes must be given together, neither below 0,"
                f" got {self.first_byte} and {self.n_bytes} for {self.key!r}"
            )


def items_hash(items: Iterable[Item]) -> str:
    """Return the SHA-256 of the keys and times of items, in their order; the location of files does not count.

    >>> items_hash([Item("a.wav", "/here/a.wav")]) == items_hash([Item("a.wav", "/there/a.wav")])
    True
    """
    sha = hashlib.sha256()
    for item in items:
        sha.update(repr((item.key, item.start_s, item.stop_s)).encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def take_shard(items: Sequence[T], index: int, count: int) -> Sequence[T]:
    """Return part ``index`` of ``count`` parts of equal size (up to one), in order; joined they are the whole.

    >>> [take_shard("abcdefg", index, 3) for index in range(3)]
    ['ab', 'cd', 'efg']

    Args:
        items: the whole sequence, in the same order for every caller.
        index: number of the part, from 0.
        count: number of parts, at least 1.

    Raises:
        ParameterError: an index or a count out of range.
    """
    if count < 1 or not 0 <= index < count:
        raise ParameterError(f"the shard must be one of 0 to {count - 1} of {count} (at least 1), got {index}")
    return items[index * len(items) // count : (index + 1) * len(items) // count]


def check_distinct(items: Iterable[Item]) -> None:
    """Raise where two items have one key.

    Raises:
        ParameterError: the message names the key and both locations.
    """
    seen: set[str] = set()
    for item in items:
        if item.key in seen:
            first = next(other.location for other in items if other.key == item.key)
            raise ParameterError(
                f"each item must have a key of its own, got {item.key!r} for {first} and {item.location}:"
                " give the manifest a column of ids, or name each input once"
            )
        seen.add(item.key)


@dataclass(frozen=True, eq=False)
class Row:
    """The vectors of one recording. With several layers, clip and frames have an axis for them before the last."""

    key: str
    clip: np.ndarray | None = None  # (d,) or (layers, d)
    frames: np.ndarray | None = None  # (m, d) or (m, layers, d)
    times_s: np.ndarray | None = None  # (m,) float64: centre of each frame
    tokens: np.ndarray | None = None  # (columns, rows) uint16: the lowest band first
    duration_s: float = 0.0
    error: str | None = None  # reason of the failure; then there is nothing else

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the row by name."""
        return {name: value for name in _ARRAYS if (value := getattr(self, name)) is not None}


DTYPES = ("float32", "float16")
LAYER_WORDS = ("last", "mean", "all")


@dataclass(frozen=True)
class ExtractionSettings:
    """Settings of an extraction; see ``Encoder.encode`` for their meaning."""

    layer: int | str | tuple[int, ...] | tuple[float, ...] = "last"
    """A number; last, mean or all; several numbers; or as many weights (numbers with a decimal point) as layers."""
    pool: str = "mean"
    hop_s: float | None = None
    """Seconds between frames; the model's own where it is None."""
    frames: bool = False
    tokens: bool = False
    prefix: str | tuple[float, ...] = "learned"
    """learned; condition, or its other name clap; or a vector."""
    dtype: str = "float32"
    """Type of the stored vectors."""

    def __post_init__(self) -> None:
        """Check the settings as far as possible without a model."""
        if isinstance(self.layer, str) and self.layer not in LAYER_WORDS:
            raise unknown_name("layer", self.layer, (*LAYER_WORDS, "a number", "numbers with commas"))
        for name in ("layer", "prefix"):
            value = getattr(self, name)
            if isinstance(value, tuple) and (not value or not all(isfinite(number) for number in value)):
                raise ParameterError(f"{name} must hold one finite number at least, got {value}")
        if self.hop_s is not None and not (isfinite(self.hop_s) and self.hop_s > 0):
            raise ParameterError(f"hop_s must be above 0 s, got {self.hop_s:g} s")
        arguments.checked_name("dtype", self.dtype, DTYPES)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return configs.to_dict(self)

    def fingerprint(self, encoder_identity: str) -> str:
        """Return the SHA-256, in hexadecimal, of the model and these settings: the same on every machine."""
        text = json.dumps({"encoder": encoder_identity, "settings": self.to_json()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Summary:
    """Numbers of stored and failed recordings of an extraction."""

    path: Path
    n_items: int  # recordings of the list
    n_rows: int  # recordings with vectors
    n_failed: int  # recordings that could not be embedded
    errors: Path | None = None  # the file that lists those
    reason: str | None = None  # reason of the first failure

    @property
    def n_left(self) -> int:
        """Number of recordings that are still to be embedded."""
        return self.n_items - self.n_rows - self.n_failed

    @property
    def is_complete(self) -> bool:
        """Whether all recordings are embedded or have failed."""
        return self.n_left == 0


def pack_items(items: Iterable[Item]) -> str:
    """Return items as JSON.

    >>> unpack_items(pack_items([Item("a", "a.wav", start_s=0.5)])) == [Item("a", "a.wav", start_s=0.5)]
    True
    """
    return json.dumps([astuple(item) for item in items])


def unpack_items(packed: str) -> list[Item]:
    """Return the items from the output of ``pack_items``."""
    return [Item(*values) for values in configs.parse_json(packed)]


def pack_row(row: Row) -> bytes:
    """Return a row as the bytes of a .npz file."""
    told = json.dumps({"key": row.key, "duration_s": row.duration_s, "error": row.error})
    stream = io.BytesIO()
    np.savez(stream, told=np.frombuffer(told.encode("ascii"), np.uint8), **row.arrays)  # pyright: ignore[reportArgumentType]
    return stream.getvalue()


def unpack_row(packed: bytes) -> Row:
    """Return the row from the output of ``pack_row``, bit for bit."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in _ARRAYS if name in stored}
        return Row(**configs.parse_json(stored["told"].tobytes().decode("ascii")), **arrays)
