"""Services behind the page: recordings are kept, read, surveyed and described."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from masktools import __version__
from masktools.app.events import Events
from masktools.app.guard import Keys
from masktools.app.jobs import Jobs
from masktools.app.link import Process, Told
from masktools.app.refusals import RefusalError
from masktools.app.settings import Settings
from masktools.app.store import Facts, Session, Source, Store, new_id
from masktools.core.configs import from_dict, to_dict
from masktools.io import READABLE, replacing

MOST_CRASHES = 3  # of the reader on one file
_PAUSE_S = 0.25
_OTHER = re.compile(r"[\x00-\x1f\x7f/\\]")


class Service:
    """The recordings of one server, and the processes that work on them."""

    def __init__(self, store: Store, keys: Keys, settings: Settings) -> None:
        self.store, self.keys, self.settings = store, keys, settings
        self.events = Events()
        self.jobs = Jobs(store, self.events, settings.limits.jobs, settings.of_model, settings.cancel_s)
        self.jobs.opened = lambda session: self.soon(self._try_ready(session))
        self.on_saved: Callable[[], object] = list
        self.reader = Process("masktools.app.reader", self._heard, self._reader_lost)
        self._opening: dict[str, asyncio.Lock] = {}
        self._asked: dict[str, int] = {}  # questions to the reader about each recording that are not answered
        self._tasks: set[asyncio.Task[Any]] = set()
        self._of_model: Told | None = None  # what the model says of itself; None while nobody has asked

    async def start(self) -> None:
        """Begin: recordings that were named are opened, and surveyed."""
        for session in self.store:
            if session.findings() is not None:
                session.share = 1.0
            self.soon(self._try_ready(session))
        self.soon(self.jobs.run())

    async def end(self) -> None:
        """End the processes, and let go of everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(self.reader.end(), self.jobs.worker.end())
        self.store.close()

    def soon(self, work: Any) -> None:
        """Do something beside what is asked."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def listened(self) -> None:
        """Find out what the model says of itself, when the first page listens."""
        if self._of_model is None:
            self._of_model = {}
            self.soon(self._ask_model())

    async def _ask_model(self) -> None:
        while any(0 < session.share < 1 for session in self.store):  # the worker takes seconds to start
            await asyncio.sleep(_PAUSE_S)
        try:
            self._of_model, _ = await self.jobs.worker.ask("describe", options=self.settings.of_model)
            self.events.tell("model", **self._of_model)
        except RefusalError as error:
            self.events.tell("model", **error.to_json())

    def about(self) -> dict[str, Any]:
        """Return what this server is, and may."""
        own = self.settings
        told: dict[str, Any] = {"version": __version__, "model": own.model}
        told |= {"device": own.device, "precision": own.precision, "limits": to_dict(own.limits)}
        folders = [{"id": str(number), "name": path.name} for number, path in enumerate(own.folders)]
        return told | {"in_place": own.in_place, "folders": folders, **(self._of_model or {})}

    def folder(self, field: str, number: str | None) -> Path:
        """Return a folder that was named on the command line, by its number.

        Raises:
            RefusalError: there is none of that number.
        """
        known = {str(index): path for index, path in enumerate(self.settings.folders)}
        if number not in known:
            told = f"{field} must be one of the folders named on the command line, 0 to {len(known) - 1}"
            raise RefusalError(422, told if known else "no folders were named on the command line", field)
        return known[number]

    def listed(self, session: Session) -> dict[str, Any]:
        """Return a recording as a list of them shows it."""
        state = session.state
        told: dict[str, Any] = {"id": state.id, "name": state.name, "created_s": state.created_s}
        told |= {"changed": bool(state.edits.cursor), "surveyed": round(session.share, 4), "bad": state.bad}
        told |= {"named": session.named}
        if state.facts is not None:
            told |= to_dict(state.facts) | {"seconds": state.facts.samples / state.facts.rate}
        return told

    def described(self, session: Session) -> dict[str, Any]:
        """Return all that is known of a recording, and was decided."""
        state = session.state
        found = session.findings() or {"damage": [], "bandwidth": None, "levels": [], "warnings": [], "scale": None}
        failure = [] if session.failure is None else [session.failure]
        warnings = [*(state.facts.warnings if state.facts else ()), *found.pop("warnings"), *failure]
        told = self.listed(session) | found | {"warnings": warnings, "revision": state.revision}
        told |= {"regions": to_dict(state)["regions"], "edits": to_dict(state.edits)["entries"]}
        return told | {"cursor": state.edits.cursor, "can_save": session.in_place is not None}

    def tell_edits(self, session: Session) -> None:
        """Tell every page that something was decided."""
        state = session.state
        self.events.tell("edits", recording=session.id, revision=state.revision, cursor=state.edits.cursor)

    async def ready(self, session: Session) -> None:
        """Wait until a recording is open, and refuse it if it cannot be.

        Raises:
            RefusalError: why.
        """
        session.check()
        if session.state.facts is not None and session.share > 0:
            return
        async with self._opening.setdefault(session.id, asyncio.Lock()):
            if session.state.facts is None:
                await self._open(session)
            if session.share == 0:
                session.share = 1e-6
                await self._ask(session, "survey")

    async def _try_ready(self, session: Session) -> None:
        try:
            await self.ready(session)
        except RefusalError as error:
            self.events.tell("recording", recording=session.id, error=error.to_json()["error"])
        else:
            self.events.tell("recording", recording=session.id)

    async def _open(self, session: Session) -> None:
        facts = from_dict(Facts, await self._ask(session, "open"))
        limits = self.settings.limits
        if facts.samples > limits.seconds * facts.rate:
            raise RefusalError(413, f"a recording must last at most {limits.seconds / 3600:g} hours")
        if facts.channels > limits.channels:
            raise RefusalError(413, f"a recording must have at most {limits.channels} channels, got {facts.channels}")
        session.keep(replace(session.state, facts=facts))

    async def _ask(self, session: Session, do: str, **wanted: Any) -> Told:
        told, _ = await self._asked_reader(session, do, **wanted)
        return told

    async def _asked_reader(self, session: Session, do: str, **wanted: Any) -> tuple[Told, bytes]:
        name = session.id
        self._asked[name] = self._asked.get(name, 0) + 1
        try:
            return await self.reader.ask(do, folder=str(session.folder), path=session.state.source.path, **wanted)
        except RefusalError as error:  # what it is called here, not where it lies
            told = str(error).replace(session.state.source.path, session.state.name)
            raise RefusalError(error.status, told, error.field, error.hint) from None
        finally:
            self._asked[name] -= 1

    async def read(self, session: Session, what: str, **wanted: Any) -> tuple[Told, bytes]:
        """Return what the reader draws or reads of a recording; once more if it breaks down."""
        try:
            return await self._asked_reader(session, what, revision=session.state.revision, **wanted)
        except RefusalError as error:
            if error.status != 503 or session.state.bad is not None:
                raise
            return await self._asked_reader(session, what, revision=session.state.revision, **wanted)

    def _heard(self, told: Told) -> None:
        """Take what the reader tells."""
        event, name = told.pop("event"), told["recording"]
        try:
            session = self.store[name]
        except RefusalError:  # it was removed meanwhile
            return
        if event == "survey" and "side" not in told:
            session.share = 1.0 if "error" in told else told["share"]  # what failed once is not tried for ever
            session.failure = told.get("error")
        if event == "length" and session.state.facts is not None:
            told.pop("recording")
            session.change(facts=from_dict(Facts, told))
            told = {"recording": name, "samples": session.facts.samples, "revision": session.state.revision}
        self.events.tell(event, **told)

    def _reader_lost(self, code: int) -> None:
        """Begin again after the reader has broken down: a file that does that to it three times is bad."""
        for session in self.store:
            if self._asked.get(session.id) or 0 < session.share < 1:
                session.n_crashes += 1
                if 0 < session.share < 1:
                    session.share = 0.0
                if session.n_crashes >= MOST_CRASHES and code != -9:
                    why = f"{session.state.name} cannot be read: it breaks the reader of audio"
                    session.keep(replace(session.state, bad=why))
            self.events.tell("recording", recording=session.id, lost="reader")
            if session.share == 0 and session.state.bad is None:
                self.soon(self._try_ready(session))

    async def upload(self, name: str, n_bytes: int, parts: AsyncIterator[bytes]) -> Session:
        """Take a recording that is sent.

        Raises:
            RefusalError: it is too large, or no audio, or there is too little room.
        """
        limits = self.settings.limits
        if n_bytes > limits.upload_bytes:
            raise RefusalError(413, f"a recording must have at most {limits.upload_bytes >> 30} GiB")
        self.store.check_room(n_bytes)
        name = _OTHER.sub("_", name).strip()[:200] or "recording"
        suffix = Path(name).suffix.lower()
        folder = self.store.new_folder()
        path = folder / f"source{suffix if suffix in READABLE else ''}"
        try:
            n_held = 0
            with path.open("wb") as file:
                async for part in parts:
                    n_held += len(part)
                    if n_held > n_bytes:
                        raise RefusalError(413, "more was sent than was said")
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            if n_held != n_bytes:
                raise RefusalError(400, f"{n_held} of {n_bytes} bytes were sent")
            session = self.store.add(name, Source.of(path, own=True), folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            await self.ready(session)
        except RefusalError as error:
            if error.status in (413, 415, 422):
                self.store.remove(session.id)
            raise
        self.events.tell("recording", recording=session.id)
        return session

    async def remove(self, session: Session) -> None:
        """Forget a recording."""
        await self._ask(session, "close")
        self.store.remove(session.id)
        self.events.tell("recording", recording=session.id, removed=True)

    def report(self, session: Session) -> Told:
        """Return what was found in a recording, and what was done to it."""
        edits = session.state.edits
        done = []
        for edit in edits.entries[: edits.cursor]:
            job = self.jobs[edit.job]
            told = {"kind": edit.kind, "settings": job.settings, "seed": job.seed, "choices": edit.choices}
            done.append(told | {"regions": [to_dict(region) for region in job.regions], "report": job.report})
        told = self.described(session)
        for name in ("edits", "cursor", "revision", "regions", "surveyed", "can_save", "bad"):
            told.pop(name, None)
        return {"masktools": __version__, **told, "edits": done}

    async def export(self, session: Session, what: str, format: str) -> tuple[Path, str]:
        """Write what leaves as a file, and return it, in a folder of its own, and the name that it shall have.

        Raises:
            RefusalError: an unknown format, or no room.
        """
        self.store.check_room(session.state.source.size)
        folder = session.folder / "exports" / new_id()
        folder.mkdir(parents=True)
        stem, wanted = Path(session.state.name).stem, {"folder_out": str(folder), "name": session.state.name}
        try:
            told = await self._ask(
                session, "export", revision=session.state.revision, what=what, format=format, **wanted
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        path = folder / told["file"]
        return path, f"{stem}{'-repaired' if what == 'audio' and session.state.edits.cursor else ''}{path.suffix}"

    async def save(self, session: Session) -> Told:
        """Write the repairs into the file that was named on the command line; its first original is kept beside it.

        Raises:
            RefusalError: it may not be written to, or was changed meanwhile.
        """
        state, target = session.state, session.in_place
        if target is None:
            raise RefusalError(403, "files are saved where they are only with --in-place", hint="export it instead")
        there = Source.of(target)
        if there not in (state.source, state.saves_to):
            raise RefusalError(410, f"{state.name} was changed by another program", hint="export the repaired one")
        original = target.with_name(f"{target.name}.orig")
        if not original.exists():
            _linked(target, original)
        if not state.source.own:  # what undo goes back to, whatever stands where it was
            own = session.folder / f"source{target.suffix.lower()}"
            own.unlink(missing_ok=True)
            _linked(target, own)
            state = replace(state, source=Source.of(own, own=True), saves_to=there)
            session.keep(state)
        told = await self._ask(session, "save", revision=state.revision, target=str(target))
        session.keep(replace(session.state, saves_to=Source.of(target)))
        self.events.tell("recording", recording=session.id, saved=True)
        self.on_saved()
        return {"saved": state.name, "original": original.name, **told}


def _linked(path: Path, other: Path) -> None:
    """Give a file, which is never written into but replaced, another name; copy it where it cannot have two."""
    try:
        os.link(path, other)
    except OSError:
        with replacing(other) as part:
            shutil.copyfile(path, part)
        shutil.copystat(path, other)
