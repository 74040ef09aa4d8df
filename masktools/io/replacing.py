"""A file is there as a whole, or not at all; what cannot be written is told in one line, with its cause."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import soundfile

from masktools.errors import AudioError
from masktools.io.checks import reason_of
from masktools.io.parts import half_written

__all__ = ["replacing", "telling"]

_ASKED = bytes(1 << 20)  # that a disk is asked to take, to say why it took no more


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new name beside ``path``: what is written there takes its place, or vanishes on any failure.

    Raises:
        AudioError: it cannot be written: the disk is full, or closed to us.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    with half_written(target) as part, telling(path, part):
        part.touch(exist_ok=False)
        yield part
        with suppress(OSError):  # a new file has no rights to keep, and some file systems have none at all
            shutil.copymode(target, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)


@contextmanager
def telling(path: Path, part: Path | None = None) -> Iterator[None]:
    """Tell in one line why a file cannot be written, whatever the library that writes it says.

    Args:
        path: the file.
        part: what is written in its place until it is complete; where a library does not say what is wrong, the disk is
            asked there.

    Raises:
        AudioError: it cannot be written.
    """
    try:
        yield
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path} cannot be written: {_cause(error, part)}") from error


def _cause(error: Exception, part: Path | None) -> str:
    """Return why something could not be written, in the words of the operating system where it can be had."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if part is not None:
        try:
            with part.open("ab", buffering=0) as file:
                file.write(_ASKED)
                os.fsync(file.fileno())
        except OSError as said:
            return said.strerror or str(said)
    return " ".join(reason_of(error).split()) or "is the disk full?"
