"""Which recordings a command line means, and where the result of each goes."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from masktools.errors import ParameterError
from masktools.io import AV_SUFFIXES, SUFFIXES, check_places, find_recordings

__all__ = ["Task", "compared_in", "kept_ending", "numbered", "outputs_of", "plan_tasks"]

_LOSSY = {".mp3", ".ogg", ".oga", ".opus"} | AV_SUFFIXES


@dataclass(frozen=True)
class Task:
    """A recording and the file that is to be made of it."""

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
    """Return what is to be made of which recording.

    One file goes to ``output`` as it is named there, unless that is a folder or has no ending. Several go into the
    folder ``output`` under their own names, with the folders that they were found in; without an output each goes
    beside its source.

    Args:
        inputs: files and folders.
        output: a file, a folder, or None.
        recursive: whether folders inside folders are searched, too.
        suffix: put behind the stem; ``default_suffix`` beside the source and nothing elsewhere if None.
        ending: of the outputs, as in ".flac"; that of the source (a lossless one for lossy sources) if None.
        default_suffix: what outputs beside their sources are told apart by.

    Raises:
        AudioError: a folder without recordings.
        ParameterError: two recordings with one output, or an output that is a source.
    """
    if output is None:
        suffix = default_suffix if suffix is None else suffix
        if not suffix:
            raise ParameterError("outputs beside their sources need a suffix: give --suffix, or -o with another folder")
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
    """Return the files of n candidates, the best first: the target itself, then those with a number.

    >>> [path.name for path in numbered(Path("a.wav"), 3)]
    ['a.wav', 'a-2.wav', 'a-3.wav']
    """
    return [target, *(target.with_stem(f"{target.stem}-{rank}") for rank in range(2, n + 1))]


def outputs_of(target: Path, n_candidates: int = 1, comparison: str = "none") -> list[Path]:
    """Return all files that restoring one recording may write: the result, candidates, and what compares it.

    >>> [path.name for path in outputs_of(Path("a.wav"), 2, "png")]
    ['a.wav', 'a-2.wav', 'a.wav.png']
    """
    outputs = numbered(target, n_candidates)
    return outputs if comparison == "none" else [*outputs, compared_in(target, comparison)]


def compared_in(target: Path, comparison: str) -> Path:
    """Return the picture (png) or the page (html) that compares a result with its source."""
    return target.with_name(f"{target.name}.{comparison}")


def kept_ending(source: Path) -> str:
    """Return the ending of an output that keeps what its source is: a lossy one is not coded lossily again.

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
    """Yield recordings but for candidates that an earlier run put beside them: those of one that is found, too."""
    every = list(found)
    candidate = re.compile(f"(.+){re.escape(suffix)}-[0-9]+")
    stems = {(path.parent, path.stem) for path, _ in every}
    for path, folder in every:
        made_of = candidate.fullmatch(path.stem)
        if path in named or made_of is None or (path.parent, made_of[1]) not in stems:
            yield path, folder


def _told_apart(tasks: list[Task]) -> list[Task]:
    """Return tasks whose outputs differ: where a.wav and a.mp3 would both become a.flac, a.mp3 becomes a.mp3.flac."""
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
