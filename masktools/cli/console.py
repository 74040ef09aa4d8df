"""The streams that a command writes on, and the signals that end it."""

import contextlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

_FIRST_FILES = (0, 1, 2)  # standard input, output and error


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Make the standard streams usable while a command runs, and write what parts of masktools log on the last."""
    _hold_places()
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as opened:
        sys.stdout, sys.stderr = (_usable(stream, opened) for stream in before)
        handler = _Lines()
        logger = logging.getLogger("masktools")
        logger.addHandler(handler)
        propagated, logger.propagate = logger.propagate, False
        try:
            yield
        finally:
            logger.propagate = propagated
            logger.removeHandler(handler)
            sys.stdout, sys.stderr = before


class _Lines(logging.Handler):
    """Writes each message as one line of warning."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"masktools: warning: {' '.join(record.getMessage().splitlines())}\n")


def _hold_places() -> None:
    """Open what is closed of the first three files, so that no recording that is opened next takes their places."""
    for number in _FIRST_FILES:
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _usable(stream: TextIO | None, opened: contextlib.ExitStack) -> TextIO:
    """Return a stream that takes every text; one that goes nowhere where there is none."""
    if stream is None or getattr(stream, "closed", False):
        return opened.enter_context(open(os.devnull, "w", encoding="utf-8", errors="backslashreplace"))
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def forget_stdout() -> None:
    """Point standard output nowhere, so that Python does not complain again while it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_SIGNALS = ("SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """The command was told to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name, self.exit_code = signal.Signals(number).name, 128 + number  # as shells tell it


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise ``Ended`` in the block when the process is told to end; what nohup has silenced stays silent."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        before = {number: handler for number, handler in before.items() if handler == signal.SIG_DFL}
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what is half written is being removed
    raise Ended(number)
