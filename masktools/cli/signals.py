"""A command that is told to end (SIGTERM, SIGHUP) cleans up behind itself, as one that is interrupted does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Ended", "ended_by_signals"]

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
