"""Files that are made in parts by several processes, and gone on with after a kill.

A part of a build is written under another name and renamed when it is complete; last comes its note, a small JSON file
that marks it as done. Finished parts are appended in order to the final files, and then removed, so that no more than
their own size is needed. The result depends on the jobs alone.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Protocol, TypeVar

from masktools.core.arguments import check_least
from masktools.core.configs import read_json
from masktools.core.errors import MasktoolsError, ParameterError
from masktools.core.processes import until_broken
from masktools.io import replacing

Note = dict[str, Any]  # metadata of a part, in JSON types
Progress = Callable[[int, int], None]  # called with (recordings done, recordings in total)
Item = TypeVar("Item")
_MAX_PARTS = 4096
_MIN_ITEMS = 8  # least size of a part, to limit the number of files


class PartWork(Protocol):
    """A function that computes a part: it writes files of the given names, and returns the part's note."""

    def __call__(self, job: Any, outputs: Mapping[str, Path]) -> Note:
        """Write a part."""
        ...


def chunked(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Return the items in parts of at least 8, at most 4096 parts.

    >>> [len(part) for part in chunked(range(20))]
    [8, 8, 4]
    """
    size = max(_MIN_ITEMS, -(-len(items) // _MAX_PARTS))
    return [items[start : start + size] for start in range(0, len(items), size)]


def is_built(index: Path, key: str, what: str) -> bool:
    """Tell whether a folder holds a complete build, by its index, which is written last.

    Raises:
        ParameterError: it has another key: other recordings or settings.
    """
    if not index.is_file():
        return False
    if read_json(index).get("key") != key:
        raise ParameterError(f"{index.parent} holds {what} of other recordings or settings: choose another folder")
    return True


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(content), encoding="utf-8")


class ResumableBuild:
    """A build in progress in a folder; ``names`` are the final files that parts are appended to."""

    def __init__(self, folder: Path, key: str, names: Sequence[str] = ()) -> None:
        """Open the folder for a build with this ``key``.

        Raises:
            ParameterError: the folder holds another unfinished build, or parts of this one were removed.
        """
        self.folder, self.names = folder, tuple(names)
        self.parts = folder / "parts"
        self.parts.mkdir(parents=True, exist_ok=True)
        of = self.parts / "key.txt"
        if not of.is_file():
            with replacing(of) as part:
                part.write_text(key, encoding="utf-8")
        if of.read_text(encoding="utf-8") != key:
            raise ParameterError(
                f"{folder} holds the beginning of another build, of other recordings or settings: "
                "remove it, or choose another folder"
            )
        self._appended = {name: self._recovered(name) for name in self.names}

    def _note(self, number: int) -> Path:
        return self.parts / f"{number:06d}.json"

    def _part(self, number: int, name: str) -> Path:
        return self.parts / f"{number:06d}.{name}"

    def _read(self, number: int) -> Note:
        return read_json(self._note(number))

    def _recovered(self, name: str) -> int:
        """Return the number of parts in a file, after removing one that was appended only in part."""
        number = n_bytes = 0
        while self._note(number).is_file() and not self._part(number, name).is_file():
            n_bytes += self._read(number)["n_bytes"][name]
            number += 1
        path = self.folder / name
        path.touch()
        if path.stat().st_size < n_bytes:
            raise ParameterError(f"{path} lacks parts that were finished: remove {self.folder} and start again")
        os.truncate(path, n_bytes)
        return number

    def run(
        self, jobs: Sequence[Sized], work: PartWork, n_workers: int = 1, progress: Progress | None = None
    ) -> list[Note]:
        """Compute the missing parts, and return the notes of all in the order of their jobs."""
        total = sum(map(len, jobs))
        missing = [number for number in range(len(jobs)) if not self._note(number).is_file()]
        done = total - sum(len(jobs[number]) for number in missing)
        if progress is not None and done:
            progress(done, total)
        self._append(len(jobs))
        writer = _Writer(work, self.parts, self.names)
        for number in unordered(writer, ((number, jobs[number]) for number in missing), n_workers):
            done += len(jobs[number])
            self._append(len(jobs))
            if progress is not None:
                progress(done, total)
        return [self._read(number)["note"] for number in range(len(jobs))]

    def _append(self, n_parts: int) -> None:
        for name in self.names:
            number = self._appended[name]
            with (self.folder / name).open("ab") as whole:
                while number < n_parts and self._note(number).is_file():
                    with self._part(number, name).open("rb") as part:
                        shutil.copyfileobj(part, whole, 1 << 20)
                    whole.flush()
                    self._part(number, name).unlink()
                    number += 1
            self._appended[name] = number

    def close(self) -> None:
        """Remove the parts: to be called when the result is complete and marked so."""
        shutil.rmtree(self.parts)


class _Writer:
    """Writes numbered parts, in any process."""

    def __init__(self, work: PartWork, folder: Path, names: Sequence[str]) -> None:
        self.work, self.folder, self.names = work, folder, names

    def __call__(self, numbered: tuple[int, Any]) -> int:
        number, job = numbered
        token = secrets.token_hex(4)
        outputs = {name: self.folder / f"{number:06d}.{name}.{token}.part" for name in self.names}
        note = self.work(job, outputs)
        n_bytes = {name: path.stat().st_size for name, path in outputs.items()}
        for name, path in outputs.items():
            os.replace(path, self.folder / f"{number:06d}.{name}")
        write_json(self.folder / f"{number:06d}.json", {"note": note, "n_bytes": n_bytes})
        return number


Job = TypeVar("Job")
Result = TypeVar("Result")


def unordered(work: Callable[[Job], Result], jobs: Iterable[Job], n_workers: int = 1) -> Iterator[Result]:
    """Yield the result of each job, in order of completion; with one worker in this process and in order.

    Each process receives ``work`` once, and then job after job; it ends with the process that started it.

    Raises:
        ParameterError: fewer than one worker.
        MasktoolsError: a process died. Errors of ``work`` itself are raised here.
    """
    check_least(1, n_workers=n_workers)
    if n_workers == 1:
        yield from map(work, jobs)
        return
    waiting, broken = list(jobs), list[Job]()
    try:
        for _, result in until_broken(waiting, work, min(n_workers, len(waiting) or 1), broken):
            yield result
    except MasktoolsError:
        raise
    except Exception as error:
        raise MasktoolsError(f"a worker failed with {type(error).__name__}: {error}") from error
    if broken:
        raise MasktoolsError(
            "a worker process died, perhaps for want of memory: run it again with fewer workers, what is done is kept"
        )
