"""A file that takes its place when it is complete; until then it lies in the folder of parts, and vanishes with it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masktools.errors import AudioError

__all__ = ["placed", "writing"]


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
    with writing(path):
        yield part
        if durable:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell in one line why something cannot be written.

    Raises:
        AudioError: it cannot be written: the disk is full, or closed to us.
    """
    try:
        yield
    except OSError as error:
        raise AudioError(f"{path} cannot be written: {error.strerror or error}") from error
