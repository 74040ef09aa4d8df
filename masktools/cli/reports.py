"""The report of a command that takes many files: whole at any time, and written again ever more seldom as it grows."""

import json
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masktools.cli.files import is_file, plain

__all__ = ["GrowingReport", "is_report"]

_PAUSE_S = 1.0  # between two writings, and
_SHARE = 0.1  # of the time that passes may be spent on writing


class GrowingReport:
    """A JSON object with a list in it: on the disk as far as it had come a while ago, and after ``write`` all of it."""

    def __init__(self, path: Path | None, head: Mapping[str, Any], name: str = "files") -> None:
        """Begin without entries.

        Args:
            path: where to; None for nowhere.
            head: what stands before the list.
            name: of the list.
        """
        self._path, self._name = path, name
        self._head = json.dumps(dict(head), indent=2, default=plain).removesuffix("\n}")
        self._entries: list[str] = []
        self._due = 0.0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, and write the report if the last time is long enough ago.

        Raises:
            AudioError: it cannot be written.
        """
        if self._path is None:
            return
        self._entries.append(textwrap.indent(json.dumps(entry, indent=2, default=plain), "    "))
        if time.monotonic() >= self._due:
            self.write()

    def write(self, **tail: Any) -> None:
        """Write the report.

        Args:
            **tail: what stands behind the list.

        Raises:
            AudioError: it cannot be written.
        """
        if self._path is None:
            return
        from masktools.io import replacing

        started = time.monotonic()
        with replacing(self._path) as part, part.open("w", encoding="utf-8") as file:
            file.write(f'{self._head},\n  "{self._name}": [')
            for number, entry in enumerate(self._entries):
                file.write(f"{',' if number else ''}\n{entry}")
            file.write("\n  ]" if self._entries else "]")
            for key, value in tail.items():
                file.write(f",\n  {json.dumps(key)}: {json.dumps(value, default=plain)}")
            file.write("\n}\n")
        now = time.monotonic()
        self._due = now + max(_PAUSE_S, (now - started) / _SHARE)


def is_report(path: Path | None) -> bool:
    """Tell whether a file is the report of a command that takes many files, so that the next may take its place."""
    if path is None or not is_file(path):
        return False
    with path.open("rb") as file:
        return file.read(64).startswith(b'{\n  "masktools"')
