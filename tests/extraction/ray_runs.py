"""Runs on a Ray cluster of this machine, as processes of their own: python -m tests.extraction.ray_runs KIND FOLDER."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masktools.extraction import ExtractionSettings, Item, Row, Worker, find_items, open_store
from masktools.extraction.ray_engine import run_ray
from masktools.extraction.worker import Prepared

SETTINGS = ExtractionSettings(frames=True, tokens=True)
N_ITEMS = 160


class Mortal(Worker):
    """Dies, process and all, when it first meets the recording 33.wav."""

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        died = Path(self.model).parent / "died"
        if any(one.item.key == "33.wav" for one in batch) and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(batch)


@dataclass(frozen=True)
class Slow:
    """Needs a moment for each item, and keeps a list of what it was asked for; one item kills it each time."""

    log: str
    poison: str = ""
    n_decoders: int = 1

    def prepare(self, item: Item) -> Prepared:
        return Prepared(item)

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        return [row for one in batch for row in self([one.item])]

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        rows = []
        for item in items:
            if item.key == self.poison:
                os.kill(os.getpid(), signal.SIGKILL)
            with open(self.log, "a") as file:
                file.write(f"{item.key}\n")
            time.sleep(0.01)
            rows.append(Row(item.key, clip=np.full(3, float(item.key), np.float32), duration_s=1.0))
        return rows


def embed(folder: Path) -> None:
    """Embed the folder "music" with the model in the folder "model", and one worker that dies on the way."""
    items = find_items([folder / "music"])
    worker = Mortal(str(folder / "model"), SETTINGS, device="cpu", threads=1)
    fingerprint = SETTINGS.fingerprint(worker.identity)
    store = open_store(folder / "ray.npz", [item.key for item in items], SETTINGS, fingerprint)
    run_ray(items, worker, store, n_workers=1)
    store.close()


def pretend(folder: Path, poison: str = "") -> None:
    """Do the same without a model, or go on with it."""
    items = [Item(str(number), f"{number}.wav") for number in range(N_ITEMS)]
    store = open_store(folder / "ray.npy", [item.key for item in items], ExtractionSettings(), "f", resume=True)
    run_ray(items, Slow(str(folder / "log"), poison), store, n_workers=2)
    store.close()


if __name__ == "__main__":
    {"embed": embed, "pretend": pretend}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
