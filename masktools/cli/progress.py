"""Progress of long work on the error stream: a line that is written over, or lines of JSON."""

import json
import sys
import time
from pathlib import Path

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
            line = f"{int(100 * overall):3}%{of_all} {Path(self._file).name}{left}"
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


class Meter:
    """Counts recordings, as a line that is written over, as lines of JSON, or silently."""

    def __init__(self, mode: str = "auto") -> None:
        """Start.

        Args:
            mode: one of ``progress.MODES``.
        """
        self._mode = ("bar" if sys.stderr.isatty() else "none") if mode == "auto" else mode
        self._started: float | None = None
        self._n_before, self._shown = 0, 0.0

    def __call__(self, done: int, total: int) -> None:
        """Say how many are done; those of the first call were so before."""
        now = time.monotonic()
        if self._started is None:
            self._started, self._n_before = now, done
        if self._mode == "none" or (done < total and now - self._shown < _PAUSE_S):
            return
        self._shown = now
        n_new, passed_s = done - self._n_before, now - self._started
        rate = n_new / passed_s if n_new and passed_s > 0 else None
        left_s = None if rate is None else (total - done) / rate
        if self._mode == "json":
            state = {"done": done, "total": total}
            numbers = {"per_second": rate, "seconds_left": left_s}
            shown = {name: None if value is None else round(value, 2) for name, value in numbers.items()}
            sys.stderr.write(json.dumps(state | shown) + "\n")
        else:
            speed = "" if rate is None else f", {rate:.1f}/s" if rate >= 1 else f", {60 * rate:.1f}/min"
            left = "" if left_s is None or done >= total else f", {spoken(left_s)} left"
            line = f"{done / max(1, total):4.0%} {done}/{total}{speed}{left}"
            sys.stderr.write("\r" + line[:_WIDTH].ljust(_WIDTH))
        sys.stderr.flush()

    def finish(self) -> None:
        """Take the line away."""
        if self._mode == "bar":
            sys.stderr.write("\r" + " " * _WIDTH + "\r")
            sys.stderr.flush()
