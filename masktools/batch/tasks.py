"""Batches of files, in order or in parallel: outputs, finished tasks, and failures with their reasons.

Each folder of results has a journal, with the results by name: the folder may be renamed, be
moved, or get subfolders. A result has an entry before it is written, and another when it is complete.
"""

import functools
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masktools.core.errors import MasktoolsError, ParameterError
from masktools.core.processes import KILLED, in_processes
from masktools.io import AV_SUFFIXES, SUFFIXES, JsonLines, check_places, find_recordings

_LOSSY = {".mp3", ".ogg", ".oga", ".opus"} | AV_SUFFIXES


@dataclass(frozen=True)
class Task:
    """A recording and its output file."""

    source: Path
    target: Path


def plan_tasks(
    inputs: Sequence[Path],
    output: Path | None,
    *,
    recursive: bool = False,
    suffix: str | None = None,
    ending: str | None = None,
    default_suffix: str = "_restored",
) -> list[Task]:
    """Return the output of each recording.

    One file goes to ``output`` under that name, unless that is a folder or has no suffix. Several go into the
    folder ``output`` under their own names, in subfolders as in the input; without an output each goes
    beside its source.

    Args:
        inputs: files and folders.
        output: a file, a folder, or None.
        recursive: whether subfolders are searched, too.
        suffix: appended to the stem; if None, ``default_suffix`` beside the source and nothing elsewhere.
        ending: suffix of the outputs' format, as in ".flac"; that of the source (a lossless one for lossy sources) if
            None.
        default_suffix: appended to the stem of outputs beside their sources.

    Raises:
        AudioError: a folder without recordings.
        ParameterError: two recordings with one output, or an output that is a source.
    """
    if output is None:
        suffix = default_suffix if suffix is None else suffix
        if not suffix:
            raise ParameterError("outputs beside their sources need a suffix: give --suffix, or -o with another folder")
    if suffix and set(suffix) & {"/", os.sep, "\0"}:
        raise ParameterError(f"the suffix must be a part of a name, without {os.sep}, got {suffix!r}")
    found = find_recordings(inputs, recursive, suffix or "" if output is None else "")
    if output is not None and _is_file(inputs, output):
        return [Task(found[0][0], output)]
    if output is None:
        found = list(_without_candidates(found, set(inputs), suffix or ""))
    tasks = [
        Task(source, _target(source, source.parent if output is None else output / folder, suffix or "", ending))
        for source, folder in found
    ]
    tasks = _told_apart(tasks)
    check_places((task.target for task in tasks), (task.source for task in tasks), overwrite=True)
    return tasks


def numbered(target: Path, n: int) -> list[Path]:
    """Return the files of n candidates, the best first: the target itself, then numbered ones.

    >>> [path.name for path in numbered(Path("a.wav"), 3)]
    ['a.wav', 'a-2.wav', 'a-3.wav']
    """
    return [target, *(target.with_stem(f"{target.stem}-{rank}") for rank in range(2, n + 1))]


def outputs_of(target: Path, n_candidates: int = 1, comparison: str = "none") -> list[Path]:
    """Return all files that the restoration of one recording may write: result, candidates, and comparison.

    >>> [path.name for path in outputs_of(Path("a.wav"), 2, "png")]
    ['a.wav', 'a-2.wav', 'a.wav.png']
    """
    outputs = numbered(target, n_candidates)
    return outputs if comparison == "none" else [*outputs, compared_in(target, comparison)]


def compared_in(target: Path, comparison: str) -> Path:
    """Return the path of the image (png) or the page (html) that compares a result with its source."""
    return target.with_name(f"{target.name}.{comparison}")


def kept_ending(source: Path) -> str:
    """Return the suffix of an output in the source's format; a lossy source gets a lossless one.

    >>> kept_ending(Path("a.WAV")), kept_ending(Path("a.mp3")), kept_ending(Path("a.caf"))
    ('.wav', '.flac', '.wav')
    """
    ending = source.suffix.lower()
    if ending in _LOSSY:
        return ".flac"
    return ending if ending in SUFFIXES else ".wav"


def _is_file(inputs: Sequence[Path], output: Path) -> bool:
    return len(inputs) == 1 and not inputs[0].is_dir() and not output.is_dir() and bool(output.suffix)


def _target(source: Path, folder: Path, suffix: str, ending: str | None) -> Path:
    return folder / f"{source.stem}{suffix}{ending or kept_ending(source)}"


def _without_candidates(
    found: Iterable[tuple[Path, Path]], named: set[Path], suffix: str
) -> Iterable[tuple[Path, Path]]:
    """Yield recordings without candidates that an earlier run put beside their sources."""
    every = list(found)
    candidate = re.compile(f"(.+){re.escape(suffix)}-[0-9]+")
    stems = {(path.parent, path.stem) for path, _ in every}
    for path, folder in every:
        made_of = candidate.fullmatch(path.stem)
        if path in named or made_of is None or (path.parent, made_of[1]) not in stems:
            yield path, folder


def _told_apart(tasks: list[Task]) -> list[Task]:
    """Return tasks with distinct outputs: where a.wav and a.mp3 would both become a.flac, a.mp3 becomes a.mp3.flac."""
    uses = Counter(task.target for task in tasks)
    renamed = [
        task
        if uses[task.target] == 1
        else Task(task.source, task.target.with_name(f"{task.target.stem}{task.source.suffix}{task.target.suffix}"))
        for task in tasks
    ]
    target, n = Counter(task.target for task in renamed).most_common(1)[0]
    if n > 1:
        raise ParameterError(f"each recording must have an output of its own, got {target} for two of them")
    return renamed


JOURNAL = ".masktools-journal.jsonl"
"""Name of the journal in the folder of the outputs."""


def settings_key(settings: Any) -> str:
    """Return a key of settings: outputs made with other settings do not count as finished.

    >>> settings_key({"seed": 1}) == settings_key({"seed": 1}), settings_key({"seed": 1}) == settings_key({"seed": 2})
    (True, False)
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Journal:
    """Journal of the started and the finished tasks of a folder."""

    def __init__(self, path: Path, settings: Any) -> None:
        """Read the journal; the file is made with its first line.

        Args:
            path: path of the file.
            settings: all that determines an output beside the recording, in JSON types.
        """
        self._lines, self._key = JsonLines(path), settings_key(settings)
        self._ours: set[str] = set()
        self._finished: dict[str, dict[str, Any]] = {}
        for entry in self._lines.read():
            name, outputs = entry.get("file"), entry.get("outputs", [])
            if isinstance(name, str) and isinstance(outputs, list):
                self._ours.update(output for output in (name, *outputs) if isinstance(output, str))
                if "report" in entry:
                    self._finished[name] = entry

    def begin(self, task: Task, outputs: Iterable[Path]) -> None:
        """Record a task and the files that it is going to write, which may be overwritten from now on.

        Raises:
            AudioError: the journal cannot be written.
        """
        names = [output.name for output in outputs]
        self._lines.add({"file": task.target.name, "settings": self._key, "outputs": names})

    def add(self, task: Task, report: dict[str, Any]) -> None:
        """Record a finished task.

        Raises:
            AudioError: the journal cannot be written.
        """
        self._lines.add({"file": task.target.name, "settings": self._key, **_state(task), "report": report})

    def is_ours(self, output: Path) -> bool:
        """Tell whether a file was written by an earlier run, or was being written when that was killed."""
        return output.name in self._ours

    def report_of(self, task: Task) -> dict[str, Any] | None:
        """Return the report of a finished task, or None.

        It is finished if it was recorded with these settings, and neither the recording nor its output has changed
        since.
        """
        entry = self._finished.get(task.target.name)
        if entry is None or entry.get("settings") != self._key:
            return None
        try:
            state = _state(task)
        except OSError:
            return None
        return entry.get("report") if all(entry.get(name) == value for name, value in state.items()) else None


class Journals:
    """Journals of all output folders of one batch."""

    def __init__(self, settings: Any) -> None:
        """Take the settings; journals are opened on demand."""
        self._settings = settings
        self._of: dict[Path, Journal] = {}

    def of(self, output: Path) -> Journal:
        """Return the journal of the folder of an output."""
        if output.parent not in self._of:
            self._of[output.parent] = Journal(output.parent / JOURNAL, self._settings)
        return self._of[output.parent]


def _state(task: Task) -> dict[str, Any]:
    """Return the sizes and times of a recording and its output, which show changes."""
    source, target = task.source.stat(), task.target.stat()
    return {
        "source": os.path.realpath(task.source),
        "source_bytes": source.st_size,
        "source_mtime_ns": source.st_mtime_ns,
        "target_bytes": target.st_size,
        "target_mtime_ns": target.st_mtime_ns,
    }


Work = Callable[[Task], dict[str, Any]]
Begin = Callable[[Task], object]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a task: a report, or an error."""

    task: Task
    report: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def run_tasks(tasks: Sequence[Task], work: Work, n_jobs: int = 1, begin: Begin | None = None) -> Iterator[Outcome]:
    """Yield the outcome of each task, as soon as it is known.

    With several jobs the order is that of completion, and ``work`` must be picklable. A process that dies (killed, out
    of memory) fails its own task only: others that were running are repeated.

    Args:
        tasks: tasks to run.
        work: function of one task that returns its report; a MasktoolsError or OSError is the task's failure.
        n_jobs: number of processes.
        begin: called with each task before it starts.
    """
    if n_jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            if begin is not None:
                begin(task)
            yield _outcome(work, task)
        return
    for task, outcome in in_processes(tasks, functools.partial(_outcome, work), n_jobs, begin):
        yield outcome or Outcome(task, error=f"{task.source}: {KILLED}")


def _outcome(work: Work, task: Task) -> Outcome:
    try:
        return Outcome(task, work(task))
    except MasktoolsError as error:
        return Outcome(task, error=str(error))
    except OSError as error:
        return Outcome(task, error=f"{task.source}: {error.strerror or error}")
    except Exception as error:  # an error of ours; the other recordings go on
        why = f"internal error ({type(error).__name__}: {error})"
        if type(error).__name__ == "OutOfMemoryError":  # torch's own class, which is not imported here
            why = "the device is out of memory: try --batch-size 1 or --device cpu"
        return Outcome(task, error=f"{task.source}: {why}")
