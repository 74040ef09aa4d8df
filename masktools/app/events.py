"""Server-sent events: what happens is numbered, kept a while, and told to every page that listens."""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

KEPT = 1000
SILENCE_S = 15.0  # after which a comment shows that the line stands
_QUEUED = 4096  # events that a page may be behind before it is dropped, and comes again


class Events:
    """Log of events, for pages that come and go.

    An id is of this run of the server; who comes with one of an earlier run, or with one that is forgotten, is told
    ``reset``: everything may be another.
    """

    def __init__(self) -> None:
        self._run, self._n = secrets.token_hex(4), 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._pages: set[asyncio.Queue[bytes | None]] = set()

    def tell(self, event: str, **data: Any) -> None:
        """Tell every page."""
        self._n += 1
        message = self._message(event, data)
        self._kept.append((self._n, message))
        for page in list(self._pages):
            try:
                page.put_nowait(message)
            except asyncio.QueueFull:
                self._pages.discard(page)
                page.get_nowait()
                page.put_nowait(None)

    def _message(self, event: str, data: dict[str, Any]) -> bytes:
        return f"id: {self._run}-{self._n}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()

    def end(self) -> None:
        """Let every page go."""
        for page in self._pages:
            if page.full():
                page.get_nowait()
            page.put_nowait(None)

    async def stream(self, last: str | None) -> AsyncIterator[bytes]:
        """Yield what a page is sent: first what it has missed since the last id that it knows."""
        page: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED)
        missed = self._since(last)
        self._pages.add(page)
        try:
            yield b"retry: 1000\n: masktools\n\n"
            for message in missed:
                yield message
            while True:
                try:
                    message = await asyncio.wait_for(page.get(), SILENCE_S)
                except TimeoutError:
                    message = b": still here\n\n"
                if message is None:
                    return
                yield message
        finally:
            self._pages.discard(page)

    def _since(self, last: str | None) -> list[bytes]:
        if not last:
            return []
        run, _, number = last.partition("-")
        known = int(number) if number.isdecimal() and len(number) < 16 else -1
        first = self._kept[0][0] if self._kept else self._n + 1
        if run != self._run or not first - 1 <= known <= self._n:
            return [self._message("reset", {})]
        return [message for n, message in self._kept if n > known]
