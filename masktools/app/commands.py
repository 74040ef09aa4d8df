"""The routes by which a page has something done: jobs, edits, labels, exports, saving."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from masktools.app.edits import Edit
from masktools.app.jobs import Job, choices_of
from masktools.app.refusals import RefusalError
from masktools.app.requests import Routes, as_download, bytes_of, json_of, object_of, told
from masktools.app.settings import KINDS, JobSettings
from masktools.app.store import Region, Session, damage_in, new_id, read_regions
from masktools.core.configs import from_dict, to_dict
from masktools.core.errors import ParameterError
from masktools.core.gaps import Label, label_lines, parse_labels

ALONE = ("generate", "batch")
ON_RECORDINGS = tuple(kind for kind in KINDS if kind not in ALONE)
MOST_CANDIDATES = 8
_MOST_LABELS = 4 << 20
_PART = 1 << 20


@dataclass(frozen=True)
class Asked:
    """A job on a recording, as a page asks for it."""

    kind: str
    regions: tuple[Any, ...] = ()  # ids of regions, or regions
    settings: dict[str, Any] = field(default_factory=dict)
    n_candidates: int = 1
    seed: int = 0


@dataclass(frozen=True)
class AskedAlone:
    """A job that is on no recording that is open."""

    kind: str
    prompt: str | None = None
    seconds: float = 10.0
    n: int = 1
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    source: str | None = None  # the number of a folder, as ``about`` lists them
    target: str | None = None
    what: str = "restore"


class Commands(Routes):
    """The answers to a page that has something done."""

    async def submit(self, request: Request) -> Response:
        """Take a job on a recording."""
        session = self._session(request)
        await self._service.ready(session)
        session.check(request.headers.get("if-match"))
        asked = _parsed(Asked, await json_of(request))
        if asked.kind not in ON_RECORDINGS:
            told = f"kind must be one of {', '.join(ON_RECORDINGS)}, got {asked.kind[:20]!r}"
            raise RefusalError(422, told, "kind")
        _check_between("n_candidates", asked.n_candidates, 1, MOST_CANDIDATES)
        regions = _regions(session, asked.regions)
        own = {"kind": asked.kind, "recording": session.id, "regions": regions, "seed": _seed(asked.seed)}
        settings = _settings(asked.kind, asked.settings)
        return self._taken(**own, settings=settings, n_candidates=asked.n_candidates)

    async def submit_alone(self, request: Request) -> Response:
        """Take a job on no recording: new ones are made, or folders worked through."""
        asked = _parsed(AskedAlone, await json_of(request))
        if asked.kind not in ALONE:
            raise RefusalError(422, f"kind must be {' or '.join(ALONE)}, got {asked.kind[:20]!r}", "kind")
        settings = _settings(asked.kind, {**asked.settings, "prompt": asked.prompt, "seconds": asked.seconds})
        if asked.kind == "generate":
            _check_between("n", asked.n, 1, MOST_CANDIDATES)
            _check_between("seconds", asked.seconds, 0.1, 600.0)
            return self._taken(kind="generate", settings=settings, n=asked.n, seed=_seed(asked.seed))
        if asked.what not in ("restore", "inpaint", "bwe"):
            raise RefusalError(422, f"what must be restore, inpaint or bwe, got {asked.what[:20]!r}", "what")
        folders = {name: self._service.folder(name, getattr(asked, name)) for name in ("source", "target")}
        if folders["source"] == folders["target"]:
            raise RefusalError(422, "the results must go to another folder", "target")
        paths = {name: str(path) for name, path in folders.items()}
        return self._taken(kind="batch", settings=settings, what=asked.what, seed=_seed(asked.seed), **paths)

    def _taken(self, **parts: Any) -> Response:
        return told({"job": self._service.jobs.submit(**parts).id}, 202)

    async def jobs(self, _: Request) -> Response:
        """Return all jobs."""
        return told([self._shown(job) for job in self._service.jobs])

    async def job(self, request: Request) -> Response:
        """Return a job, with what there is to choose from."""
        return told(self._shown(self._service.jobs[request.path_params["id"]]))

    def _shown(self, job: Job) -> dict[str, Any]:
        shown = self._service.jobs.described(job)
        for name in ("source", "target"):
            shown[name] = shown[name] and Path(shown[name]).name
        return shown

    async def cancel(self, request: Request) -> Response:
        """Let a job end."""
        self._service.soon(self._service.jobs.cancel(self._service.jobs[request.path_params["id"]].id))
        return Response(status_code=202)

    async def edit(self, request: Request) -> Response:
        """Accept what a job has made."""
        session = self._session(request)
        session.check(request.headers.get("if-match"))
        body = await object_of(request, "job", "choices")
        job = self._service.jobs[str(body.get("job"))]
        if job.recording != session.id:
            raise RefusalError(422, "this job is of another recording", "job")
        edit = Edit(new_id(), job.kind, job.id, choices_of(job, session.folder, body.get("choices")))
        return self._changed(session, edits=session.state.edits.add(edit))

    async def undo(self, request: Request) -> Response:
        """Go back by one edit."""
        session = self._session(request)
        session.check(request.headers.get("if-match"))
        return self._changed(session, edits=session.state.edits.undo())

    async def redo(self, request: Request) -> Response:
        """Go forth by one edit."""
        session = self._session(request)
        session.check(request.headers.get("if-match"))
        return self._changed(session, edits=session.state.edits.redo())

    def _changed(self, session: Session, **changes: Any) -> Response:
        session.change(**changes)
        self._service.tell_edits(session)
        return told(self._service.described(session))

    async def regions(self, request: Request) -> Response:
        """Return what is marked."""
        return told(to_dict(self._session(request).state)["regions"])

    async def put_regions(self, request: Request) -> Response:
        """Take what is marked."""
        session = self._session(request)
        await self._service.ready(session)
        regions = read_regions(await json_of(request, _MOST_LABELS), session.facts)
        session.check(request.headers.get("if-match"))
        session.change(regions=regions)
        self._service.tell_edits(session)
        return told({"revision": session.state.revision})

    async def labels(self, request: Request) -> Response:
        """Return what is marked as labels of Audacity's; if nothing is, what was found."""
        session = self._session(request)
        await self._service.ready(session)
        rate = session.facts.rate
        regions = session.state.regions or damage_in(session.findings(), session.facts.channels)
        lines = [
            label_lines(Label(0, one.start / rate, one.end / rate, one.prompt or one.kind, one.low_hz, one.high_hz))
            for one in regions
        ]
        name = f"{Path(session.state.name).stem}-labels.txt"
        return Response("".join(lines), headers={"content-disposition": as_download(name)}, media_type="text/plain")

    async def put_labels(self, request: Request) -> Response:
        """Take labels of Audacity's as what is marked."""
        session = self._session(request)
        await self._service.ready(session)
        facts = session.facts
        try:
            text = (await bytes_of(request, _MOST_LABELS)).decode("utf-8-sig")
            labels = parse_labels(text, "the labels")
        except UnicodeDecodeError:
            raise RefusalError(400, "the labels must be a text in UTF-8") from None
        except ParameterError as error:
            raise RefusalError(400, str(error)) from None
        spans = [one for one in labels if one.start_s != one.end_s]
        if labels and not spans:
            raise RefusalError(422, "there must be a label that spans a time, got points only")
        listed = [
            {"id": new_id(), "start": round(one.start_s * facts.rate), "end": round(one.end_s * facts.rate)}
            | ({"low_hz": one.low_hz, "high_hz": one.high_hz} if one.high_hz is not None else {})
            | ({"prompt": one.text[:1000]} if one.text.strip() else {})
            for one in spans
        ]
        session.check(request.headers.get("if-match"))
        return self._changed(session, regions=read_regions(listed, facts))

    async def export(self, request: Request) -> Response:
        """Return the recording with its repairs, a report of them, or a page that compares."""
        session = self._session(request)
        await self._service.ready(session)
        what, format = (request.query_params.get(name, default) for name, default in _EXPORTED)
        stem = Path(session.state.name).stem
        if what == "report":
            headers = {"content-disposition": as_download(f"{stem}-report.json")}
            return Response(
                json.dumps(self._service.report(session), indent=2) + "\n",
                headers=headers,
                media_type="application/json",
            )
        if what not in ("audio", "page"):
            raise RefusalError(422, f"what must be audio, report or page, got {what[:20]!r}", "what")
        path, name = await self._service.export(session, what, format)
        size = path.stat().st_size
        headers = {"content-disposition": as_download(name), "content-length": str(size), "cache-control": "no-store"}
        return StreamingResponse(_streamed(path), headers=headers, media_type="application/octet-stream")

    async def save(self, request: Request) -> Response:
        """Write the repairs into the file that was named on the command line."""
        session = self._session(request)
        await self._service.ready(session)
        session.check(request.headers.get("if-match"))
        return told(await self._service.save(session))


_EXPORTED = (("what", "audio"), ("format", "keep"))


async def _streamed(path: Path) -> AsyncIterator[bytes]:
    """Yield a file part by part, and remove it, and the folder that it is in."""
    try:
        async with await anyio.open_file(path, "rb") as file:
            while part := await file.read(_PART):
                yield part
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _parsed(kind: Any, content: Any) -> Any:
    try:
        return from_dict(kind, content)
    except ParameterError as error:
        raise RefusalError(400, str(error)) from None


def _settings(kind: str, said: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a job, all of which are known and in their ranges."""
    try:
        JobSettings.read(said, kind)
    except ParameterError as error:
        named = str(error).split()[0]
        raise RefusalError(422, str(error), named if named in said else "settings") from None
    return said


def _regions(session: Session, asked: tuple[Any, ...]) -> tuple[Region, ...]:
    """Return the regions that a job is about: those of an id, or as they are given."""
    own = {region.id: to_dict(region) for region in session.state.regions}
    listed = []
    for one in asked:
        if isinstance(one, str):
            if one not in own:
                raise RefusalError(422, f"there is no region {one[:40]!r}", "regions")
            listed.append(own[one])
        else:
            listed.append({"id": new_id(), **one} if isinstance(one, dict) else one)
    return read_regions(listed, session.facts)


def _seed(seed: int) -> int:
    _check_between("seed", seed, 0, 2**31 - 1)
    return seed


def _check_between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RefusalError(422, f"{name} must lie in {low:g}-{high:g}, got {value:g}", name)
