"""A recording, or a part of one, that is to be read: small and plain, so that it travels between machines."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from masktools.errors import ParameterError

__all__ = ["Item", "check_distinct", "items_hash", "take_shard"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """A recording by its place, with the name that its vectors go by.

    Attributes:
        key: unique in a collection, and the same on every machine: what its vectors are found by.
        location: a file, or a URL of one.
        member: of the tar file at ``location``; None if ``location`` is the recording.
        start_s: where the part that is meant begins, in seconds; None for the beginning.
        stop_s: where it ends, in seconds; None for the end of the recording.
        first_byte: of the member in the tar file, where that is known: no search then.
        n_bytes: of the member, where ``first_byte`` is known.
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
    """Return the SHA-256 of which items these are, in their order: keys and times, wherever the files lie.

    >>> items_hash([Item("a.wav", "/here/a.wav")]) == items_hash([Item("a.wav", "/there/a.wav")])
    True
    """
    sha = hashlib.sha256()
    for item in items:
        sha.update(repr((item.key, item.start_s, item.stop_s)).encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def take_shard(items: Sequence[T], index: int, count: int) -> Sequence[T]:
    """Return part ``index`` of ``count`` as even parts, in order: the parts one after the other are the whole.

    >>> [take_shard("abcdefg", index, 3) for index in range(3)]
    ['ab', 'cd', 'efg']

    Args:
        items: all of them, in an order that every caller has.
        index: of the part, from 0.
        count: of parts, at least 1.

    Raises:
        ParameterError: an index or a count out of range.
    """
    if count < 1 or not 0 <= index < count:
        raise ParameterError(f"the shard must be one of 0 to {count - 1} of {count} (at least 1), got {index}")
    return items[index * len(items) // count : (index + 1) * len(items) // count]


def check_distinct(items: Iterable[Item]) -> None:
    """Refuse items of which two have one key.

    Raises:
        ParameterError: it names the key and both places.
    """
    seen: set[str] = set()
    places: dict[str, str] = {}
    for item in items:
        if item.key in seen:
            places[item.key] = item.location
            break
        seen.add(item.key)
    for key, second in places.items():
        first = next(item.location for item in items if item.key == key)
        raise ParameterError(
            f"each item must have a key of its own, got {key!r} for {first} and {second}:"
            " give the manifest a column of ids, or name each input once"
        )
