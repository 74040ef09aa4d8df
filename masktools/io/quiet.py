"""What decoders write on the error stream behind Python's back is left out; what others write there is kept."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["without_chatter"]

_CHATTER = re.compile(rb"^(\[[^\]]*libmpg123|(Note|Warning|NOTE): |\s*$|.*mpg123)")
_STDERR = 2
_lock = threading.RLock()
_depth = 0
_held: tuple[IO[bytes], int] | None = None  # what is written meanwhile, and the stream itself


@contextmanager
def without_chatter() -> Iterator[None]:
    """Leave out what libmpg123 says about an MP3 file; several threads may do so at once."""
    _begin()
    try:
        yield
    finally:
        _end()


def _begin() -> None:
    global _depth, _held
    with _lock:
        _depth += 1
        if _depth > 1:
            return
        try:
            stream = os.dup(_STDERR)
        except OSError:  # it is closed
            return
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        os.dup2(file.fileno(), _STDERR)
        _held = file, stream


def _end() -> None:
    global _depth, _held
    with _lock:
        _depth -= 1
        if _depth or _held is None:
            return
        (file, stream), _held = _held, None
        os.dup2(stream, _STDERR)
        os.close(stream)
        with file:
            file.seek(0)
            for line in file.read().splitlines(keepends=True):
                if not _CHATTER.match(line):
                    os.write(_STDERR, line)
