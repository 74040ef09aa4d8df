"""Progress of long work on the error stream: a line that is written over, or lines of JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

MODES = ("auto", "bar", "json", "none")
"""auto is a bar on a terminal and nothing elsewhere."""

_WIDTH = 78
_PAUSE_S = 0.1  # between two states that are shown
_EVERY_S, _EVERY_S_UNWATCHED = 0.5, 60.0  # between two lines of ``counting``

Shower = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


def _write_over(line: str, is_last: bool) -> None:
    """Put a line in the place of the one before; the last one is taken away."""
    sys.stderr.write(f"\r{' ' * len(line)}\r" if is_last else f"\r{line}")
    sys.stderr.flush()


def percent() -> Callable[..., None] | None:
    """Return what shows how far a job has come, on a terminal; None where nobody watches.

    It is called with (done, total), or with the name of what is being done before these.
    """
    if not sys.stderr.isatty():
        return None

    def show(*state: Any) -> None:
        *what, done, total = state
        _write_over(" ".join([*what, f"{int(100 * done / total):3}%"]), done >= total)

    return show


def counting(what: str) -> Shower:
    """Return what writes how many are done, how fast, and the time left; seldom, where nobody watches."""
    watched = sys.stderr.isatty()
    began = said = time.monotonic()
    first: int | None = None  # how many were done before

    def show(done: int, total: int) -> None:
        nonlocal began, said, first
        now = time.monotonic()
        if first is None:
            first, began = done, now
        if done < total and now - said < (_EVERY_S if watched else _EVERY_S_UNWATCHED):
            return
        said = now
        rate = (done - first) / max(now - began, 1e-9)
        left = f", {rate:.1f} a second, {timedelta(seconds=round((total - done) / rate))} left" if rate else ""
        line = f"{done} of {total} {what}{left}"
        if watched:
            _write_over(f"{line:<70}", done >= total)
        elif done < total:
            sys.stderr.write(f"masktools: {line}\n")
            sys.stderr.flush()

    return show


class _Line:
    """A line about work that goes on: a bar, JSON, or nothing."""

    def __init__(self, mode: str = "auto") -> None:
        """Start.

        Args:
            mode: one of ``MODES``.
        """
        self._mode = ("bar" if sys.stderr.isatty() else "none") if mode == "auto" else mode
        self._started, self._shown = time.monotonic(), 0.0

    @property
    def watched(self) -> bool:
        """Whether anything is shown."""
        return self._mode != "none"

    def finish(self) -> None:
        """Take the line away."""
        if self._mode == "bar":
            _write_over(" " * _WIDTH, True)

    def _is_due(self, always: bool) -> bool:
        """Tell whether the line is to be written again."""
        now = time.monotonic()
        due = self.watched and (always or now - self._shown >= _PAUSE_S)
        self._shown = now if due else self._shown
        return due

    def _show(self, state: dict[str, Any], line: str) -> None:
        if self._mode == "json":
            sys.stderr.write(json.dumps(state) + "\n")
            sys.stderr.flush()
        else:
            _write_over(line[:_WIDTH].ljust(_WIDTH), False)


class Watcher(_Line):
    """Tells how far one recording of several is, and how long the rest will take."""

    def __init__(self, mode: str = "auto", n_files: int = 1) -> None:
        """Start.

        Args:
            mode: one of ``MODES``.
            n_files: recordings in all.
        """
        super().__init__(mode)
        self._n_files, self._n_done, self._file = n_files, 0, ""

    @contextmanager
    def on(self, file: Path) -> Iterator[Shower | None]:
        """Show one recording as long as a block lasts, which is given ``step``; None where nobody watches."""
        self.begin(file)
        try:
            yield self.step if self.watched else None
        finally:
            self.finish()

    def begin(self, file: Path) -> None:
        """Say which recording is next."""
        self._file = str(file)
        self._tell(0.0, always=True)

    def step(self, done: int, total: int) -> None:
        """Say how far the recording is."""
        self._tell(done / max(1, total))

    def step_of_all(self, done: int, total: int) -> None:
        """Say how far all recordings together are, where they are made side by side."""
        self._tell(min(1.0, max(0.0, self._n_files * done / max(1, total) - self._n_done)))

    def end(self, file: Path | None = None) -> None:
        """Say that a recording is done, and perhaps which one; several jobs do not tell more."""
        self._n_done += 1
        self._file = self._file if file is None else str(file)
        self._tell(0.0, always=True)

    def _tell(self, share: float, always: bool = False) -> None:
        if not self._is_due(always):
            return
        overall = min(1.0, (self._n_done + share) / max(1, self._n_files))
        left_s = (time.monotonic() - self._started) * (1 - overall) / overall if overall > 0 else None
        state = {"file": self._file, "share": round(share, 4), "files_done": self._n_done, "files": self._n_files}
        state["seconds_left"] = None if left_s is None else round(left_s, 1)
        of_all = f" {min(self._n_done + 1, self._n_files)}/{self._n_files}" if self._n_files > 1 else ""
        left = "" if left_s is None or overall >= 1 else f", {spoken(left_s)} left"
        self._show(state, f"{int(100 * overall):3}%{of_all} {Path(self._file).name}{left}")


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


class Meter(_Line):
    """Counts recordings; those of the first call were done before."""

    _n_before: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Say how many are done."""
        now = time.monotonic()
        if self._n_before is None:
            self._started, self._n_before = now, done
        if not self._is_due(done >= total):
            return
        n_new, passed_s = done - self._n_before, now - self._started
        rate = n_new / passed_s if n_new and passed_s > 0 else None
        left_s = None if rate is None else (total - done) / rate
        numbers = {"per_second": rate, "seconds_left": left_s}
        shown = {name: None if value is None else round(value, 2) for name, value in numbers.items()}
        speed = "" if rate is None else f", {rate:.1f}/s" if rate >= 1 else f", {60 * rate:.1f}/min"
        left = "" if left_s is None or done >= total else f", {spoken(left_s)} left"
        self._show({"done": done, "total": total} | shown, f"{done / max(1, total):4.0%} {done}/{total}{speed}{left}")
