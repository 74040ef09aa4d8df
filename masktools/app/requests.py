"""Requests as the routes take them, and answers as they give them."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from masktools.app.guard import refused
from masktools.app.refusals import RefusalError, refusal_of
from masktools.app.service import Service
from masktools.app.store import Session
from masktools.core.configs import parse_json

MOST_JSON = 64 << 10

Answering = Callable[[Request], Awaitable[Response]]


class Routes:
    """Answers to a page, over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _session(self, request: Request) -> Session:
        return self._service.store[request.path_params["id"]]


def answering(answer: Answering) -> Answering:
    """Return an answer that is a refusal where something goes wrong: one line, and the server goes on."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            return refused(refusal_of(error))

    return answered


def told(content: Any, status: int = 200) -> Response:
    """Return content as an answer that is not kept."""
    return JSONResponse(content, status, {"cache-control": "no-store"})


async def json_of(request: Request, most: int = MOST_JSON) -> Any:
    """Return the body of a request.

    Raises:
        RefusalError: it is too long, or no JSON.
    """
    try:
        return parse_json(await bytes_of(request, most))
    except ValueError:
        raise RefusalError(400, "the request must be JSON") from None


async def bytes_of(request: Request, most: int) -> bytes:
    """Return the body of a request.

    Raises:
        RefusalError: it is too long.
    """
    length = request.headers.get("content-length", "")
    body = bytearray()
    if not length.isdecimal() or int(length) <= most:
        async for part in request.stream():
            body += part
            if len(body) > most:
                break
        else:
            return bytes(body)
    raise RefusalError(413, f"this request must be at most {most >> 10} kB")


async def object_of(request: Request, *keys: str) -> dict[str, Any]:
    """Return an object of which only some keys are known.

    Raises:
        RefusalError: it is another.
    """
    body = await json_of(request)
    if not isinstance(body, dict) or set(body) - set(keys):
        raise RefusalError(400, f"the request must be an object of {', '.join(keys)}")
    return body


def number_of(request: Request, name: str) -> int:
    """Return a number of the query.

    Raises:
        RefusalError: it is none.
    """
    text = request.query_params.get(name, "")
    if not text.isdecimal() or not text.isascii() or len(text) > 15:
        raise RefusalError(400, f"{name} must be a whole number", name)
    return int(text)


def as_download(name: str) -> str:
    """Return the header that names a download, whatever letters the name has."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
