"""A file is there as a whole, or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import soundfile

from masktools.errors import AudioError
from masktools.io.checks import reason_of

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new name beside ``path``: what is written there takes its place, or vanishes on any failure."""
    target = Path(os.path.realpath(path))  # a link stays a link
    part = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.part")
    try:
        part.touch(exist_ok=False)
        yield part
        with suppress(OSError):  # a new file has no rights to keep, and some file systems have none at all
            shutil.copymode(target, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error) or "is the disk full?"
        raise AudioError(f"{path} cannot be written: {reason}") from error
    finally:
        part.unlink(missing_ok=True)
