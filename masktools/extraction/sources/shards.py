"""Tar files of recordings (shards, as WebDataset writes them), read where they lie."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from masktools.errors import AudioError
from masktools.extraction.sources.items import Item
from masktools.extraction.sources.remote import fetch, is_url, open_bytes
from masktools.io import is_recording

__all__ = ["SHARD_ENDING", "member_bytes", "shard_items"]

SHARD_ENDING = ".tar"


def shard_items(key: str, location: str) -> Iterator[Item]:
    """Yield the recordings in a shard, in its order; only the headers in it are read.

    A shard that is cut off or damaged yields what is before the damage, and then itself: reading that item tells what
    is wrong, so that one bad shard of thousands is reported and does not stop the rest.

    Args:
        key: of the shard; those of its recordings are "key/member".
        location: of the shard, a file or a URL.
    """
    try:
        for member in _members(location):
            if is_recording(member.name):
                name = member.name.removeprefix("./")
                yield Item(f"{key}/{name}", location, member.name, first_byte=member.offset_data, n_bytes=member.size)
    except AudioError:
        yield Item(key, location)


def member_bytes(item: Item) -> bytes:
    """Return the bytes of a recording in a shard.

    Raises:
        AudioError: the shard is missing, damaged, cut off, or lacks the member.
        ParameterError: a package for its kind of URL is missing.
    """
    first_byte, n_bytes = item.first_byte, item.n_bytes
    if first_byte is None or n_bytes is None:
        first_byte, n_bytes = _found(item)
    if is_url(item.location):
        held = fetch(item.location, first_byte, n_bytes)
    else:
        with _opened(item.location) as file:
            file.seek(first_byte)
            held = file.read(n_bytes)
    if len(held) < n_bytes:
        raise AudioError(f"{item.location} is cut off: it holds {len(held)} of the {n_bytes} bytes of {item.member}")
    return held


def _found(item: Item) -> tuple[int, int]:
    """Return where a member begins, and its size."""
    for member in _members(item.location):
        if member.name == item.member:
            return member.offset_data, member.size
    if item.member is None:
        raise AudioError(f"{item.location} is a shard: say which of its members is meant")
    raise AudioError(f"{item.location} holds no member {item.member}")


def _members(location: str) -> Iterator[tarfile.TarInfo]:
    """Yield the files in a shard."""
    n_read = 0
    with _opened(location) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as shard:
                while (member := shard.next()) is not None:
                    shard.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it keeps them otherwise
                    if member.isreg():
                        n_read += 1
                        yield member
        except (tarfile.TarError, EOFError, OSError) as error:
            reason = "it must be a tar file that is not compressed" if not n_read else "it is damaged or cut off"
            raise AudioError(f"{location} cannot be read behind its first {n_read} members: {reason}") from error


@contextmanager
def _opened(location: str) -> Iterator[Any]:
    try:
        file = open_bytes(location) if is_url(location) else open(location, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise AudioError(f"{location} does not exist") from error
    except OSError as error:
        raise AudioError(f"{location} cannot be read: {(error.strerror or str(error)).lower()}") from error
    with file:
        yield file
