"""Files that lie behind URLs (s3, gs, http, ...), through the packages of fsspec."""

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from masktools.errors import AudioError, ParameterError

__all__ = ["as_local", "ending_of", "fetch", "has_wildcard", "is_url", "names_below", "open_bytes"]

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
    """Return the path that a file:// URL names, without the URL's escapes; anything else as it is.

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
    """Tell whether a location is a pattern; a ? that begins the query of an address is none."""
    return bool(_WILDCARD.search(location)) and not location.startswith(("http://", "https://"))


def ending_of(location: str) -> str:
    """Return the ending of a file's name in lower case, without what follows it in a URL.

    >>> ending_of("https://host/a.WAV?version=2"), ending_of("a.tar.gz"), ending_of("folder.d/a")
    ('.wav', '.gz', '')
    """
    name = re.split(r"[?#]", location, maxsplit=1)[0] if is_url(location) else location
    name = name.rsplit("/", 1)[-1]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def fetch(location: str, first_byte: int | None = None, n_bytes: int | None = None) -> bytes:
    """Return the bytes of a file, or those asked for.

    Raises:
        AudioError: it is missing, or cannot be read.
        ParameterError: a package for this kind of URL is missing.
    """
    stop = None if first_byte is None or n_bytes is None else first_byte + n_bytes
    if n_bytes == 0:
        return b""
    try:
        system, path = _system(location)
        return system.cat_file(path, start=first_byte, end=stop)
    except ParameterError:
        raise
    except Exception as error:  # each kind of storage has errors of its own
        raise _refused(location, error) from error


def open_bytes(location: str) -> Any:
    """Return a file behind a URL that is open for reading and for seeking.

    Raises:
        AudioError: it is missing, or cannot be read.
        ParameterError: a package for this kind of URL is missing.
    """
    try:
        system, path = _system(location)
        return system.open(path, "rb", block_size=1 << 18)
    except ParameterError:
        raise
    except Exception as error:  # each kind of storage has errors of its own
        raise _refused(location, error) from error


def names_below(url: str, recursive: bool) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder or of a pattern with *, ? or [] as (path relative to the folder, URL), by name.

    Raises:
        AudioError: the folder is missing, or cannot be read.
        ParameterError: a package for this kind of URL is missing.
    """
    try:
        system, path = _system(url)
        if has_wildcard(url):
            found, root = system.glob(path), _WILDCARD.split(path)[0].rpartition("/")[0].strip("/")
        else:
            found, root = system.find(path, maxdepth=None if recursive else 1), path.strip("/")
        names = sorted(name for name in map(str, found) if name.strip("/").startswith(root))
    except ParameterError:
        raise
    except Exception as error:  # each kind of storage has errors of its own
        raise _refused(url, error) from error
    for name in names:
        below = name.strip("/")[len(root) :].lstrip("/")
        if below and not any(part.startswith(".") for part in below.split("/")):
            yield below, system.unstrip_protocol(name)


def _system(location: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ParameterError(
            f'{location} cannot be reached without fsspec: pip install "masktools[remote]", or copy it here'
        ) from None
    try:
        return url_to_fs(location)
    except (ImportError, ValueError) as error:  # no package for this kind of URL, or no such kind
        raise ParameterError(f"{location} cannot be reached: {error}") from error


def _refused(location: str, error: Exception) -> AudioError:
    if isinstance(error, FileNotFoundError):
        return AudioError(f"{location} does not exist")
    reason = " ".join(str(error).split()) or type(error).__name__
    return AudioError(f"{location} cannot be read: {reason}")
