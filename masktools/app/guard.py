"""Who may ask: this page, opened by who started the server, and nobody else.

Other pages are kept away by Host, Origin and Sec-Fetch-Site (a name that is made to lead to this machine changes none
of them), other users of the machine by a token, and forms by a header that they cannot send.
"""

import hmac
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from masktools.app.refusals import RefusalError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADER = "x-masktools"
_READING = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


class Keys:
    """The token that is in the address, and the cookie that it is changed for."""

    def __init__(self, name: str) -> None:
        """Draw both; ``name`` is that of the cookie."""
        self.name = name
        self.token = secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(24)

    def fits(self, token: str) -> bool:
        """Tell whether this is the token."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def is_known(self, request: Request) -> bool:
        """Tell whether a request has the cookie."""
        try:
            sent = SimpleCookie(request.headers.get("cookie", "")).get(self.name)
        except CookieError:
            return False
        return sent is not None and hmac.compare_digest(sent.value.encode(), self._cookie.encode())

    def as_header(self) -> str:
        """Return what sets the cookie, for the paths under which it was asked for, whatever a proxy puts before."""
        return f"{self.name}={self._cookie}; HttpOnly; SameSite=Strict"


class Guard:
    """Lets requests through to the routes, or refuses them; every answer tells the browser what it must not do."""

    def __init__(self, app: ASGIApp, keys: Keys, port: int | None, allowed: Iterable[str] = ()) -> None:
        """Take what is guarded.

        Args:
            app: the routes.
            keys: keys of this server.
            port: on which it listens; None for a socket, whose port is another's affair.
            allowed: names of hosts beside those of this machine, each with its port if it has one.
        """
        self._app, self._keys, self._port = app, keys, port
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                added = [(name, value) for name, value in _HEADERS.items() if name not in own]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            self._check(Request(scope))
        except RefusalError as error:
            await refused(error)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _check(self, request: Request) -> None:
        headers = request.headers
        if not self._is_ours(headers.get("host", "")) or len(headers.getlist("host")) != 1:
            raise RefusalError(403, "the name in the address is not this server's", hint="--allow-host NAME lets it be")
        path = request.url.path
        is_visit = request.method in _READING and not path.startswith("/api/")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and not self._is_origin(origin):
            raise RefusalError(403, "another page must not ask this server")
        if site not in ("same-origin", "none") and not (is_visit and headers.get("sec-fetch-mode") == "navigate"):
            raise RefusalError(403, "another page must not ask this server")
        if request.method not in _READING and HEADER not in headers:
            raise RefusalError(403, "the header X-Masktools is missing")
        if path.startswith("/api/") and path != "/api/enter" and not self._keys.is_known(request):
            raise RefusalError(401, "open the address that was told at the start: this page has no key, or an old one")

    def _is_ours(self, host: str) -> bool:
        host = host.lower()
        name, port = _parted(host)
        if name in LOOPBACK:
            return self._port is None or port == self._port or (self._port == 80 and port is None)
        return host in self._allowed or name in self._allowed

    def _is_origin(self, origin: str) -> bool:
        scheme, _, host = origin.lower().partition("://")
        if scheme not in ("http", "https") or not host or "/" in host:
            return False
        return self._is_ours(host) and (scheme == "http" or _parted(host)[0] not in LOOPBACK or self._port is None)


def _parted(host: str) -> tuple[str, int | None]:
    """Return the name and the port of a host; no name where it is none.

    >>> _parted("[::1]:8123"), _parted("localhost"), _parted("a@b")
    (('[::1]', 8123), ('localhost', None), ('', None))
    """
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return "", None
    name = host.removesuffix(f":{port}") if port is not None else host
    return (name, port) if parts.netloc == host and "@" not in host and name else ("", None)


def refused(error: RefusalError) -> Response:
    """Return a refusal as an answer."""
    import json

    return Response(
        json.dumps(error.to_json()), error.status, {"cache-control": "no-store"}, media_type="application/json"
    )
