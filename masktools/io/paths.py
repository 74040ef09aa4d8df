"""Files by their names: recordings in folders, checks of output paths, and files written whole or not at all.

An output is never one of the files that are read, under any name or link; no two outputs are one file; and a file that
exists is replaced only on request. A file is there as a whole, or not at all; logs of JSON lines survive a kill.

    .take.wav.0.1f2e3d4c.part    the file that is being written
    .masktools-1f2e3d4c.lock     held by the process that writes it, while it does

A part whose lock is missing, or held by nobody, belongs to a process that has ended. Where a file system has no locks,
nothing is removed.
"""

import errno
import itertools
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from filelock import BaseFileLock, FileLock, Timeout

from masktools.core.configs import parse_json
from masktools.core.errors import AudioError, ParameterError
from masktools.io.coding import SUFFIXES, reason_of
from masktools.io.recordings import AV_SUFFIXES

READABLE = frozenset(SUFFIXES) | {".aifc", ".au", ".caf", ".rf64", ".snd", ".w64", ".wave"} | AV_SUFFIXES
"""Suffixes of recordings in folders."""


def is_recording(name: str) -> bool:
    """Tell whether a name is that of a recording: by its ending, and not hidden.

    >>> is_recording("live/a.MP3"), is_recording("live/.a.mp3"), is_recording("notes.txt")
    (True, False, False)
    """
    stem, ending = os.path.splitext(os.path.basename(name))
    return ending.lower() in READABLE and not stem.startswith(".")


def file_names(folder: str | Path, recursive: bool = False) -> Iterator[str]:
    """Yield the files of a folder, relative to it, with "/": its own by name, then those of one folder after the other.

    Hidden files and folders are left out, and so are subfolders that may not be read; links to folders are not
    followed.

    Raises:
        AudioError: the folder cannot be read.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise AudioError(f"{folder} cannot be read: permission denied")
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        below = os.path.relpath(root, folder).replace(os.sep, "/")
        for name in sorted(names):
            if not name.startswith("."):
                yield name if below == "." else f"{below}/{name}"


def find_recordings(inputs: Iterable[Path], recursive: bool = False, without: str = "") -> list[tuple[Path, Path]]:
    """Return the recordings among files and folders, each with its folder relative to the one it was found in.

    Files are taken as they are; in folders those whose ending is that of a recording, in the order of their names.
    Hidden files and folders are left out.

    Args:
        inputs: files and folders.
        recursive: whether subfolders are searched, too.
        without: end of the stems of files to leave out: those that an earlier run made.

    Raises:
        AudioError: a folder that cannot be read; no recordings in any of the folders. Where only one of several is
            empty, a warning is logged.
    """
    found: list[tuple[Path, Path]] = []
    empty: list[str] = []
    for path in inputs:
        in_it = _found(path, recursive, without)
        found += in_it
        if not in_it:
            deeper = "" if recursive else "; are they in folders of it? Then say --recursive"
            empty.append(f"{path} holds no recordings ({', '.join(sorted(READABLE))}){deeper}")
    if empty and not found:
        raise AudioError(empty[0])
    for what in empty:
        warnings.warn(what, stacklevel=2)
    return found


def _found(path: Path, recursive: bool, without: str) -> list[tuple[Path, Path]]:
    if not path.is_dir():
        return [(path, Path())]
    names = [Path(name) for name in file_names(path, recursive) if is_recording(name)]
    return [(path / name, name.parent) for name in names if not (without and name.stem.endswith(without))]


def check_places(
    outputs: Iterable[Path],
    sources: Iterable[Path] = (),
    *,
    notes: Iterable[Path] = (),
    overwrite: bool = False,
    ours: Callable[[Path], bool] | None = None,
    hint: str = "say --overwrite to replace {them}, or name another output",
) -> None:
    """Refuse outputs that would destroy something: a source, another output, or an existing file.

    Folders of outputs need not exist yet.

    Args:
        outputs: all files that are to be written.
        sources: all files that are read, which may be missing.
        notes: files that are appended to, such as logs, and that no output must be.
        overwrite: whether existing files may be replaced.
        ours: returns whether an existing file may be replaced all the same.
        hint: advice about existing files; ``{them}`` is it or them.

    Raises:
        ParameterError: an output that must not be written; the message names the first.
    """
    places, taken, folded = _Places(), dict[str, Path](), dict[str, Path]()
    there, found = dict[tuple[int, int], Path](), list[Path]()
    n_outputs = 0
    noted = {places.key(note) for note in notes}
    for output in outputs:
        n_outputs += 1
        key, known = places.key(output), _stat(output)
        if key in noted:
            raise ParameterError(f"the output must be a file of its own, got {output} for two files")
        first = taken.setdefault(key, output)
        alike = folded.setdefault(unicodedata.normalize("NFC", key).casefold(), output)
        if first is not output or (alike is not output and not places.tell_apart(output, alike)):
            as_other = "" if first is not output else f": {alike.name} is the same name on this disk"
            raise ParameterError(f"each output must be a file of its own, got {output} for two files{as_other}")
        if known is None:
            continue
        if not stat.S_ISREG(known.st_mode):
            what = "the folder" if stat.S_ISDIR(known.st_mode) else "what is none:"
            raise ParameterError(f"the output must be a file, got {what} {output}")
        there[known.st_dev, known.st_ino] = output
        if not (overwrite or (ours is not None and ours(output))):
            found.append(output)
    for source in sources:
        known = _stat(source) if there else None  # links of all kinds
        output = taken.get(places.key(source)) or (there.get((known.st_dev, known.st_ino)) if known else None)
        if output is not None:
            raise ParameterError(f"the output must be a file of its own, got {output} for two files: {source} is read")
    if found:
        n, them = len(found), "them" if n_outputs > 1 else "it"
        said = f"{n} of {n_outputs} results are there already, {found[0]} first"
        said = said if n_outputs > 1 else f"{found[0]} is there already"
        raise ParameterError(f"{said}: {hint.format(them=them)}")


class _Places:
    """Paths compared as the file system they lie on compares them."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}
        self._same: dict[Path, bool] = {}

    def key(self, path: Path) -> str:
        """Return a key that is the same for all names of one file, with links followed."""
        parent = path.parent
        if parent not in self._folders:
            self._folders[parent] = os.path.realpath(parent)
        if path.name in ("", "..") or path.is_symlink():
            return os.path.realpath(path)
        return os.path.join(self._folders[parent], path.name)

    def tell_apart(self, one: Path, other: Path) -> bool:
        """Tell whether names that differ in case alone are those of two files."""
        folder = next((folder for folder in one.parents if folder.is_dir()), Path())
        if folder not in self._same:
            self._same[folder] = _is_case_blind(folder)
        return not self._same[folder]


def _is_case_blind(folder: Path) -> bool:
    """Tell whether a file system ignores case; where it cannot be asked it may."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".masktools-Aa", dir=folder) as file:
            place = Path(file.name)
            return place.with_name(place.name.replace("-Aa", "-aA", 1)).exists()
    except OSError:
        return True


def _stat(path: Path) -> os.stat_result | None:
    """Return the status of a file; None if there is none."""
    try:
        return path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ParameterError(f"the file must not be a link that leads to itself, got {path}") from error
        return None
    except ValueError:  # a zero byte in the name
        raise ParameterError(f"the name of a file must not hold zero bytes, got {str(path)!r}") from None


_PART = re.compile(r"\..+\.([0-9a-f]{8})\.part", re.DOTALL)
_LOCK = re.compile(r"\.masktools-([0-9a-f]{8})\.lock")
_LONGEST = 50  # characters of the file's name that the name of its part has


@dataclass
class _Claim:
    """The claim of this process on one folder: its lock and the parts that it writes there."""

    token: str
    lock: BaseFileLock | None  # None: no locks on this file system, or the folder cannot be written to
    n_parts: int = 0


_claims: dict[tuple[int, Path], _Claim] = {}  # by process: a fork has not claimed the folders of its parent
_swept: set[tuple[int, Path]] = set()
_guard = threading.RLock()
_numbers = itertools.count()


@contextmanager
def half_written(target: Path) -> Iterator[Path]:
    """Yield a new name in the folder of ``target``, which need not be written to; the file is removed at the end.

    Other processes leave it alone for as long as this one lives. What ended processes left in the folder is removed,
    once.
    """
    with _claimed(target.parent) as token:
        part = target.with_name(f".{target.name[:_LONGEST]}.{next(_numbers)}.{token}.part")
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


def clear_parts(folder: Path) -> None:
    """Remove the unfinished files of ended processes from a folder; those of live processes stay."""
    _swept.discard((os.getpid(), folder))
    with _claimed(folder):
        return


@contextmanager
def _claimed(folder: Path) -> Iterator[str]:
    place = os.getpid(), folder
    with _guard:
        claim = _claims.get(place)
        if claim is None:
            claim = _claims[place] = _claim(folder)
            if claim.lock is not None and place not in _swept:
                _swept.add(place)
                _sweep(folder, claim.token)
        claim.n_parts += 1
    try:
        yield claim.token
    finally:
        with _guard:
            claim.n_parts -= 1
            if not claim.n_parts:
                _claims.pop(place, None)
                if claim.lock is not None:
                    _give_up(claim.lock)


def _claim(folder: Path) -> _Claim:
    while True:
        token = secrets.token_hex(4)
        lock = _held(_lock_of(folder, token))
        if lock is None or Path(lock.lock_file).exists():  # a sweep of another process may have removed it
            return _Claim(token, lock)
        lock.release()


def _lock_of(folder: Path, token: str) -> Path:
    return folder / f".masktools-{token}.lock"


def _held(path: Path) -> BaseFileLock | None:
    """Return a lock that is held now; None where there are no locks.

    Raises:
        Timeout: another process holds it.
    """
    if not path.parent.is_dir():  # which filelock would make
        return None
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise
    except (OSError, NotImplementedError):
        return None
    return lock


def _give_up(lock: BaseFileLock) -> None:
    lock.release()
    with suppress(OSError):
        os.unlink(lock.lock_file)


def _sweep(folder: Path, own: str) -> None:
    """Remove the parts of ended processes, and their locks."""
    parts: dict[str, list[str]] = {}
    locks: set[str] = set()
    with suppress(OSError):
        for name in os.listdir(folder):
            if part := _PART.fullmatch(name):
                parts.setdefault(part[1], []).append(name)
            elif lock := _LOCK.fullmatch(name):
                locks.add(lock[1])
    for token in (parts.keys() | locks) - {own}:
        try:
            lock = _held(_lock_of(folder, token)) if token in locks else None
        except Timeout:
            continue
        for name in parts.get(token, ()):
            with suppress(OSError):
                os.unlink(folder / name)
        if lock is not None:
            _give_up(lock)


_ASKED = bytes(1 << 20)  # written to find out why a disk is full


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new name beside ``path``: the file written there replaces ``path``, or is removed on any failure.

    Raises:
        AudioError: it cannot be written: the disk is full, or access is denied.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    with half_written(target) as part, telling(path, part):
        part.touch(exist_ok=False)
        yield part
        with suppress(OSError):  # a new file has no permissions to keep, and some file systems have none at all
            shutil.copymode(target, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)


@contextmanager
def telling(path: Path, part: Path | None = None) -> Iterator[None]:
    """Turn the error of any library that writes a file into one line that says why.

    Args:
        path: the file.
        part: temporary file that is written instead until it is complete; where a library gives no reason, a write to
            its disk does.

    Raises:
        AudioError: it cannot be written.
    """
    try:
        yield
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path} cannot be written: {_cause(error, part)}") from error


def _cause(error: Exception, part: Path | None) -> str:
    """Return why a file could not be written, in the words of the operating system if possible."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if part is not None:
        try:
            with part.open("ab", buffering=0) as file:
                file.write(_ASKED)
                os.fsync(file.fileno())
        except OSError as said:
            return said.strerror or str(said)
    return " ".join(reason_of(error).split()) or "is the disk full?"


_SYNC_S = 1.0  # seconds lost at most in a power failure; a process that is killed loses nothing


class JsonLines:
    """A log of JSON lines that several processes may append to at once; incomplete lines are ignored."""

    def __init__(self, path: Path) -> None:
        """Take the path of the file, which is made with its first line."""
        self.path = path
        self._synced = 0.0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the entries; lines that are none are left out."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = parse_json(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry

    def add(self, entry: dict[str, Any]) -> None:
        """Append a line; it is in the file when this returns, even if the process is killed.

        Raises:
            AudioError: it cannot be written.
        """
        line = json.dumps(entry).encode() + b"\n"
        with telling(self.path), self.path.open("ab+", buffering=0) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # after a line that was cut off
            if file.write(line) != len(line):
                raise OSError(f"no room for {len(line)} bytes")
            now = time.monotonic()
            if now - self._synced > _SYNC_S:
                self._synced = now
                os.fsync(file.fileno())
