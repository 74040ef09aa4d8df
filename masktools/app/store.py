"""Store of recordings: a folder for each, which outlives the server.

    recording.json    where the sound is, what is marked in it, what was repaired, and how often that changed
    source            the sound itself, if it was sent here
    survey/           peaks and spectrogram, and what was found in it
    jobs/ID/          a job: its settings, what became of it, its pieces

A folder belongs to one server at a time; what is answered has been written.
"""

import base64
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from masktools.app.edits import Edits
from masktools.app.refusals import RefusalError
from masktools.core.configs import from_dict, read_json, to_dict
from masktools.core.errors import ParameterError
from masktools.io import replacing

STATE, LOCK, FOUND = "recording.json", "lock", "survey/findings.json"
ID = re.compile("[a-z2-7]{26}")
FREE_BYTES = 2 << 30  # of the disk that are left alone
_DAY_S = 86_400.0
_MOST_REGIONS = 20_000


def new_id() -> str:
    """Return a name by chance, of 128 bits."""
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


@dataclass(frozen=True)
class Source:
    """The file in which a recording stands, and what tells that it is still the same."""

    path: str
    size: int
    mtime_ns: int
    own: bool  # whether it is a copy that is ours

    @classmethod
    def of(cls, path: Path, own: bool = False) -> "Source":
        """Return a file as it is now."""
        there = path.stat()
        return cls(str(path), there.st_size, there.st_mtime_ns, own)

    def is_same(self) -> bool:
        """Tell whether the file is still there as it was."""
        try:
            return replace(Source.of(Path(self.path)), own=self.own) == self
        except OSError:
            return False


@dataclass(frozen=True)
class Facts:
    """Header of an audio file: rate, channels, length and format."""

    rate: int  # Hz
    samples: int  # for each channel
    channels: int
    format: str
    subtype: str
    exact: bool  # whether the number of samples is known, not just promised
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Region:
    """A stretch of time, or of time and frequency, that is marked."""

    id: str
    start: int  # samples
    end: int
    kind: str = "drawn"  # or a kind of damage
    low_hz: float | None = None
    high_hz: float | None = None
    channels: tuple[int, ...] | None = None  # None: all
    method: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        """Check every range."""
        if not re.fullmatch("[a-zA-Z0-9_-]{1,40}", self.id):
            raise ParameterError("the id of a region must have 1 to 40 letters and digits")
        if not 0 <= self.start < self.end:
            raise ParameterError(f"a region must end after its start, got {self.start}-{self.end}")
        low, high = self.low_hz or 0.0, self.high_hz
        if low < 0 or (high is not None and high <= low):
            raise ParameterError(f"a region must end above its lowest frequency, got {low:g}-{high:g} Hz")
        if self.channels is not None and (not self.channels or min(self.channels) < 0):
            raise ParameterError(f"the channels of a region must be numbers from 0 on, got {list(self.channels)}")
        if len(self.kind) > 40 or len(self.method or "") > 40 or len(self.prompt or "") > 1000:
            raise ParameterError("the texts of a region must be shorter")

    def check_inside(self, facts: Facts) -> None:
        """Refuse a region that is not within a recording.

        Raises:
            RefusalError: which field is wrong.
        """
        if self.end > facts.samples:
            raise RefusalError(422, f"a region must end within the {facts.samples} samples, got {self.end}", "end")
        if self.channels is not None and max(self.channels) >= facts.channels:
            raise RefusalError(422, f"a region must be in channels 0 to {facts.channels - 1}", "channels")
        if self.low_hz is not None and self.low_hz >= facts.rate / 2:
            raise RefusalError(422, f"a region must begin below {facts.rate / 2:g} Hz, got {self.low_hz:g}", "low_hz")


@dataclass(frozen=True)
class State:
    """All that was decided about a recording."""

    id: str
    name: str  # as it is shown
    source: Source
    created_s: float
    facts: Facts | None = None
    regions: tuple[Region, ...] = ()
    edits: Edits = field(default_factory=Edits)
    revision: int = 0
    saves_to: Source | None = None  # the file named on the command line, as it was saved last
    bad: str | None = None  # why it cannot be read


class Session:
    """A recording, and what was done to it."""

    def __init__(self, folder: Path, state: State, lock: FileLock) -> None:
        self.folder, self.state, self._lock = folder, state, lock
        self.share = 0.0  # that was surveyed
        self.failure: str | None = None  # why it could not be to its end
        self.n_crashes = 0
        self.in_place: Path | None = None  # where it may be saved to
        self.named = 0  # its place on the command line, from 1 on: the page shows the first at once

    @property
    def id(self) -> str:
        """Its name."""
        return self.state.id

    def change(self, **changes: Any) -> None:
        """Change what was decided, on the disk first."""
        self.keep(replace(self.state, **changes, revision=self.state.revision + 1))

    def keep(self, state: State) -> None:
        """Write a state, and hold it from then on.

        Raises:
            AudioError: it cannot be written.
        """
        with replacing(self.folder / STATE) as part:
            part.write_text(json.dumps(to_dict(state)), encoding="utf-8")
        self.state = state

    def check(self, revision: str | None = None) -> None:
        """Refuse what is asked about a file that is another one now, or about a state that is no longer.

        Raises:
            RefusalError: which of them it is.
        """
        if self.state.bad is not None:
            raise RefusalError(415, self.state.bad)
        if not self.state.source.is_same():
            raise RefusalError(
                410, f"{self.state.name} was changed or removed by another program", hint="open it again"
            )
        if revision is not None and revision.strip('"') != str(self.state.revision):
            raise RefusalError(409, "this was changed in another window", hint="it is shown as it is now: try again")

    @property
    def facts(self) -> Facts:
        """Read the header of the file.

        Raises:
            RefusalError: it has not been read yet.
        """
        if self.state.facts is None:
            raise RefusalError(503, f"{self.state.name} is still being opened")
        return self.state.facts

    def findings(self) -> dict[str, Any] | None:
        """Return what the survey found; None while it is not at its end."""
        path = self.folder / FOUND
        return read_json(path) if path.is_file() else None

    def touch(self) -> None:
        """Note that it was looked at: what is not for long is forgotten."""
        with suppress(OSError):
            os.utime(self.folder / STATE)

    def remove(self) -> None:
        """Remove all that was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let another server have it."""
        self._lock.release()


class Store:
    """The recordings that are at hand."""

    def __init__(self, folder: Path, keep_days: float = 30.0) -> None:
        """Find what was kept in a folder, and forget what was not touched for some days.

        Raises:
            ParameterError: a folder that cannot be used.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        except OSError as error:
            raise ParameterError(f"sessions cannot be kept in {folder}: {error.strerror}") from error
        self._sessions: dict[str, Session] = {}
        self._elsewhere: list[State] = []  # that other servers have
        for session in list(self._found()):
            if time.time() - (session.folder / STATE).stat().st_mtime > keep_days * _DAY_S:
                session.remove()
            else:
                self._sessions[session.id] = session

    def _found(self) -> Iterator[Session]:
        for folder in sorted(self.folder.iterdir()):
            if not ID.fullmatch(folder.name) or not folder.is_dir():
                continue
            lock = _locked(folder)
            if lock is None:
                self._elsewhere += [state for state in [_state_in(folder)] if state is not None]
                continue
            state = _state_in(folder)
            if state is not None:
                shutil.rmtree(folder / "exports", ignore_errors=True)  # that nobody fetched
                yield Session(folder, state, lock)
            else:  # an upload that was never finished, or of another version
                if not (folder / STATE).exists():
                    shutil.rmtree(folder, ignore_errors=True)
                lock.release()

    def __iter__(self) -> Iterator[Session]:
        return iter(sorted(self._sessions.values(), key=lambda one: -one.state.created_s))

    def __getitem__(self, name: str) -> Session:
        """Return a recording.

        Raises:
            RefusalError: there is none of that name.
        """
        try:
            return self._sessions[name]
        except KeyError:
            raise RefusalError(404, "there is no such recording here") from None

    def open_file(self, path: Path) -> Session:
        """Return the recording in a file, which stays where it is; what was done to it before is found again.

        Raises:
            ParameterError: there is no such file, or another server has it.
        """
        path = Path(os.path.realpath(path))
        try:
            source = Source.of(path)
        except OSError as error:
            raise ParameterError(f"{path} cannot be opened: {error.strerror}") from error
        for session in self:
            if source in (session.state.source, session.state.saves_to):
                return session
        if any(source in (state.source, state.saves_to) for state in self._elsewhere):
            raise ParameterError(
                f"{path} is open in another window of masktools: go on there, or end that program first"
            )
        return self.add(path.name, source)

    def add(self, name: str, source: Source, folder: Path | None = None) -> Session:
        """Return a new recording."""
        folder = folder or self.new_folder()
        lock = _locked(folder)
        if lock is None:
            raise ParameterError(f"{folder} is in use by another server")
        state = State(folder.name, name, source, time.time())
        session = Session(folder, state, lock)
        session.keep(state)
        self._sessions[session.id] = session
        return session

    def new_folder(self) -> Path:
        """Make a folder for a recording."""
        folder = self.folder / new_id()
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, name: str) -> None:
        """Remove a recording, and all that was done to it; a file that is not ours stays.

        Raises:
            RefusalError: there is none of that name.
        """
        self[name].remove()
        del self._sessions[name]

    def check_room(self, n_bytes: int = 0) -> None:
        """Refuse to write so many bytes where too few would be left.

        Raises:
            RefusalError: there is too little room on the disk.
        """
        if shutil.disk_usage(self.folder).free - n_bytes < FREE_BYTES:
            raise RefusalError(
                507, f"the disk is nearly full: {FREE_BYTES >> 30} GiB are left free", hint="make room on it"
            )

    def close(self) -> None:
        """Let another server have all of it."""
        for session in self._sessions.values():
            with suppress(OSError):
                session.close()


def _locked(folder: Path) -> FileLock | None:
    """Return the lock of a folder, held; None where another server has it."""
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return None
    return lock


def _state_in(folder: Path) -> State | None:
    """Return what was decided about the recording in a folder; None where that cannot be read."""
    try:
        return from_dict(State, read_json(folder / STATE))
    except ParameterError:
        return None


def damage_in(findings: dict[str, Any] | None, n_channels: int) -> list[Region]:
    """Return the damage that a survey found, as regions; none while it is not at its end."""
    return [
        Region(
            f"damage-{number}",
            one["start"],
            one["end"],
            one["kind"],
            channels=None if len(one["channels"]) == n_channels else tuple(one["channels"]),
        )
        for number, one in enumerate((findings or {"damage": []})["damage"])
    ]


def read_regions(data: Any, facts: Facts) -> tuple[Region, ...]:
    """Return regions as the page sends them.

    Raises:
        RefusalError: something that is none, or is not within the recording.
    """
    if not isinstance(data, list) or len(data) > _MOST_REGIONS:
        raise RefusalError(400, f"regions must be a list of at most {_MOST_REGIONS}")
    try:
        regions = tuple(from_dict(Region, one) for one in data)
    except ParameterError as error:
        raise RefusalError(422, str(error)) from None
    for region in regions:
        region.check_inside(facts)
    if len({region.id for region in regions}) != len(regions):
        raise RefusalError(422, "each region must have an id of its own", "id")
    return regions
