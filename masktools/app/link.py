"""A process that works for the server: questions and answers are lines of JSON, an answer may have bytes behind it.

    {"number": 3, "do": "samples", ...}             to the process
    {"number": 3, "told": {...}, "bytes": 16}+16    from it: an answer
    {"number": 3, "refused": {...}}                 or why there is none
    {"event": "survey", ...}                   or what it tells unasked

A process ends when the server does, since its input ends then.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import masktools
from masktools.app.refusals import RefusalError
from masktools.core.configs import parse_json

Told = dict[str, Any]
_PATIENCE_S = 2.0
_LINE_BYTES = 1 << 26  # of the longest line: the answer about ten thousand gaps


class Process:
    """A process of this machine that is started when it is first asked, and again when it was lost."""

    def __init__(self, module: str, tell: Callable[[Told], None], lost: Callable[[int], None]) -> None:
        """Take what runs in it.

        Args:
            module: that is run.
            tell: called with what the process tells unasked.
            lost: called with its exit code when it has ended without being told to.
        """
        self._module, self._tell, self._lost = module, tell, lost
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, asyncio.Future[tuple[Told, bytes]]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._n, self._ending = 0, False

    @property
    def pid(self) -> int | None:
        """Its number; None while there is none."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process, if it does not run."""
        async with self._starting:
            if self._process is not None:
                return
            home = str(Path(masktools.__file__).parents[1])
            paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", self._module),  # -P: nothing of the folder that one stands in is run
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                limit=_LINE_BYTES,
                start_new_session=True,  # Ctrl-C is the server's affair
            )
            self._listening = asyncio.create_task(self._listen(self._process))

    async def ask(self, do: str, **more: Any) -> tuple[Told, bytes]:
        """Return the answer to a question, and the bytes behind it.

        Raises:
            RefusalError: what the process refuses, or that it was lost.
        """
        await self.start()
        process = self._process
        if process is None or process.stdin is None:
            raise RefusalError(503, f"the {self._name} was lost")
        self._n += 1
        number, answer = self._n, asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            with suppress(ConnectionError):  # that it has ended is told by who listens
                process.stdin.write(json.dumps({"number": number, "do": do, **more}).encode() + b"\n")
                await process.stdin.drain()
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        out = process.stdout
        while out is not None:
            try:
                line = await out.readline()
                told = parse_json(line)
                behind = await out.readexactly(told.get("bytes", 0))
            except (ValueError, asyncio.IncompleteReadError):
                break
            answer = self._waiting.get(told.get("number", 0))
            if answer is None or answer.done():
                if "event" in told:
                    self._tell(told)
            elif "refused" in told:
                answer.set_exception(RefusalError(**told["refused"]))
            else:
                answer.set_result((told["told"], behind))
        try:
            code = await asyncio.wait_for(process.wait(), _PATIENCE_S)
        except TimeoutError:  # it tells no more, and does not end
            self.signal(signal.SIGKILL)
            code = await process.wait()
        self._process = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(RefusalError(503, f"the {self._name} {_ended(code)}", hint="try again"))
        if not self._ending:
            self._lost(code)

    @property
    def _name(self) -> str:
        return f"process that {'computes' if 'worker' in self._module else 'reads audio'}"

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)  # asyncio's own way may take its exit code from who waits for it

    async def end(self) -> None:
        """End it."""
        self._ending = True
        process, listening = self._process, self._listening
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 1.0)
            except TimeoutError:
                self.signal(signal.SIGKILL)
        if listening is not None:
            await listening
        self._ending = False


def _ended(code: int) -> str:
    """Return how a process ended, in words.

    >>> _ended(-9), _ended(1)
    ('was killed (SIGKILL): was there too little memory?', 'ended with code 1')
    """
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL): was there too little memory?"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
