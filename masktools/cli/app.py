"""Commands that open a page: app, and demo, which makes one."""

import argparse
import os
import webbrowser
from functools import partial
from pathlib import Path

from masktools.cli import options
from masktools.core.arguments import check_installed
from masktools.core.errors import ParameterError


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="*", type=Path, metavar="FILES", help="recordings, and folders for batches")
    parser.add_argument(
        "--port",
        type=options.whole_number(0, 65_535),
        metavar="N",
        help="8123, or any that is free, if left out; 0 for any that is free",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    parser.add_argument(
        "--in-place", action="store_true", help="let FILES be saved where they are; each first original becomes .orig"
    )
    parser.add_argument(
        "--uds", type=Path, metavar="PATH", help="listen at a socket of the file system, for ssh -L, not at a port"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name that this machine has for a proxy"
    )
    parser.add_argument(
        "--sessions",
        type=Path,
        metavar="FOLDER",
        help="where what was done is kept; by default below ~/.local/state",
    )
    parser.add_argument(
        "--keep", type=options.number(0.0, "days"), default=30.0, metavar="DAYS", help="how long; 30 if left out"
    )
    options.add_model(parser)


def _app(args: argparse.Namespace) -> int:
    """Open a page on this machine on which damage is seen, marked and repaired, and the difference heard.

    FILES are read where they are; what is done to them is kept apart, and found again at the next start. Folders may be
    worked through on the page. The page can be opened by the address that is printed, and by nobody who does not have
    it.
    """
    check_installed("the page needs", ("starlette", "uvicorn"), "app")
    from masktools.app.server import listen, listen_at, serve
    from masktools.app.settings import Settings
    from masktools.app.store import Store

    absent = [path for path in args.inputs if not path.exists()]
    if absent:
        raise ParameterError(f"{absent[0]} does not exist")
    folders = tuple(path.resolve() for path in args.inputs if path.is_dir())
    files = [path for path in args.inputs if not path.is_dir()]
    settings = Settings(args.model, args.device, args.precision, args.threads, args.batch_size, args.in_place, folders)
    sock = listen(args.port) if args.uds is None else listen_at(args.uds)
    store = Store(args.sessions or _sessions(), args.keep)

    def said(address: str) -> None:
        print(f"masktools app: {address}" if args.uds is None else f"masktools app: {args.uds}, {address}", flush=True)
        if not args.no_browser and args.uds is None:
            _open(address, store.folder)

    with sock:
        serve(files, store, settings, sock, said, args.allow_host)
    return 0


def _sessions() -> Path:
    """Return the default folder of sessions."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "masktools"


def _open(address: str, folder: Path) -> None:
    """Open a browser with a file that only this user can read: command lines are visible to all users."""
    page = folder / "open.html"
    page.unlink(missing_ok=True)
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'<meta charset="utf-8"><meta http-equiv="refresh" content="0;url={address}">')
    webbrowser.open(page.as_uri())


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("masktools-demo"), metavar="FOLDER", help="where the page goes"
    )
    options.add_seed(parser)
    options.add_model(parser)


def _demo(args: argparse.Namespace) -> int:
    """Restore, extend, generate and embed recordings that the project plays itself; hear and see it on one page."""
    from masktools.demo.run import run_demo

    run_demo(args.output, options.load_model(args), args.seed, say=partial(print, flush=True))
    return 0


APP = options.Command("see, mark, repair and compare recordings on a page", _add_app, _app)
DEMO = options.Command("see and hear what the model does", _add_demo, _demo)
