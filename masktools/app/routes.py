"""The routes of the server: what a page may ask, and what it is answered."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from masktools.app.guard import refused
from masktools.app.refusals import CODES, RefusalError, refusal_of
from masktools.app.service import Service
from masktools.app.store import Session, read_regions
from masktools.configs import to_dict
from masktools.jsons import parse_json

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_MOST_JSON = 64 << 10
_MOST_LABELS = 4 << 20

Answering = Callable[[Request], Awaitable[Response]]


def read_static(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Return the files of the page by their names: nothing else can be asked for."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {one.name: (one.read_bytes(), _TYPES[one.suffix]) for one in files if one.suffix in _TYPES}


def make_app(service: Service, static: dict[str, tuple[bytes, str]]) -> Starlette:
    """Return the routes over a service."""
    routes = Routes(service, static)
    one = "/api/recordings/{id}"
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
        ("GET", f"{one}/regions", routes.regions),
        ("PUT", f"{one}/regions", routes.put_regions),
        ("GET", "/", routes.static),
        ("GET", "/{name}", routes.static),
    ]
    return Starlette(
        routes=[Route(path, _answering(answer), methods=[method]) for method, path, answer in table],
        exception_handlers={HTTPException: _not_found},
    )


def _answering(answer: Answering) -> Answering:
    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except Exception as error:  # whatever goes wrong is one line, and the server goes on
            return refused(refusal_of(error))

    return answered


async def _not_found(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return refused(RefusalError(status if status in CODES else 400, "there is nothing of that name here"))


class Routes:
    """The answers to a page."""

    def __init__(self, service: Service, static: dict[str, tuple[bytes, str]]) -> None:
        self._service, self._static = service, static

    def _session(self, request: Request) -> Session:
        return self._service.store[request.path_params["id"]]

    async def static(self, request: Request) -> Response:
        """Return a file of the page."""
        name = request.path_params.get("name", "index.html")
        if name not in self._static:
            raise RefusalError(404, "there is nothing of that name here")
        content, kind = self._static[name]
        return Response(content, headers={"cache-control": "no-cache"}, media_type=kind)

    async def enter(self, request: Request) -> Response:
        """Change the token for a cookie."""
        token = (await _json(request, "token")).get("token")
        if not isinstance(token, str) or not self._service.keys.fits(token):
            raise RefusalError(401, "open the address that masktools printed: this key is an old one")
        return Response(status_code=204, headers={"set-cookie": self._service.keys.as_header()})

    async def about(self, _: Request) -> Response:
        """Return what this server is, and may."""
        return _told(self._service.about())

    async def events(self, request: Request) -> Response:
        """Return what happens, as it happens."""
        stream = self._service.events.stream(request.headers.get("last-event-id"))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(stream, headers=headers, media_type="text/event-stream")

    async def recordings(self, _: Request) -> Response:
        """Return what recordings there are."""
        return _told([self._service.listed(session) for session in self._service.store])

    async def upload(self, request: Request) -> Response:
        """Take a recording."""
        length = request.headers.get("content-length")
        if length is None or not length.isdecimal():
            raise RefusalError(411, "the length of a recording must be said before it is sent")
        name = request.query_params.get("name", "")
        session = await self._service.upload(name, int(length), request.stream())
        return _told({"id": session.id}, 201)

    async def state(self, request: Request) -> Response:
        """Return all that is known of a recording, and was decided."""
        session = self._session(request)
        await self._service.ready(session)
        return _told(self._service.described(session))

    async def remove(self, request: Request) -> Response:
        """Forget a recording."""
        await self._service.remove(self._session(request))
        return Response(status_code=204)

    async def peaks(self, request: Request) -> Response:
        """Return least and greatest samples."""
        wanted = {"side": request.query_params.get("side", "before")}
        wanted |= {"start": _number(request, "from"), "stop": _number(request, "to")}
        return await self._read(request, "peaks", width=_number(request, "width"), **wanted)

    async def tile(self, request: Request) -> Response:
        """Return a picture of a part of a spectrogram."""
        parts = {name: value for name, value in request.path_params.items() if name != "id"}
        if parts["scale"] not in ("mel", "linear"):
            raise RefusalError(404, "there is no such part of the spectrogram")
        return await self._read(request, "tile", "image/png", **parts)

    async def samples(self, request: Request) -> Response:
        """Return samples."""
        wanted = {"start": _number(request, "from"), "count": _number(request, "count")}
        return await self._read(request, "samples", side=request.path_params["side"], **wanted)

    async def _read(
        self, request: Request, what: str, kind: str = "application/octet-stream", **wanted: Any
    ) -> Response:
        session = self._session(request)
        await self._service.ready(session)
        revision = session.state.revision
        content = await self._service.read(session, what, **wanted)
        # what was asked for by a revision stays, once all was surveyed; the share is part of the page's revision
        is_final = session.share >= 1 and request.query_params.get("r") == f"{revision}"
        headers = {"cache-control": "private, max-age=86400, immutable" if is_final else "no-store"}
        return Response(content, headers={**headers, "x-revision": str(revision)}, media_type=kind)

    async def regions(self, request: Request) -> Response:
        """Return what is marked."""
        return _told(to_dict(self._session(request).state)["regions"])

    async def put_regions(self, request: Request) -> Response:
        """Take what is marked."""
        session = self._session(request)
        await self._service.ready(session)
        regions = read_regions(await _body(request, _MOST_LABELS), session.facts)
        session.check(request.headers.get("if-match"))
        session.change(regions=regions)
        self._service.tell_edits(session)
        return _told({"revision": session.state.revision})


def _told(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, {"cache-control": "no-store"})


async def _body(request: Request, most: int = _MOST_JSON) -> Any:
    """Return the body of a request, which must be JSON, and short."""
    try:
        return parse_json(await _bytes(request, most))
    except ValueError:
        raise RefusalError(400, "the request must be JSON") from None


async def _bytes(request: Request, most: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise RefusalError(413, f"a request must be at most {most >> 10} kB")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise RefusalError(413, f"a request must be at most {most >> 10} kB")
    return bytes(body)


async def _json(request: Request, *keys: str) -> dict[str, Any]:
    """Return an object of which only some keys are known."""
    body = await _body(request)
    if not isinstance(body, dict) or set(body) - set(keys):
        raise RefusalError(400, f"the request must be an object of {', '.join(keys)}")
    return body


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isdecimal() or not text.isascii() or len(text) > 15:
        raise RefusalError(400, f"{name} must be a whole number", name)
    return int(text)


def as_download(name: str) -> str:
    """Return the header that names a download, whatever letters the name has."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def as_json(content: Any) -> bytes:
    """Return content as JSON for a download."""
    return json.dumps(content, indent=2).encode() + b"\n"
