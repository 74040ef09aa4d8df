"""Notes of what is done, a line of JSON each: added to and never rewritten, so that none is lost with a process."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from masktools.io.replacing import telling
from masktools.jsons import parse_json

__all__ = ["JsonLines"]

_SYNC_S = 1.0  # what a power failure may cost; a process that is killed loses nothing


class JsonLines:
    """A file that several processes may add to at once; a line that was cut off is no line."""

    def __init__(self, path: Path) -> None:
        """Take a file, which need not exist yet: it is made with its first line."""
        self.path = path
        self._synced = 0.0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the entries; what is none is left out."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = parse_json(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry

    def add(self, entry: dict[str, Any]) -> None:
        """Add a line; it is there when this returns, whatever becomes of the process.

        Raises:
            AudioError: it cannot be written.
        """
        line = json.dumps(entry).encode() + b"\n"
        with telling(self.path), self.path.open("ab+", buffering=0) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # behind one that was cut off
            if file.write(line) != len(line):
                raise OSError(f"no room for {len(line)} bytes")
            now = time.monotonic()
            if now - self._synced > _SYNC_S:
                self._synced = now
                os.fsync(file.fileno())
