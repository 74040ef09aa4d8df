"""Half-written files belong to a live process: what one that was killed has left is removed by the next that writes.

    .take.wav.0.1f2e3d4c.part    what is being written
    .masktools-1f2e3d4c.lock     held by the process that writes it, while it does

A part whose lock is not there, or is held by nobody, is of a process that has ended. Where a file system has no locks,
nothing is removed.
"""

import itertools
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

__all__ = ["clear_parts", "half_written"]

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
