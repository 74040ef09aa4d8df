"""Jobs of a server: one after the other at the worker, on the disk from the beginning, cancelled for certain.

States: queued, running, done, failed, cancelled, and lost, if the server or the worker ended while it ran.
"""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from masktools.app.edits import result_of
from masktools.app.events import Events
from masktools.app.link import Process, Told
from masktools.app.refusals import RefusalError
from masktools.app.store import Region, Session, Source, Store, new_id
from masktools.core.configs import from_dict, read_json, to_dict
from masktools.core.errors import ParameterError
from masktools.io import replacing

QUEUED, RUNNING, DONE, FAILED, CANCELLED, LOST = "queued", "running", "done", "failed", "cancelled", "lost"
RECORD = "job.json"


@dataclass(frozen=True)
class Job:
    """A job, as it is kept."""

    id: str
    kind: str
    created_s: float
    recording: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    n_candidates: int = 1
    n: int = 1
    seed: int = 0
    what: str = "restore"  # is done to many files
    source: str | None = None
    target: str | None = None
    state: str = QUEUED
    share: float = 0.0
    seconds_left: float | None = None
    seconds: float | None = None  # that it took
    report: dict[str, Any] = field(default_factory=dict)
    made: tuple[str, ...] = ()  # new recordings
    error: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the job has ended: done, failed or cancelled."""
        return self.state not in (QUEUED, RUNNING)


class Jobs:
    """All jobs of a server."""

    def __init__(self, store: Store, events: Events, most: int, options: Told, steps_s: tuple[float, float]) -> None:
        """Find what there was.

        Args:
            store: store of the recordings.
            events: that pages are told.
            most: jobs that may wait.
            options: options of the model, for ``masktools.load``.
            steps_s: seconds from the request to end to SIGTERM, and from there to SIGKILL.
        """
        self._store, self._events, self._most, self._options, self._steps_s = store, events, most, options, steps_s
        self.worker = Process("masktools.app.worker", self._heard, self._nothing)
        self._jobs: dict[str, Job] = {}
        self._wanted = asyncio.Event()
        self._cancelled: set[str] = set()
        self.opened: Callable[[Session], object] = self._nothing
        for job in self._found():
            self._jobs[job.id] = job

    def _nothing(self, _: Any) -> None:
        """Nobody cares."""

    def _found(self) -> list[Job]:
        places = [self._store.folder, *(session.folder for session in self._store)]
        found = []
        for path in (path for place in places for path in place.glob(f"jobs/*/{RECORD}")):
            with suppress(ParameterError):
                job = from_dict(Job, read_json(path))
                if job.state == RUNNING:
                    error = {"code": "lost", "message": "the server ended while this ran", "hint": "start it again"}
                    job = replace(job, state=LOST, error=error)
                found.append(job)
        return sorted(found, key=lambda job: job.created_s)

    def folder_of(self, job: Job) -> Path:
        """Return where a job is kept."""
        place = self._store.folder if job.recording is None else self._store[job.recording].folder
        return place / "jobs" / job.id

    def __iter__(self) -> Any:
        return iter([job for job in self._jobs.values() if self._is_there(job)])

    def _is_there(self, job: Job) -> bool:
        return job.recording is None or any(session.id == job.recording for session in self._store)

    def __getitem__(self, name: str) -> Job:
        """Return a job.

        Raises:
            RefusalError: there is none of that name.
        """
        job = self._jobs.get(name)
        if job is None or not self._is_there(job):
            raise RefusalError(404, "there is no such job here")
        return job

    def described(self, job: Job) -> Told:
        """Return a job as the page is told it, with what there is to choose from."""
        told = to_dict(job)
        if job.state == DONE and job.recording is not None:
            candidates = result_of(self._store[job.recording].folder, job.id)
            told["candidates"] = {
                region: [{name: value for name, value in one.items() if name != "pieces"} for one in listed]
                for region, listed in candidates.items()
            }
        return told

    def submit(self, **parts: Any) -> Job:
        """Take a job.

        Raises:
            RefusalError: too many wait, or there is too little room.
        """
        if sum(not job.is_over for job in self) >= self._most:
            raise RefusalError(429, f"{self._most} jobs wait already", hint="wait for some of them, or cancel them")
        self._store.check_room()
        job = Job(new_id(), created_s=time.time(), **parts)
        self.folder_of(job).mkdir(parents=True)
        self._keep(job)
        self._wanted.set()
        return job

    def _keep(self, job: Job, on_disk: bool = True, **more: Any) -> None:
        if on_disk and self._is_there(job):
            with replacing(self.folder_of(job) / RECORD) as part:
                part.write_text(json.dumps(to_dict(job)), encoding="utf-8")
        self._jobs[job.id] = job
        told: Told = {"job": job.id, "kind": job.kind, "recording": job.recording, "state": job.state}
        told |= {"share": job.share, "seconds_left": job.seconds_left, "error": job.error, "made": list(job.made)}
        self._events.tell("job", **told, **more)

    def _heard(self, told: Told) -> None:
        """Take what the worker tells about the job at work."""
        job = self._jobs.get(told["job"])
        if job is None or job.state != RUNNING or told["event"] != "job":
            return
        job = replace(job, share=told["share"], seconds_left=told["seconds_left"])
        if told.get("file"):
            job = replace(job, report={**job.report, "files": [*job.report.get("files", ()), told["file"]]})
        self._keep(job, on_disk=False, file=told.get("file"))

    async def run(self) -> None:
        """Do one job after the other, for ever."""
        while True:
            job = next((job for job in self if job.state == QUEUED), None)
            if job is None:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            started = time.monotonic()
            try:
                job = await self._done(job)
            except RefusalError as error:
                state = CANCELLED if job.id in self._cancelled else LOST if error.status == 503 else FAILED
                told = None if state == CANCELLED else error.to_json()["error"]
                job = replace(self._jobs[job.id], state=state, error=told)
            except Exception as error:  # a fault of ours; the jobs behind it shall not pay for it
                told = {"code": "failed", "message": f"{type(error).__name__}: {error}"}
                job = replace(self._jobs[job.id], state=FAILED, error=told)
            self._conclude(replace(job, seconds=round(time.monotonic() - started, 3), seconds_left=None))

    def _conclude(self, job: Job) -> None:
        self._cancelled.discard(job.id)
        if job.state != DONE and self._is_there(job):
            for path in self.folder_of(job).iterdir():
                if path.name != RECORD:
                    path.unlink(missing_ok=True)
        try:
            self._keep(job)
        except Exception as error:  # the disk is full: it is told, and lost with the server
            self._keep(replace(job, error={"code": "disk_full", "message": str(error)}), on_disk=False)

    async def _done(self, job: Job) -> Job:
        """Return a job when it was done."""
        folder = self.folder_of(job)
        asked: Told = {"settings": job.settings, "seed": job.seed}
        if job.recording is not None:
            session = self._store[job.recording]
            session.check()
            asked |= {"recording": str(session.folder), "path": session.state.source.path}
            asked |= {"revision": session.state.revision, "regions": [to_dict(one) for one in job.regions]}
            asked |= {"n_candidates": job.n_candidates}
        else:
            asked |= {"count": job.n, "source": job.source, "target": job.target, "what": job.what}
        job = replace(job, state=RUNNING)
        self._keep(job)
        told, _ = await self.worker.ask(
            "run", job=job.id, kind=job.kind, folder=str(folder), options=self._options, **asked
        )
        job = self._jobs[job.id]
        if told.get("cancelled"):
            return replace(job, state=CANCELLED)
        made = [self._taken(folder / name, job) for name in told.get("made", ())]
        return replace(job, state=DONE, share=1.0, report=told["report"], made=tuple(one.id for one in made))

    def _taken(self, path: Path, job: Job) -> Session:
        """Return a new recording that a job has made."""
        folder = self._store.new_folder()
        source = folder / f"source{path.suffix}"
        path.replace(source)
        if job.recording is not None:
            stem = Path(self._store[job.recording].state.name).stem
            name = f"{stem} ({'extended' if job.kind == 'extend' else 'full band'}){path.suffix}"
        else:
            words = "".join(sign if sign.isalnum() else " " for sign in job.settings.get("prompt") or "made").split()
            name = f"{' '.join(words)[:60]} {path.stem.partition('-')[2]}".strip() + path.suffix
        session = self._store.add(name, Source.of(source, own=True), folder)
        self.opened(session)
        return session

    async def cancel(self, name: str) -> None:
        """Let a job end.

        Raises:
            RefusalError: there is none of that name, or it has ended.
        """
        job = self[name]
        if job.is_over:
            raise RefusalError(409, f"this job has ended: it is {job.state}")
        if job.state == QUEUED:
            self._conclude(replace(job, state=CANCELLED))
            return
        if name in self._cancelled:
            return
        self._cancelled.add(name)
        wish = asyncio.create_task(self.worker.ask("cancel", job=name))  # which may never be answered
        wish.add_done_callback(lambda told: told.cancelled() or told.exception())
        for pause_s, number in zip(self._steps_s, (signal.SIGTERM, signal.SIGKILL), strict=True):
            deadline = time.monotonic() + pause_s
            while not self._jobs[name].is_over:
                if time.monotonic() >= deadline:
                    self.worker.signal(number)
                    break
                await asyncio.sleep(0.05)
            else:  # looked at last: who is signalled after that may be at the next job
                wish.cancel()
                return


def choices_of(job: Job, folder: Path, given: Any) -> dict[str, int]:
    """Return which candidate of each region is accepted: those given, or else the best of all.

    Raises:
        RefusalError: a region or a candidate that the job does not have.
    """
    if job.state != DONE:
        raise RefusalError(409, f"this job has nothing to choose from: it is {job.state}")
    found = result_of(folder, job.id)
    choices = dict.fromkeys(found, 0) if given is None else given
    if not isinstance(choices, dict) or not choices:
        raise RefusalError(422, "there is nothing to choose" if not found else "choices must name a region", "choices")
    for region, candidate in choices.items():
        if region not in found:
            raise RefusalError(422, f"the job has no region {region[:40]!r}", "choices")
        if type(candidate) is not int or not 0 <= candidate < len(found[region]):
            n = len(found[region])
            raise RefusalError(422, f"a candidate must lie in 0-{n - 1}, got {str(candidate)[:20]}", "choices")
    return choices
