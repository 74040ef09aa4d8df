"""A file that takes its place when it is complete; until then it lies in the folder of parts, and vanishes with it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from masktools.errors import ParameterError
from masktools.io import telling

__all__ = ["LOCK", "locked", "placed"]

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
