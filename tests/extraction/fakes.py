"""A worker without a model, and runs of it that are killed at every step. No torch: they start quickly."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from masktools.extraction import ExtractionSettings, Item, Row, open_store, run_local
from masktools.extraction.worker import Prepared

SETTINGS = ExtractionSettings(layer="all", frames=True, tokens=True)
PLAIN = ExtractionSettings(layer="all")


def items(n: int) -> list[Item]:
    """Return items, some in folders."""
    return [Item(f"{'live/' if number % 3 else ''}{number}.wav", f"/nowhere/{number}.wav") for number in range(n)]


def row(item: Item, settings: ExtractionSettings = SETTINGS) -> Row:
    """Return what is the same for an item whenever it is asked for; of each seventh there is an error."""
    number = int(Path(item.key).stem)
    if number % 7 == 5:
        return Row(item.key, error=f"{item.location} is no good")
    rng = np.random.default_rng(number)
    m = number % 4 + 1
    clip = rng.normal(size=(2, 3)).astype(settings.dtype)
    frames = rng.normal(size=(m, 2, 3)).astype(settings.dtype) if settings.frames else None
    tokens = rng.integers(0, 1024, (m + 1, 5)).astype(np.uint16) if settings.tokens else None
    return Row(item.key, clip, frames, np.arange(m) + 0.5 if settings.frames else None, tokens, float(m))


class FakeWorker:
    """Does what a ``Worker`` does, but for listening: each fourth item counts as long."""

    n_decoders = 2

    def __init__(self, settings: ExtractionSettings = SETTINGS) -> None:
        self.settings = settings
        self.embedded: list[list[str]] = []

    def prepare(self, item: Item) -> Prepared:
        is_long = int(Path(item.key).stem) % 4 == 3
        return Prepared(item, None if is_long else _Silence(), 100.0 if is_long else 1.0)  # pyright: ignore

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        self.embedded.append([prepared.item.key for prepared in batch])
        return [row(prepared.item, self.settings) for prepared in batch]

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        return [row(item, self.settings) for item in items]


class _Silence:
    n_samples = 10


def run(out: Path, n_items: int, settings: ExtractionSettings = SETTINGS, resume: bool = False) -> None:
    """Extract everything, as the command does."""
    wanted = items(n_items)
    store = open_store(out, [item.key for item in wanted], settings, "f" * 64, resume=resume)
    run_local(wanted, FakeWorker(settings), store)
    store.close()


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _forked(function, *arguments) -> int:
    """Return how a process ended that called a function: 0, or the number of the signal that killed it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function(*arguments)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def _run_and_die(out: Path, n_items: int, settings: ExtractionSettings, step: int) -> None:
    """Run until the step-th time that something below the folder is opened, renamed or removed, and die there."""
    n_left = step

    def on_event(event: str, arguments: tuple) -> None:
        nonlocal n_left
        if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir") and str(out.parent) in str(arguments[0]):
            n_left -= 1
            if n_left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)
    run(out, n_items, settings, resume=True)


def kill_everywhere(name: str, place: Path, stride: int) -> None:
    """Kill a run at each stride-th step, go on with it, and compare what it makes with an undisturbed run."""
    import h5py  # noqa: F401  # what is loaded here is not loaded in each process
    import pyarrow.parquet  # noqa: F401

    settings = PLAIN if name.endswith(".npy") else SETTINGS
    n_items = 75
    (place / "whole").mkdir()
    if _forked(run, place / "whole" / name, n_items, settings):
        raise SystemExit("the undisturbed run failed")
    expected = contents(place / "whole")
    step, n_killed = 1, 0
    while True:
        folder = place / "killed"
        folder.mkdir()
        died = _forked(_run_and_die, folder / name, n_items, settings, step)
        if died not in (0, signal.SIGKILL):
            raise SystemExit(f"killed at step {step}, it ended with {died}")
        if died and _forked(run, folder / name, n_items, settings, True):
            raise SystemExit(f"killed at step {step}, it could not be gone on with")
        if contents(folder) != expected:
            raise SystemExit(f"killed at step {step}, it made {sorted(contents(folder))}, not {sorted(expected)}")
        shutil.rmtree(folder)
        if not died:
            break
        n_killed += 1
        step += stride
    print(n_killed)


if __name__ == "__main__":
    kill_everywhere(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
