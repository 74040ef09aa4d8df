"""The server itself: where it listens, what it says when it does, and how it ends."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn

from masktools.app.events import Events
from masktools.app.guard import Guard, Keys
from masktools.app.routes import make_app, read_static
from masktools.app.service import Service
from masktools.app.settings import Settings
from masktools.app.store import Store
from masktools.core.errors import ParameterError

DEFAULT_PORT = 8123
_STATIC = Path(__file__).parent / "static"
_END_S = 2


def listen(port: int | None) -> socket.socket:
    """Return a socket on this machine alone.

    Args:
        port: 0 for any that is free; None for the usual one, or any if that is taken.

    Raises:
        ParameterError: the port is taken.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", DEFAULT_PORT if port is None else port))
    except OSError as error:
        if port is not None:
            sock.close()
            raise ParameterError(f"port {port} cannot be used ({error.strerror}): --port 0 takes a free one") from error
        sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


def listen_at(path: Path) -> socket.socket:
    """Return a socket that has a place in the file system, for its owner alone.

    Raises:
        ParameterError: it cannot be made there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                try:
                    other.connect(str(path))
                except OSError:
                    path.unlink()
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise ParameterError(f"a socket cannot be made at {path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    sock.listen(128)
    return sock


def serve(
    files: Sequence[Path],
    store: Store,
    settings: Settings,
    sock: socket.socket,
    said: Callable[[str], None],
    allowed: Sequence[str] = (),
) -> None:
    """Serve until told to end.

    Args:
        files: recordings that stay where they are.
        store: where all else is kept.
        settings: limits and options of the server.
        sock: on which to listen.
        said: called with the address when the server listens.
        allowed: names of hosts beside those of this machine.
    """
    port = sock.getsockname()[1] if sock.family == socket.AF_INET else None
    keys = Keys(f"masktools-{port or 'socket'}")
    for number, path in enumerate(files, 1):
        session = store.open_file(path)
        session.named = number
        if settings.in_place:
            session.in_place = path
    asyncio.run(_serve(Service(store, keys, settings), sock, port, allowed, said))


class _Server(uvicorn.Server):
    """A server that lets the pages go that listen, before it waits for them to go."""

    events: Events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self.events.end()
        await super().shutdown(sockets)


async def _serve(
    service: Service, sock: socket.socket, port: int | None, allowed: Sequence[str], said: Callable[[str], None]
) -> None:
    app = make_app(service, read_static(_STATIC))

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        await service.start()
        said(f"http://127.0.0.1:{port or 8123}/#token={service.keys.token}")
        yield
        await service.end()

    app.router.lifespan_context = lifespan
    config = uvicorn.Config(
        Guard(app, service.keys, port, allowed),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=_END_S,
        h11_max_incomplete_event_size=32 << 10,
        proxy_headers=False,
    )
    server = _Server(config)
    server.events = service.events

    def saved() -> None:
        """Let who opened the file as an external editor go on: it waits for this program to end."""
        if service.settings.in_place and sum(session.in_place is not None for session in service.store) == 1:
            asyncio.get_running_loop().call_later(_END_S, setattr, server, "should_exit", True)

    service.on_saved = saved
    with suppress(asyncio.CancelledError):
        await server.serve([sock])
