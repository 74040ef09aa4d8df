"""The ``masktools`` command: find the sub-command, run it, and turn errors into one line and an exit code.

Exit codes: 0 done, 2 wrong usage or unusable input, 3 some of several files failed, 4 nothing to repair (--strict),
130 interrupted, 141 the reader of the output went away, 143 told to end.
"""

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any, TextIO

from masktools import __version__
from masktools.cli import app, bench, edit, embed, evaluate, generate, probe, restore, train
from masktools.cli.options import CommandParser, fail
from masktools.core.errors import MasktoolsError

COMMANDS = {
    "probe": probe.PROBE,
    "restore": restore.RESTORE,
    "inpaint": restore.INPAINT,
    "bwe": restore.BWE,
    "repair": edit.REPAIR,
    "continue": edit.CONTINUE,
    "extend": replace(edit.CONTINUE, hidden=True),
    "loop": edit.LOOP,
    "compare": probe.COMPARE,
    "app": app.APP,
    "generate": generate.GENERATE,
    "vary": generate.VARY,
    "coarsen": generate.COARSEN,
    "embed": embed.EMBED,
    "encode": edit.ENCODE,
    "decode": edit.DECODE,
    "models": train.MODELS,
    "bundle": train.BUNDLE,
    "push": train.PUSH,
    "convert": train.CONVERT,
    "cache": train.CACHE,
    "train": train.TRAIN,
    "evaluate": evaluate.EVALUATE,
    "sweep": evaluate.SWEEP,
    "bench": bench.BENCH,
    "demo": app.DEMO,
}
ABOUT = "masktools: one masked model of mel spectrograms that fills, extends, generates and embeds audio"
USAGE_ERROR, INTERRUPTED, READER_GONE = 2, 130, 141
_SPINS = "1000"  # after which a waiting thread of OpenMP sleeps: by default it would keep its core busy


class _TopParser(CommandParser):
    """The top parser, above the commands; its help is one table."""

    def format_help(self) -> str:
        """Return the table of commands."""
        shown = {name: command.help for name, command in COMMANDS.items() if not command.hidden}
        table = "\n".join(f"  {name:<10}{help}" for name, help in shown.items())
        return (
            f"{ABOUT}\n\nusage: masktools COMMAND ...\n\n{table}\n\n"
            "  --version  print the version\n  --help     print this, or after a command, its options\n"
        )


def make_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of one command of it."""
    parser = _TopParser(prog="masktools", description=ABOUT)
    parser.add_argument("--version", action="version", version=f"masktools {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    for name, command in COMMANDS.items() if only not in COMMANDS else [(only, COMMANDS[only])]:
        one = commands.add_parser(name, help=command.help, description=command.about or command.run.__doc__)
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if "OMP_WAIT_POLICY" not in os.environ:  # read when torch is loaded, which is after this
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    with told():
        try:
            with ended_by_signals():
                code = _run(argv)
            sys.stdout.flush()
        except BrokenPipeError:
            forget_stdout()
            return READER_GONE
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        args = make_parser(words[0] if words else None).parse_args(words)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return args.run(args)
    except SystemExit as leaving:  # its message has been printed
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except MasktoolsError as error:
        return _report(str(error), error.exit_code)
    except Ended as error:
        return _report(f"ended by {error.name}", error.exit_code)
    except KeyboardInterrupt:
        return _report("interrupted", INTERRUPTED)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _report(f"{error.strerror or error}{where}", USAGE_ERROR)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's own, which must not be imported here
            raise
        return _report("the device is out of memory: try a smaller --batch-size or --device cpu", USAGE_ERROR)


def _report(message: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(fail(message))
    return code


def _show_warning(message: Warning | str, *_: Any) -> None:
    sys.stderr.write(f"masktools: warning: {' '.join(str(message).splitlines())}\n")


_FIRST_FILES = (0, 1, 2)  # standard input, output and error


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Make the standard streams usable while a command runs, and print masktools' log messages on stderr."""
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
    """Log handler that prints each message as one line of warning."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"masktools: warning: {' '.join(record.getMessage().splitlines())}\n")


def _hold_places() -> None:
    """Open those of the standard file descriptors that are closed, so that no recording gets their numbers."""
    for number in _FIRST_FILES:
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _usable(stream: TextIO | None, opened: contextlib.ExitStack) -> TextIO:
    """Return a stream that accepts every text; a null stream where there is none."""
    if stream is None or getattr(stream, "closed", False):
        return opened.enter_context(open(os.devnull, "w", encoding="utf-8", errors="backslashreplace"))
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def forget_stdout() -> None:
    """Redirect standard output to nowhere, so that Python does not fail again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_SIGNALS = ("SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """The command was told to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name, self.exit_code = signal.Signals(number).name, 128 + number  # as shells tell it


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise ``Ended`` in the block when the process is told to end; signals ignored by nohup stay ignored."""
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
    signal.signal(number, signal.SIG_IGN)  # once is enough: unfinished files are being removed
    raise Ended(number)
