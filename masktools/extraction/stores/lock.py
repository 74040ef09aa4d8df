"""One process at a time works on a folder; when it ends, however it does, the folder is free again."""

from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path

from masktools.errors import ParameterError

__all__ = ["LOCK", "locked"]

LOCK = "lock"
"""The file in the folder that is held."""


def locked(folder: Path) -> BufferedIOBase:
    """Return an open file that keeps other processes from a folder, which is made, until it is closed.

    File systems and operating systems that have no locks let everybody in.

    Raises:
        ParameterError: another process is at work there.
    """
    folder.mkdir(exist_ok=True)
    file = (folder / LOCK).open("ab")
    try:
        import fcntl

        with suppress(OSError):
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.close()
                raise ParameterError(f"another process is at work on {folder}: wait for it, or end it") from error
    except ImportError:
        return file
    return file
