"""The process that computes: it holds the model, does one job at a time, and can be told to stop."""

import threading
import time
from pathlib import Path
from typing import Any

from masktools.app.children import Answer, Server

_TELL_S = 0.1  # between two events about progress


class Cancelled(BaseException):
    """The job at work shall end; nothing that catches errors shall catch it."""


class Worker:
    """The job at work, and the model, which is loaded when it is first needed."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._model: Any = None
        self._options: dict[str, Any] = {}
        self._cancelled = threading.Event()
        self._job, self._started, self._told = "", 0.0, 0.0

    def cancel(self, job: str) -> Answer:
        """Let a job end at its next step."""
        if job == self._job:
            self._cancelled.set()
        return {}

    def describe(self, options: dict[str, Any]) -> Answer:
        """Return what a model says of itself."""
        from masktools.pipeline.bundles import find_bundle, read_config

        return {"model_hz": read_config(find_bundle(options["model"]))["mel"]["f_max"]}

    def _load(self) -> Any:
        from masktools.model import load

        if self._model is None:
            self._server.tell("model", job=self._job, loading=True)
            self._model = load(**self._options)
            self._check()
        return self._model

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _progress(self, done: int, total: int) -> None:
        self._share(done / max(1, total))

    def _share(self, share: float, report: dict[str, Any] | None = None) -> None:
        self._check()
        now = time.monotonic()
        if report is None and now - self._told < _TELL_S:
            return
        self._told = now
        spent = now - self._started
        left = spent * (1 - share) / share if share > 0.02 and spent > 1 else None
        told = {"share": round(share, 4), "seconds_left": left and round(left, 1)}
        self._server.tell("job", job=self._job, **told, **({"file": report} if report else {}))

    def run(self, job: str, kind: str, folder: str, options: dict[str, Any], **more: Any) -> Answer:
        """Do a job, and return what came of it."""
        self._job, self._options = job, options
        self._started, self._told = time.monotonic(), 0.0
        self._cancelled.clear()
        try:
            return self._run(kind, Path(folder), **more)
        except Cancelled:
            return {"cancelled": True}
        finally:
            self._job = ""

    def _run(self, kind: str, folder: Path, settings: dict[str, Any], seed: int, **more: Any) -> Answer:
        from masktools.app import work
        from masktools.app.store import Region
        from masktools.app.views import View
        from masktools.core.configs import from_dict
        from masktools.core.runtime import threads

        wanted = work.JobSettings.read(settings, kind)
        if kind == "generate":
            return work.generate(folder, wanted, more["count"], seed, self._load, self._progress)
        if kind == "batch":
            folders = Path(more["source"]), Path(more["target"])
            return work.batch(folders, wanted, more["what"], seed, self._options, self._share)
        view = View(Path(more["recording"]), Path(more["path"]))
        try:
            view.settle()
            view.follow(more["revision"])
            regions = tuple(from_dict(Region, one) for one in more["regions"])
            own = (view, folder, wanted, regions, more["n_candidates"], seed)
            with threads(self._options.get("threads")):
                return work.JOBS[kind](work.Job(*own, self._load, self._progress))
        finally:
            view.close()


def main() -> None:
    """Work for the server until it has gone."""
    server = Server()
    worker = Worker(server)
    server.serve({"run": worker.run, "describe": worker.describe}, urgent={"cancel": worker.cancel})


if __name__ == "__main__":
    main()
