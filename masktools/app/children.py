"""The other end of a link: what a process does that works for the server."""

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO

from masktools.app.refusals import refusal_of
from masktools.jsons import parse_json

Answer = dict[str, Any] | tuple[dict[str, Any], bytes]
Handler = Callable[..., Answer]


class Server:
    """The way to the server: answers to it, and events."""

    def __init__(self) -> None:
        self._out = _own_output()
        self._lock = threading.Lock()

    def tell(self, event: str, **more: Any) -> None:
        """Tell something unasked."""
        self._send({"event": event, **more})

    def answer(self, number: int, handler: Handler, question: dict[str, Any]) -> None:
        """Answer a question by what a handler returns, or raises."""
        try:
            made = handler(**question)
        except Exception as error:  # whatever goes wrong is the answer
            refused = refusal_of(error)
            parts = {"status": refused.status, "message": str(refused), "field": refused.field, "hint": refused.hint}
            self._send({"n": number, "refused": parts})
            return
        told, behind = made if isinstance(made, tuple) else (made, b"")
        self._send({"n": number, "told": told, "bytes": len(behind)}, behind)

    def _send(self, told: dict[str, Any], behind: bytes = b"") -> None:
        with self._lock, suppress(BrokenPipeError):
            self._out.write(json.dumps(told).encode() + b"\n" + behind)
            self._out.flush()

    def serve(self, handlers: Mapping[str, Handler], n_threads: int) -> None:
        """Answer questions until the server has gone; then this process ends at once."""
        with ThreadPoolExecutor(n_threads) as pool:
            for line in sys.stdin.buffer:
                question = parse_json(line)
                number, handler = question.pop("n"), handlers[question.pop("do")]
                pool.submit(self.answer, number, handler, question)
            os._exit(0)


def _own_output() -> BinaryIO:
    """Return standard output for us alone: what libraries print goes where errors go."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own
