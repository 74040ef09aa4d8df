"""Items -> waves: files, URLs (fsspec), and members of tar shards in the format of WebDataset."""

import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np

from masktools.core.errors import AudioError, MasktoolsError, ParameterError
from masktools.extraction.items import Item
from masktools.io import Recording, is_recording, open_recording

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a disk
_DRIVE = re.compile(r"^/[A-Za-z]:[/\\]")  # as in file:///C:/music
_WILDCARD = re.compile(r"[*?\[]")


def is_url(location: str) -> bool:
    """Tell whether a location is a URL.

    >>> is_url("s3://bucket/a.wav"), is_url("music/a.wav")
    (True, False)
    """
    return bool(_SCHEME.match(location))


def as_local(location: str) -> str:
    """Return the path of a file:// URL, unescaped; other locations unchanged.

    >>> as_local("file:///music/a%20b.wav"), as_local("file://localhost/a.wav"), as_local("s3://bucket/a.wav")
    ('/music/a b.wav', '/a.wav', 's3://bucket/a.wav')
    """
    if location[:7].lower() != "file://":
        return location
    path = location[7:]
    if path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    local = os.fsdecode(unquote_to_bytes(os.fsencode(path)))
    return local[1:] if _DRIVE.match(local) else local


def has_wildcard(location: str) -> bool:
    """Tell whether a location is a pattern; a ? before the query of a URL does not count."""
    return bool(_WILDCARD.search(location)) and not location.startswith(("http://", "https://"))


def ending_of(location: str) -> str:
    """Return the suffix of a file's name in lower case, without the query of a URL.

    >>> ending_of("https://host/a.WAV?version=2"), ending_of("a.tar.gz"), ending_of("folder.d/a")
    ('.wav', '.gz', '')
    """
    name = re.split(r"[?#]", location, maxsplit=1)[0] if is_url(location) else location
    name = name.rsplit("/", 1)[-1]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def fetch(location: str, first_byte: int | None = None, n_bytes: int | None = None) -> bytes:
    """Return the bytes of a file, or a range of them.

    Raises:
        AudioError: it is missing, or cannot be read.
        ParameterError: a package for this kind of URL is missing.
    """
    if n_bytes == 0:
        return b""
    stop = None if first_byte is None or n_bytes is None else first_byte + n_bytes
    with _reaching(location) as (system, path):
        return system.cat_file(path, start=first_byte, end=stop)


@contextmanager
def opened_bytes(location: str) -> Iterator[Any]:
    """Open a file, or a URL, for reading and seeking.

    Raises:
        AudioError: it is missing, or cannot be read.
        ParameterError: a package for this kind of URL is missing.
    """
    if is_url(location):
        with _reaching(location) as (system, path):
            file = system.open(path, "rb", block_size=1 << 18)
    else:
        try:
            file = open(location, "rb")  # noqa: SIM115
        except FileNotFoundError as error:
            raise AudioError(f"{location} does not exist") from error
        except OSError as error:
            raise AudioError(f"{location} cannot be read: {(error.strerror or str(error)).lower()}") from error
    with file:
        yield file


def names_below(url: str, recursive: bool) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder, or those that match a pattern, as (path relative to the folder, URL), by name.

    Raises:
        AudioError: the folder is missing, or cannot be read.
        ParameterError: a package for this kind of URL is missing.
    """
    with _reaching(url) as (system, path):
        if has_wildcard(url):
            found, root = system.glob(path), _WILDCARD.split(path)[0].rpartition("/")[0].strip("/")
        else:
            found, root = system.find(path, maxdepth=None if recursive else 1), path.strip("/")
        names = sorted(name for name in map(str, found) if name.strip("/").startswith(root))
    for name in names:
        below = name.strip("/")[len(root) :].lstrip("/")
        if below and not any(part.startswith(".") for part in below.split("/")):
            yield below, system.unstrip_protocol(name)


@contextmanager
def _reaching(location: str) -> Iterator[tuple[Any, str]]:
    """Yield the file system of a URL and the path in it; errors become one line."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ParameterError(
            f'{location} cannot be reached without fsspec: pip install "masktools[remote]", or copy it here'
        ) from None
    try:
        place = url_to_fs(location)
    except (ImportError, ValueError) as error:  # no package for this kind of URL, or no such kind
        raise ParameterError(f"{location} cannot be reached: {error}") from error
    except Exception as error:  # every kind of storage has its own errors
        raise _refused(location, error) from error
    try:
        yield place
    except MasktoolsError:
        raise
    except Exception as error:
        raise _refused(location, error) from error


def _refused(location: str, error: Exception) -> AudioError:
    if isinstance(error, FileNotFoundError):
        return AudioError(f"{location} does not exist")
    reason = " ".join(str(error).split()) or type(error).__name__
    return AudioError(f"{location} cannot be read: {reason}")


SHARD_ENDING = ".tar"
_LONGEST_SPARSE = 1 << 33  # bytes of a sparse member that is expanded in memory


def shard_items(key: str, location: str) -> Iterator[Item]:
    """Yield the recordings in a shard, in its order; only its headers are read.

    A shard that is cut off or damaged yields the members before the damage, and then itself: reading that item raises
    the error, so that one bad shard of thousands is reported and does not stop the rest.

    Args:
        key: key of the shard; those of its recordings are "key/member".
        location: path or URL of the shard.
    """
    try:
        for member, _ in _members_of(location):
            if is_recording(member.name):
                # Sparse files and links have no plain range of bytes.
                place = (None, None) if member.issparse() or member.islnk() else (member.offset_data, member.size)
                yield Item(f"{key}/{member.name.removeprefix('./')}", location, member.name, None, None, *place)
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
        with opened_bytes(item.location) as file:
            file.seek(first_byte)
            held = file.read(n_bytes)
    if len(held) < n_bytes:
        raise AudioError(f"{item.location} is cut off: it holds {len(held)} of the {n_bytes} bytes of {item.member}")
    return held


def _found(item: Item) -> bytes:
    """Return the bytes of a member, found by its name; sparse files are expanded, and links followed."""
    wanted = item.member
    for _ in range(2):  # a link points to an earlier member, so the search starts again
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
    """Return the bytes of a sparse member, expanded."""
    if member.size > _LONGEST_SPARSE:
        raise AudioError(
            f"{item.member} in {item.location} has {member.size} bytes, most of them holes: unpack it first"
        )
    try:
        file = shard.extractfile(member)
        return b"" if file is None else file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AudioError(f"{item.location} is cut off or damaged: {item.member} cannot be read") from error


def _members_of(location: str) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield the files in a shard, and the shard."""
    n_read = 0
    with opened_bytes(location) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as shard:
                while (member := shard.next()) is not None:
                    shard.members = []  # pyright: ignore[reportAttributeAccessIssue]  # a list that grows otherwise
                    if member.isreg() or member.islnk():
                        n_read += 1
                        yield member, shard
        except (tarfile.TarError, EOFError, OSError) as error:
            reason = "it must be a tar file that is not compressed" if not n_read else "it is damaged or cut off"
            raise AudioError(f"{location} cannot be read behind its first {n_read} members: {reason}") from error


def read_item(item: Item) -> tuple[np.ndarray, int]:
    """Return the samples (channels, t) float32 of an item, full scale 1, and their sample rate in Hz.

    A stop behind the end of the recording means its end.

    Raises:
        AudioError: the recording is missing, damaged, no audio, not finite, or ends before the item starts.
        ParameterError: a package for this kind of URL is missing.
    """
    if item.member is not None or ending_of(item.location) == SHARD_ENDING:
        held, called = member_bytes(item), f"{item.location}/{item.member}"
    elif is_url(item.location):
        held, called = fetch(item.location), item.location
    else:
        return _part(item, item.location)
    # Audio libraries need a file, and every check of files applies to this one.
    with tempfile.TemporaryDirectory(prefix="masktools-") as folder:
        path = os.path.join(folder, f"recording{ending_of(item.member or item.location)}")
        Path(path).write_bytes(held)
        try:
            return _part(item, path)
        except AudioError as error:
            raise AudioError(str(error).replace(path, called)) from error


def _part(item: Item, path: str) -> tuple[np.ndarray, int]:
    with open_recording(path) as recording:
        return recording.read(*span_of(item, recording)), recording.sample_rate


def span_of(item: Item, recording: Recording) -> tuple[int, int]:
    """Return the first sample of an item in its recording, and the one behind its last.

    Raises:
        AudioError: the recording ends before the item starts.
    """
    rate, n = recording.sample_rate, recording.n_samples
    start = round((item.start_s or 0.0) * rate)
    if start >= n:
        raise AudioError(
            f"{recording.path} ends at {recording.duration_s:.3f} s, before {item.key} starts: {item.start_s:g} s"
        )
    return start, n if item.stop_s is None else min(n, max(start + 1, round(item.stop_s * rate)))
