"""The process that reads audio: it alone decodes, and if a file breaks it, nothing else is lost."""

import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from masktools.app import exports
from masktools.app.children import Answer, Server
from masktools.app.refusals import refusal_of
from masktools.app.store import FOUND
from masktools.app.survey import survey
from masktools.app.views import View
from masktools.core.errors import MasktoolsError

_MOST_OPEN = 8  # recordings


class Reader:
    """The recordings that are open, and what is asked about them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._views: OrderedDict[str, View] = OrderedDict()
        self._lock = threading.Lock()
        self._surveyed: set[str] = set()

    def _view(self, folder: str, path: str, revision: int | None = None) -> View:
        with self._lock:
            view = self._views.get(folder)
            if view is not None and str(view.path) != path:  # it was given a copy of its own
                self._views.pop(folder).close()
                view = None
            if view is None:
                view = self._views[folder] = View(Path(folder), Path(path))
                if not view.recording.is_exact and (view.folder / FOUND).is_file():
                    threading.Thread(target=self._settle, args=(view,), daemon=True, name="settle").start()
            self._views.move_to_end(folder)
            idle = [name for name in self._views if name not in self._surveyed and name != folder]
            for name in idle[: max(0, len(self._views) - _MOST_OPEN)]:
                self._views.pop(name).close()
        if revision is not None and view.follow(revision):
            threading.Thread(target=self._freshen, args=(view, revision), daemon=True, name="freshen").start()
        return view

    def _freshen(self, view: View, revision: int) -> None:
        with suppress(MasktoolsError, OSError):  # what is asked for next says what is wrong
            if view.freshen():
                told = {"side": "after", "share": 1.0, "revision": revision}
                self._server.tell("survey", recording=view.folder.name, **told)

    def _settle(self, view: View) -> None:
        """Decode a recording that was surveyed by an earlier process."""
        with suppress(MasktoolsError, OSError):
            view.settle()
            self._server.tell("length", recording=view.folder.name, **view.facts())

    def open(self, folder: str, path: str) -> Answer:
        """Return what the head of a file says."""
        return self._view(folder, path).facts()

    def survey(self, folder: str, path: str) -> Answer:
        """Begin to read a recording from its beginning to its end."""
        with self._lock:
            if folder in self._surveyed:
                return {}
            self._surveyed.add(folder)
        view = self._view(folder, path)
        threading.Thread(target=self._survey, args=(view,), daemon=True, name="survey").start()
        return {}

    def _survey(self, view: View) -> None:
        name = view.folder.name
        try:
            for event, told in survey(view):
                self._server.tell(event, recording=name, **told)
            if view.pieces and view.freshen():
                self._server.tell("survey", recording=name, side="after", share=1.0)
        except (MasktoolsError, OSError, MemoryError) as error:
            self._server.tell("survey", recording=name, share=view.share, error=str(refusal_of(error)))
        finally:
            with self._lock:
                self._surveyed.discard(str(view.folder))

    def close(self, folder: str, path: str) -> Answer:
        """Close a recording."""
        del path
        with self._lock:
            view = self._views.pop(folder, None)
        if view is not None:
            view.close()
        return {}

    def peaks(self, folder: str, path: str, revision: int, **wanted: Any) -> Answer:
        """Return least and greatest samples of columns."""
        view = self._view(folder, path, revision)
        with view.asked():
            return {}, view.peaks(**wanted)

    def tile(self, folder: str, path: str, revision: int, **wanted: Any) -> Answer:
        """Return a picture of a part of a spectrogram."""
        view = self._view(folder, path, revision)
        with view.asked():
            picture, is_true = view.tile(**wanted)
        return {"true": is_true}, picture

    def samples(self, folder: str, path: str, revision: int, **wanted: Any) -> Answer:
        """Return samples."""
        view = self._view(folder, path, revision)
        with view.asked():
            return {}, view.samples(**wanted)

    def export(
        self, folder: str, path: str, revision: int, what: str, format: str, folder_out: str, name: str
    ) -> Answer:
        """Write a recording with its repairs, or a page that compares, and return its name."""
        view = self._view(folder, path, revision)
        source, ending = Path(path), exports.ending_of(name, format, view.recording.is_lossy)
        target = Path(folder_out) / f"{Path(name).stem[:80]}-repaired{ending}"
        told = exports.write_audio(source, target, view.pieces)
        if what == "page":
            page = target.with_suffix(".html")
            exports.write_page(source, target, page, view.marks(), Path(name).name)
            target.unlink()
            target = page
        return {"file": target.name, **told}

    def save(self, folder: str, path: str, revision: int, target: str) -> Answer:
        """Write a recording with its repairs over the file that it came from."""
        view = self._view(folder, path, revision)
        return exports.save(Path(path), Path(target), view.pieces)


def main() -> None:
    """Answer the server until it has gone."""
    server = Server()
    reader = Reader(server)
    asked = (reader.open, reader.survey, reader.close, reader.peaks, reader.tile, reader.samples)
    asked = (*asked, reader.export, reader.save)
    server.serve({one.__name__: one for one in asked}, n_threads=3)


if __name__ == "__main__":
    main()
