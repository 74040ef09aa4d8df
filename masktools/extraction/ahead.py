"""Work that is done by other threads before its turn comes, within a budget of memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar, runtime_checkable

__all__ = ["ahead"]

_MOST = 64  # results that wait at once
_BUDGET = 1 << 27  # bytes of results that wait

In = TypeVar("In")


@runtime_checkable
class _Sized(Protocol):
    @property
    def n_bytes(self) -> int: ...


Out = TypeVar("Out", bound=_Sized)


def ahead(function: Callable[[In], Out], values: Iterable[In], n_threads: int) -> Generator[Out, None, None]:
    """Yield a function of each value, in order; threads compute the next ones while the caller is busy.

    Args:
        function: what is to be computed; what it raises is raised here.
        values: as many as there are; they are taken as they are needed.
        n_threads: how many compute at once.
    """
    source = iter(values)
    waiting: deque[Future[Out]] = deque()
    largest = 0  # of those that came lately
    pool = ThreadPoolExecutor(n_threads, "masktools-decode")
    try:
        while True:
            room = min(_MOST, max(n_threads + 1, _BUDGET // max(1, largest)))
            waiting.extend(pool.submit(function, value) for value in islice(source, max(0, room - len(waiting))))
            if not waiting:
                return
            result = waiting.popleft().result()
            largest = max(result.n_bytes, largest * 7 // 8)
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
