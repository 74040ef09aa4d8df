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
_LONGEST_SPARSE = 1 << 33  # bytes of a member whose holes are filled in memory


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
                name, place = member.name.removeprefix("./"), _place(member)
                yield Item(f"{key}/{name}", location, member.name, first_byte=place[0], n_bytes=place[1])
    except AudioError:
        yield Item(key, location)


def member_bytes(item: Item) -> bytes:
    """Return the bytes of a recording in a shard.

    Raises:
        AudioError: the shard is missing, damaged, cut off, or lacks the member.
        ParameterError: a package for its kind of URL is missing.
    """
    if item.first_byte is None or item.n_bytes is None:
        return _found(item)
    return _bytes_at(item, item.first_byte, item.n_bytes)


def _bytes_at(item: Item, first_byte: int, n_bytes: int) -> bytes:
    if is_url(item.location):
        held = fetch(item.location, first_byte, n_bytes)
    else:
        with _opened(item.location) as file:
            file.seek(first_byte)
            held = file.read(n_bytes)
    if len(held) < n_bytes:
        raise AudioError(f"{item.location} is cut off: it holds {len(held)} of the {n_bytes} bytes of {item.member}")
    return held


def _place(member: tarfile.TarInfo) -> tuple[int, int] | tuple[None, None]:
    """Return where the bytes of a member lie; nothing where they do not lie there as they are."""
    return (None, None) if member.issparse() or member.islnk() else (member.offset_data, member.size)


def _found(item: Item) -> bytes:
    """Return the bytes of a member that is found by its name; holes in it are zeros, and a link is what it names."""
    wanted = item.member
    for _ in range(2):  # a link names a member before it, so that one begins anew
        for member, shard in _members_of(item.location):
            if member.name != wanted:
                continue
            if member.islnk():
                wanted = member.linkname
                break
            if member.issparse():
                return _filled(item, member, shard)
            return _bytes_at(item, member.offset_data, member.size)
    if item.member is None:
        raise AudioError(f"{item.location} is a shard: say which of its members is meant")
    raise AudioError(f"{item.location} holds no member {item.member}")


def _filled(item: Item, member: tarfile.TarInfo, shard: tarfile.TarFile) -> bytes:
    """Return the bytes of a member that was stored without its holes."""
    if member.size > _LONGEST_SPARSE:
        raise AudioError(
            f"{item.member} in {item.location} has {member.size} bytes, most of them holes: unpack it first"
        )
    try:
        file = shard.extractfile(member)
        return b"" if file is None else file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AudioError(f"{item.location} is cut off or damaged: {item.member} cannot be read") from error


def _members(location: str) -> Iterator[tarfile.TarInfo]:
    """Yield the files in a shard."""
    for member, _ in _members_of(location):
        yield member


def _members_of(location: str) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield the files in a shard, and the shard."""
    n_read = 0
    with _opened(location) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as shard:
                while (member := shard.next()) is not None:
                    shard.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it keeps them otherwise
                    if member.isreg() or member.islnk():
                        n_read += 1
                        yield member, shard
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
