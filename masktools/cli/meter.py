"""How many of many recordings are done, how fast they go and how long the rest will take, on the error stream."""

import json
import sys
import time

from masktools.cli.progress import spoken

__all__ = ["Meter"]

_WIDTH = 78
_PAUSE_S = 0.2  # between two states that are shown


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
