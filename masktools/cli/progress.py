"""How far a command has come, on the error stream: a line that is written over, lines of JSON, or nothing."""

import json
import sys
import time
from pathlib import Path

__all__ = ["MODES", "Watcher", "spoken"]

MODES = ("auto", "bar", "json", "none")
"""auto is a bar on a terminal and nothing elsewhere."""

_WIDTH = 78
_PAUSE_S = 0.1  # between two states that are shown


class Watcher:
    """Tells how far one recording of several is, and how long the rest will take."""

    def __init__(self, mode: str = "auto", n_files: int = 1) -> None:
        """Start.

        Args:
            mode: one of ``MODES``.
            n_files: recordings in all.
        """
        self._mode = ("bar" if sys.stderr.isatty() else "none") if mode == "auto" else mode
        self._n_files, self._n_done, self._file = n_files, 0, ""
        self._started, self._shown = time.monotonic(), 0.0

    @property
    def watched(self) -> bool:
        """Whether anything is shown."""
        return self._mode != "none"

    def begin(self, file: Path) -> None:
        """Say which recording is next."""
        self._file = str(file)
        self._show(0.0, always=True)

    def step(self, done: int, total: int) -> None:
        """Say how far the recording is."""
        self._show(done / max(1, total))

    def step_of_all(self, done: int, total: int) -> None:
        """Say how far all recordings together are, where they are made side by side."""
        self._show(min(1.0, max(0.0, self._n_files * done / max(1, total) - self._n_done)))

    def end(self, file: Path | None = None) -> None:
        """Say that a recording is done, and perhaps which one; several jobs do not tell more."""
        self._n_done += 1
        self._file = self._file if file is None else str(file)
        self._show(0.0, always=True)

    def finish(self) -> None:
        """Take the line away."""
        if self._mode == "bar":
            sys.stderr.write("\r" + " " * _WIDTH + "\r")
            sys.stderr.flush()

    def _show(self, share: float, always: bool = False) -> None:
        now = time.monotonic()
        if not self.watched or (not always and now - self._shown < _PAUSE_S):
            return
        self._shown = now
        overall = min(1.0, (self._n_done + share) / max(1, self._n_files))
        left_s = (now - self._started) * (1 - overall) / overall if overall > 0 else None
        if self._mode == "json":
            state = {"file": self._file, "share": round(share, 4), "files_done": self._n_done, "files": self._n_files}
            state["seconds_left"] = None if left_s is None else round(left_s, 1)
            sys.stderr.write(json.dumps(state) + "\n")
        else:
            of_all = f" {min(self._n_done + 1, self._n_files)}/{self._n_files}" if self._n_files > 1 else ""
            left = "" if left_s is None or overall >= 1 else f", {spoken(left_s)} left"
            line = f"{overall:4.0%}{of_all} {Path(self._file).name}{left}"
            sys.stderr.write("\r" + line[:_WIDTH].ljust(_WIDTH))
        sys.stderr.flush()


def spoken(seconds: float) -> str:
    """Return a duration as people write it.

    >>> spoken(5), spoken(125), spoken(7260)
    ('5 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
