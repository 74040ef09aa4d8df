"""The other end of a link: what a process does that works for the server."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, BinaryIO

from masktools.app.refusals import refusal_of
from masktools.core.configs import parse_json

Answer = dict[str, Any] | tuple[dict[str, Any], bytes]
Handler = Callable[..., Answer]
_PATIENCE_S = 3.0  # for a process to clean up behind itself when the server is gone


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
            self._send({"number": number, "refused": parts})
            return
        told, behind = made if isinstance(made, tuple) else (made, b"")
        self._send({"number": number, "told": told, "bytes": len(behind)}, behind)

    def _send(self, told: dict[str, Any], behind: bytes = b"") -> None:
        with self._lock, suppress(BrokenPipeError):
            self._out.write(json.dumps(told).encode() + b"\n" + behind)
            self._out.flush()

    def serve(
        self, handlers: Mapping[str, Handler], n_threads: int = 0, urgent: Mapping[str, Handler] | None = None
    ) -> None:
        """Answer questions until the server has gone; then this process ends, and does so when it is told to.

        Args:
            handlers: function for each kind of request.
            n_threads: threads that answer; 0 for the main one, which can be stopped: it cleans up behind itself.
            urgent: kinds of requests that are answered at once, beside others.
        """
        waiting: SimpleQueue[str | bytes] = SimpleQueue()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

        def listen() -> None:
            # Not sys.stdin: the interpreter closes that when it ends, and aborts if this thread is reading from it.
            for line in os.fdopen(os.dup(0), "rb"):
                question = parse_json(line)
                if urgent is not None and question["do"] in urgent:
                    self.answer(question.pop("number"), urgent[question.pop("do")], question)
                else:
                    waiting.put(line)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_PATIENCE_S)
            os._exit(1)

        threading.Thread(target=listen, daemon=True, name="questions").start()
        pool = ThreadPoolExecutor(n_threads) if n_threads else None
        try:
            while True:
                question = parse_json(waiting.get())
                number, handler = question.pop("number"), handlers[question.pop("do")]
                if pool is None:
                    self.answer(number, handler, question)
                else:
                    pool.submit(self.answer, number, handler, question)
        finally:
            if pool is not None:
                os._exit(0)  # threads hold nothing that must be put away


def _own_output() -> BinaryIO:
    """Return standard output for us alone: what libraries print goes where errors go."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own
