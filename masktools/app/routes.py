"""The routes of the server: what a page may ask, and what it is answered."""

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from masktools.app.commands import Commands
from masktools.app.guard import refused
from masktools.app.refusals import CODES, RefusalError
from masktools.app.requests import Answering, Routes, answering, number_of, object_of, told
from masktools.app.service import Service

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


def read_static(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Return the files of the page by their names: nothing else can be asked for."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {one.name: (one.read_bytes(), _TYPES[one.suffix]) for one in files if one.suffix in _TYPES}


def make_app(service: Service, static: dict[str, tuple[bytes, str]]) -> Starlette:
    """Return the routes over a service."""
    routes, commands = Views(service, static), Commands(service)
    one, job = "/api/recordings/{id}", "/api/jobs/{id}"
    table: list[tuple[str, str, Answering]] = [
        ("POST", "/api/enter", routes.enter),
        ("GET", "/api/about", routes.about),
        ("GET", "/api/events", routes.events),
        ("GET", "/api/recordings", routes.recordings),
        ("PUT", "/api/recordings", routes.upload),
        ("GET", one, routes.state),
        ("DELETE", one, routes.remove),
        ("GET", f"{one}/peaks", routes.peaks),
        ("GET", f"{one}/tiles/{{side}}/{{channel:int}}/{{scale}}/{{level:int}}/{{index:int}}.png", routes.tile),
        ("GET", f"{one}/samples/{{side}}", routes.samples),
        ("GET", f"{one}/regions", commands.regions),
        ("PUT", f"{one}/regions", commands.put_regions),
        ("GET", f"{one}/labels.txt", commands.labels),
        ("PUT", f"{one}/labels.txt", commands.put_labels),
        ("POST", f"{one}/jobs", commands.submit),
        ("POST", f"{one}/edits", commands.edit),
        ("POST", f"{one}/undo", commands.undo),
        ("POST", f"{one}/redo", commands.redo),
        ("GET", f"{one}/export", commands.export),
        ("POST", f"{one}/save", commands.save),
        ("GET", "/api/jobs", commands.jobs),
        ("POST", "/api/jobs", commands.submit_alone),
        ("GET", job, commands.job),
        ("DELETE", job, commands.cancel),
        ("GET", "/", routes.static),
        ("GET", "/{name}", routes.static),
    ]
    app = Starlette(
        routes=[Route(path, answering(answer), methods=[method]) for method, path, answer in table],
        exception_handlers={HTTPException: _not_found},
    )
    app.router.redirect_slashes = False  # an absolute address would lead around a proxy
    return app


async def _not_found(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return refused(RefusalError(status if status in CODES else 400, "there is nothing of that name here"))


class Views(Routes):
    """The answers to a page that looks and listens."""

    def __init__(self, service: Service, static: dict[str, tuple[bytes, str]]) -> None:
        super().__init__(service)
        self._static = static

    async def static(self, request: Request) -> Response:
        """Return a file of the page."""
        name = request.path_params.get("name", "index.html")
        if name not in self._static:
            raise RefusalError(404, "there is nothing of that name here")
        content, kind = self._static[name]
        return Response(content, headers={"cache-control": "no-cache"}, media_type=kind)

    async def enter(self, request: Request) -> Response:
        """Change the token for a cookie."""
        token = (await object_of(request, "token")).get("token")
        if not isinstance(token, str) or not self._service.keys.fits(token):
            raise RefusalError(401, "open the address that was told at the start: this key is an old one")
        return Response(status_code=204, headers={"set-cookie": self._service.keys.as_header()})

    async def about(self, _: Request) -> Response:
        """Return what this server is, and may."""
        return told(self._service.about())

    async def events(self, request: Request) -> Response:
        """Return what happens, as it happens."""
        self._service.listened()
        stream = self._service.events.stream(request.headers.get("last-event-id"))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(stream, headers=headers, media_type="text/event-stream")

    async def recordings(self, _: Request) -> Response:
        """Return what recordings there are."""
        return told([self._service.listed(session) for session in self._service.store])

    async def upload(self, request: Request) -> Response:
        """Take a recording."""
        length = request.headers.get("content-length")
        if length is None or not length.isdecimal():
            raise RefusalError(411, "the length of a recording must be said before it is sent")
        name = request.query_params.get("name", "")
        session = await self._service.upload(name, int(length), request.stream())
        return told({"id": session.id}, 201)

    async def state(self, request: Request) -> Response:
        """Return all that is known of a recording, and was decided."""
        session = self._session(request)
        await self._service.ready(session)
        session.touch()
        return told(self._service.described(session))

    async def remove(self, request: Request) -> Response:
        """Forget a recording."""
        await self._service.remove(self._session(request))
        return Response(status_code=204)

    async def peaks(self, request: Request) -> Response:
        """Return least and greatest samples."""
        self._session(request)  # that there is none is said first
        wanted: dict[str, Any] = {"side": request.query_params.get("side", "before")}
        wanted |= {"start": number_of(request, "from"), "stop": number_of(request, "to")}
        return await self._read(request, "peaks", width=number_of(request, "width"), **wanted)

    async def tile(self, request: Request) -> Response:
        """Return a picture of a part of a spectrogram."""
        parts = {name: value for name, value in request.path_params.items() if name != "id"}
        if parts["scale"] not in ("mel", "linear"):
            raise RefusalError(404, "there is no such part of the spectrogram")
        return await self._read(request, "tile", "image/png", **parts)

    async def samples(self, request: Request) -> Response:
        """Return samples."""
        self._session(request)
        wanted: dict[str, Any] = {"start": number_of(request, "from"), "count": number_of(request, "count")}
        return await self._read(request, "samples", side=request.path_params["side"], **wanted)

    async def _read(
        self, request: Request, what: str, media_type: str = "application/octet-stream", **wanted: Any
    ) -> Response:
        session = self._session(request)
        await self._service.ready(session)
        revision = session.state.revision
        known, content = await self._service.read(session, what, **wanted)
        is_final = known.get("true", False) and request.query_params.get("r") == str(revision)
        headers = {"cache-control": "private, max-age=86400, immutable" if is_final else "no-store"}
        return Response(content, headers={**headers, "x-revision": str(revision)}, media_type=media_type)
