"""Outputs of commands: checked first, written whole or not at all; progress of long jobs on stderr."""

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.core.errors import AudioError, ParameterError

if TYPE_CHECKING:
    import numpy as np


def check_outputs(
    outputs: Sequence[Path | None],
    inputs: Sequence[Path] = (),
    ending: str | None = None,
    *,
    overwrite: bool,
) -> None:
    """Raise where outputs cannot or must not be written; ``None`` stands for an optional output that is not written.

    Args:
        outputs: files to be written.
        inputs: files that are read, and must not be replaced.
        ending: the only suffix that the first output may have.
        overwrite: whether existing files may be replaced.

    Raises:
        ParameterError: a folder is missing or not writable, two files are one, a file exists already, or the suffix is
            another one.
    """
    from masktools.io import check_places

    given = [output for output in outputs if output is not None]
    for output in given:
        if output.is_dir() or not output.name:
            raise ParameterError(f"the output must be a file, got the folder {output}")
        if not output.parent.is_dir():
            raise ParameterError(f"the output's folder must exist, got {output}: make {output.parent} first")
        if not os.access(output.parent, os.W_OK):
            raise ParameterError(f"the output's folder must be open for writing, got {output.parent}")
    if ending and given and given[0].suffix.lower() != ending:
        raise ParameterError(f"the output must end in {ending}, got {given[0].name!r}")
    check_places(given, inputs, overwrite=overwrite)


def check_audio_outputs(
    outputs: Sequence[Path], report: Path | None = None, inputs: Sequence[Path] = (), *, overwrite: bool
) -> None:
    """Raise where recordings cannot or must not be written, by path or format.

    Raises:
        ParameterError: see ``check_outputs``, or a suffix of no known format.
    """
    from masktools import io

    check_outputs([*outputs, report], inputs, overwrite=overwrite)
    for output in outputs:
        io.coding_for(output)


def read_by(args: argparse.Namespace) -> list[Path]:
    """Return the input files named by options of a command, beside its recordings."""
    named = [getattr(args, name, None) for name in ("gaps", "regions", "prompt", "prompts", "prefix")]
    return [Path(one) for one in named if isinstance(one, str | Path) and is_file(one)]


def is_file(path: str | Path) -> bool:
    """Tell whether there is a file of this name; False for an impossible name.

    >>> is_file("0.10-0.12," * 100)
    False
    """
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def write_audio(output: Path, samples: "np.ndarray", sample_rate: int, subtype: str | None = None) -> None:
    """Write a recording of shape (t,) or (t, channels), and warn of samples beyond full scale."""
    from masktools import io

    n_clipped = io.write(output, samples.T if samples.ndim == 2 else samples[None], sample_rate, subtype)
    if n_clipped:
        sys.stderr.write(f"masktools: warning: {n_clipped} samples of {output} lay beyond full scale\n")


def write_arrays(output: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as one .npz file without pickles, whole or not at all."""
    import numpy as np

    from masktools.io import replacing

    with replacing(output) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_arrays(path: Path, names: Sequence[str]) -> "dict[str, np.ndarray]":
    """Return the named arrays of a .npz file.

    Raises:
        AudioError: the file is missing, no .npz, damaged, or lacks an array.
    """
    import zipfile
    import zlib

    import numpy as np

    if not path.is_file():
        raise AudioError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except KeyError as error:
        raise AudioError(f"{path} must hold the arrays {', '.join(names)}: {error.args[0]}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError, AttributeError) as error:
        raise AudioError(f"{path} must be a .npz file of arrays, as `masktools encode` writes it") from error


def write_report(output: Path | None, report: Mapping[str, Any]) -> None:
    """Write a report as JSON, if one was asked for."""
    if output is None:
        return
    write_content(output, json.dumps(report, indent=2, default=plain) + "\n")


def write_content(output: Path, content: str | bytes) -> None:
    """Write a text, or bytes, as one file, whole or not at all.

    Raises:
        AudioError: it cannot be written.
    """
    from masktools.io import replacing

    with replacing(output) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def plain(value: Any) -> Any:
    """Return values without a JSON type (arrays, paths) converted to one."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


_BETWEEN_S = 1.0  # least time between two writes, and
_SHARE = 0.1  # greatest share of the time spent on writing


class GrowingReport:
    """A JSON report with a list that grows: written from time to time, and completely with ``write``."""

    def __init__(self, path: Path | None, head: Mapping[str, Any], name: str = "files") -> None:
        """Begin with an empty list.

        Args:
            path: path of the file; None for none.
            head: entries before the list.
            name: key of the list.
        """
        self._path, self._name = path, name
        self._head = json.dumps(dict(head), indent=2, default=plain).removesuffix("\n}")
        self._entries: list[str] = []
        self._due = 0.0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, and write the report if the last write is long enough ago.

        Raises:
            AudioError: it cannot be written.
        """
        if self._path is None:
            return
        self._entries.append(textwrap.indent(json.dumps(entry, indent=2, default=plain), "    "))
        if time.monotonic() >= self._due:
            self.write()

    def write(self, **tail: Any) -> None:
        """Write the report.

        Args:
            **tail: entries after the list.

        Raises:
            AudioError: it cannot be written.
        """
        if self._path is None:
            return
        from masktools.io import replacing

        started = time.monotonic()
        with replacing(self._path) as part, part.open("w", encoding="utf-8") as file:
            file.write(f'{self._head},\n  "{self._name}": [')
            for number, entry in enumerate(self._entries):
                file.write(f"{',' if number else ''}\n{entry}")
            file.write("\n  ]" if self._entries else "]")
            for key, value in tail.items():
                file.write(f",\n  {json.dumps(key)}: {json.dumps(value, default=plain)}")
            file.write("\n}\n")
        now = time.monotonic()
        self._due = now + max(_BETWEEN_S, (now - started) / _SHARE)


def is_report(path: Path | None) -> bool:
    """Tell whether a file is a report on many files, which the next run may replace."""
    if path is None or not is_file(path):
        return False
    with path.open("rb") as file:
        return file.read(64).startswith(b'{\n  "masktools"')


MODES = ("auto", "bar", "json", "none")
"""auto is a bar on a terminal and nothing elsewhere."""

_WIDTH = 78
_PAUSE_S = 0.1  # between two updates
_EVERY_S, _EVERY_S_UNWATCHED = 0.5, 60.0  # between two lines of ``counting``

Shower = Callable[[int, int], None]
"""Called with (number done, total number)."""


def _write_over(line: str, is_last: bool) -> None:
    """Replace the line before; the last one is erased."""
    sys.stderr.write(f"\r{' ' * len(line)}\r" if is_last else f"\r{line}")
    sys.stderr.flush()


def percent() -> Callable[..., None] | None:
    """Return a callback that shows the progress of a job, on a terminal; None elsewhere.

    It is called with (done, total), or with the name of the task before these.
    """
    if not sys.stderr.isatty():
        return None

    def show(*state: Any) -> None:
        *what, done, total = state
        _write_over(" ".join([*what, f"{int(100 * done / total):3}%"]), done >= total)

    return show


def counting(what: str) -> Shower:
    """Return a callback that prints number done, rate, and time left; less often if not on a terminal."""
    watched = sys.stderr.isatty()
    began = said = time.monotonic()
    first: int | None = None  # number that was done before

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
    """A progress line: a bar, JSON, or nothing."""

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
        """Erase the line."""
        if self._mode == "bar":
            _write_over(" " * _WIDTH, True)

    def _is_due(self, always: bool) -> bool:
        """Tell whether the line should be written again."""
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
    """Shows the progress of each of several recordings, and the remaining time."""

    def __init__(self, mode: str = "auto", n_files: int = 1) -> None:
        """Start.

        Args:
            mode: one of ``MODES``.
            n_files: number of recordings.
        """
        super().__init__(mode)
        self._n_files, self._n_done, self._file = n_files, 0, ""

    @contextmanager
    def on(self, file: Path) -> Iterator[Shower | None]:
        """Show the progress of one recording inside the block, which gets ``step``; None if nothing is shown."""
        self.begin(file)
        try:
            yield self.step if self.watched else None
        finally:
            self.finish()

    def begin(self, file: Path) -> None:
        """Show the name of the next recording."""
        self._file = str(file)
        self._tell(0.0, always=True)

    def step(self, done: int, total: int) -> None:
        """Show the progress of the recording."""
        self._tell(done / max(1, total))

    def step_of_all(self, done: int, total: int) -> None:
        """Show the progress of all recordings together, if they are made in parallel."""
        self._tell(min(1.0, max(0.0, self._n_files * done / max(1, total) - self._n_done)))

    def end(self, file: Path | None = None) -> None:
        """Count a finished recording, with its name if known; parallel jobs do not know it."""
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
    """Return a duration in words.

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
        """Show the number done."""
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
