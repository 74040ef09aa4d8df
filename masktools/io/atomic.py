"""Atomic writes: a file is there as a whole, or not at all; logs of JSON lines that survive a kill.

    .take.wav.0.1f2e3d4c.part    what is being written
    .masktools-1f2e3d4c.lock     held by the process that writes it, while it does

A part whose lock is not there, or is held by nobody, is of a process that has ended. Where a file system has no locks,
nothing is removed.
"""

import itertools
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from filelock import BaseFileLock, FileLock, Timeout

from masktools.core.errors import AudioError
from masktools.core.jsons import parse_json
from masktools.io.coding import reason_of

_PART = re.compile(r"\..+\.([0-9a-f]{8})\.part", re.DOTALL)
_LOCK = re.compile(r"\.masktools-([0-9a-f]{8})\.lock")
_LONGEST = 50  # characters of the name of the whole that are in the name of the part


@dataclass
class _Claim:
    """What this process writes into one folder."""

    token: str
    lock: BaseFileLock | None  # None: there are no locks, or nothing can be written there
    n_parts: int = 0


_claims: dict[tuple[int, Path], _Claim] = {}  # by process, since a fork has not claimed what its parent has
_swept: set[tuple[int, Path]] = set()
_guard = threading.RLock()
_numbers = itertools.count()


@contextmanager
def half_written(target: Path) -> Iterator[Path]:
    """Yield a new name in the folder of ``target``, which need not be written to; nothing of that name stays.

    Other processes leave it alone for as long as this one lives. What processes that have ended left in the folder is
    removed, once.
    """
    with _claimed(target.parent) as token:
        part = target.with_name(f".{target.name[:_LONGEST]}.{next(_numbers)}.{token}.part")
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


def clear_parts(folder: Path) -> None:
    """Remove what processes that have ended left half written in a folder; what live ones write there stays."""
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
        if lock is None or Path(lock.lock_file).exists():  # who sweeps may have taken it for that of a dead process
            return _Claim(token, lock)
        lock.release()


def _lock_of(folder: Path, token: str) -> Path:
    return folder / f".masktools-{token}.lock"


def _held(path: Path) -> BaseFileLock | None:
    """Return a lock that is held now; None where that cannot be.

    Raises:
        Timeout: another process holds it.
    """
    if not path.parent.is_dir():  # which the library would make
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
    """Remove the parts of processes that have ended, and their locks."""
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


_ASKED = bytes(1 << 20)  # that a disk is asked to take, to say why it took no more


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new name beside ``path``: what is written there takes its place, or vanishes on any failure.

    Raises:
        AudioError: it cannot be written: the disk is full, or closed to us.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    with half_written(target) as part, telling(path, part):
        part.touch(exist_ok=False)
        yield part
        with suppress(OSError):  # a new file has no rights to keep, and some file systems have none at all
            shutil.copymode(target, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)


@contextmanager
def telling(path: Path, part: Path | None = None) -> Iterator[None]:
    """Tell in one line why a file cannot be written, whatever the library that writes it says.

    Args:
        path: the file.
        part: what is written in its place until it is complete; where a library does not say what is wrong, the disk is
            asked there.

    Raises:
        AudioError: it cannot be written.
    """
    try:
        yield
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path} cannot be written: {_cause(error, part)}") from error


def _cause(error: Exception, part: Path | None) -> str:
    """Return why something could not be written, in the words of the operating system where it can be had."""
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


_SYNC_S = 1.0  # what a power failure may cost; a process that is killed loses nothing


class JsonLines:
    """A file that several processes may add to at once; a line that was cut off is no line."""

    def __init__(self, path: Path) -> None:
        """Take a file, which need not exist yet: it is made with its first line."""
        self.path = path
        self._synced = 0.0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the entries; what is none is left out."""
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
        """Add a line; it is there when this returns, whatever becomes of the process.

        Raises:
            AudioError: it cannot be written.
        """
        line = json.dumps(entry).encode() + b"\n"
        with telling(self.path), self.path.open("ab+", buffering=0) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # behind one that was cut off
            if file.write(line) != len(line):
                raise OSError(f"no room for {len(line)} bytes")
            now = time.monotonic()
            if now - self._synced > _SYNC_S:
                self._synced = now
                os.fsync(file.fileno())
