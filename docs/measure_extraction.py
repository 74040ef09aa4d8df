"""Measure what extraction costs on this machine, and write the tables of docs/scale.md.

Usage: python docs/measure_extraction.py SOURCE [--model mini] [--n 96] [--device cpu] [--paper] [--ray]
                                         [--state TEXT] [-o docs/scale.md]

SOURCE is a recording, a folder, a manifest, a shard or a URL of one. Clips of ten seconds are cut from its recordings
(repeated where they are shorter), brought to 44.1 kHz stereo and written as FLAC, MP3 and WAV; those are what is
measured. Seconds are CPU seconds of one thread where nothing else is said: they bear other work on the machine better
than the clock does. --paper also measures an encoder of the paper's size with random weights; --ray how many clips a
second a cluster hands out when computing costs nothing. --state says in the table what state the machine was in.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import masktools
from masktools import io
from masktools.benchmark.models import random_pipeline
from masktools.core.errors import AudioError
from masktools.extraction import ExtractionSettings, Item, Row, Worker, find_items, open_store, read_item
from masktools.extraction.worker import Prepared
from masktools.features import Encoder

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
RATE, SECONDS = 44_100, 10.0
MILLION = 1_000_000


@dataclass(frozen=True)
class Idle:
    """A worker that costs nothing."""

    n_decoders: int = 1

    def prepare(self, item: Item) -> Prepared:
        """Return the item as it is."""
        return Prepared(item)

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        """Return the same vector for each item."""
        return self([one.item for one in batch])

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return the same vector for each item."""
        return [Row(item.key, clip=np.zeros(768, np.float32), duration_s=SECONDS) for item in items]


class Sink:
    """A store that forgets."""

    def finished(self) -> set[str]:
        """Return nothing."""
        return set()

    def add(self, rows: Sequence[Row]) -> None:
        """Take rows."""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def cut_clips(source: str, folder: Path, n: int) -> dict[str, list[Item]]:
    """Write clips in each format, and return them by what they are."""
    waves, items = [], find_items([source])
    for item in items[:: max(1, len(items) // (2 * n))]:
        try:
            samples, rate = read_item(item)
        except AudioError:
            continue
        wave = io.resample(samples[:2], rate, RATE)
        wave = np.tile(wave, (2 // len(wave), int(SECONDS * RATE) // wave.shape[1] + 1))[:, : int(SECONDS * RATE)]
        waves.append(np.clip(wave, -1, 1).astype(np.float32))
        if len(waves) == n:
            break
    kinds = {"FLAC, 44.1 kHz stereo": ".flac", "MP3, 44.1 kHz stereo": ".mp3", "WAV, 44.1 kHz stereo": ".wav"}
    found = {}
    for kind, ending in kinds.items():
        place = folder / ending[1:]
        place.mkdir()
        for number, wave in enumerate(waves):
            io.write(place / f"{number:05d}{ending}", wave, RATE)
        found[kind] = find_items([place])
    return found


def measure_reading(clips: dict[str, list[Item]]) -> str:
    """Return what decoding and resampling cost."""
    rows = []
    for kind, items in clips.items():
        start = time.process_time()
        for item in items:
            samples, rate = read_item(item)
            io.resample(samples.mean(axis=0, keepdims=True), rate, 22_050)
        each = (time.process_time() - start) / len(items)
        size = sum(os.path.getsize(item.location) for item in items) / len(items)
        rows.append([kind, f"{1000 * each:.1f}", f"{each * MILLION / 3600:.1f}", f"{size * MILLION / 1e9:.0f}"])
    return table(["decoded, and resampled to 22.05 kHz", "ms a clip", "core hours a million", "GB a million"], rows)


def measure_model(name: str, items: list[Item], device: str) -> list[list[str]]:
    """Return what embedding costs, from the file to the vector."""
    worker = Worker(name, ExtractionSettings(), device=device, threads=1)
    worker.check()
    worker(items[:8])
    cpu, clock = time.process_time(), time.perf_counter()
    rows = worker(items)
    cpu, clock = (time.process_time() - cpu) / len(items), (time.perf_counter() - clock) / len(items)
    if any(row.error for row in rows):
        raise SystemExit(f"not all clips could be embedded: {next(row.error for row in rows if row.error)}")
    return [model_row(f"{name}, {worker.encoder.device.type}, files", cpu, clock)]


def model_row(what: str, cpu: float, clock: float) -> list[str]:
    """Return a line of the table of models: clips a second and what a million costs, of the core or of the GPU."""
    each = clock if "cuda" in what else cpu
    real_time, hours = f"{SECONDS / each:.0f}", f"{each * MILLION / 3600:.1f}"
    return [what, f"{1000 * cpu:.0f}", f"{1000 * clock:.0f}", f"{1 / each:.2f}", real_time, hours]


def measure_paper(device: str, n: int) -> list[list[str]]:
    """Return what an encoder of the paper's size costs, on waves in memory."""
    encoder = Encoder(random_pipeline("paper", device=device, precision="fp32"), threads=1)
    rng = np.random.default_rng(0)
    rows = []
    for seconds in (9.845, 10.0):
        waves = [rng.normal(0, 0.1, int(seconds * 22_050)).astype(np.float32) for _ in range(n)]
        encoder.encode(waves[:1], 22_050)
        cpu, clock = time.process_time(), time.perf_counter()
        encoder.encode(waves, 22_050)
        cpu, clock = (time.process_time() - cpu) / n, (time.perf_counter() - clock) / n
        rows.append(
            model_row(f"paper's size (random weights), {encoder.device.type}, {seconds:g} s in memory", cpu, clock)
        )
    return rows


def measure_listing(folder: Path) -> str:
    """Return what listing a million recordings costs, each list in a process of its own."""
    rows = []
    for ending in (".csv", ".jsonl", ".parquet"):
        path = folder / f"million{ending}"
        command = [sys.executable, str(Path(__file__).with_name("measure_listing.py")), str(path)]
        subprocess.run([*command, "--make"], check=True)  # noqa: S603 - this file
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
        rows.append([ending, f"{path.stat().st_size / 2**20:.0f}", said[0], said[1]])
        path.unlink()
    return table(["manifest of 1,000,000 rows", "MiB", "CPU seconds to read", "MiB of memory, at most"], rows)


def varied(row: Row, seed: int) -> Row:
    """Return a row that differs a little, as that of another recording: what is there twice is stored once."""
    rng = np.random.default_rng(seed)

    def moved(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else (values + 0.1 * rng.standard_normal(values.shape)).astype(values.dtype)

    tokens = None if row.tokens is None else rng.permutation(row.tokens)
    return Row(f"{seed:06d}", moved(row.clip), moved(row.frames), row.times_s, tokens, row.duration_s)


def measure_storage(model: str, clips: list[Item], folder: Path) -> str:
    """Return how large the vectors of a million clips are, from the files that the stores write."""
    kinds = {
        "clip, mean": {},
        "clip, mean + std": {"pool": "mean_std"},
        "clip, five rows": {"pool": "rows"},
        "clip, mean, all layers": {"layer": "all"},
        "clip and tokens": {"tokens": True},
        "clip and frames": {"frames": True},
        "clip and frames, float16": {"frames": True, "dtype": "float16"},
    }
    rows = []
    for kind, options in kinds.items():
        settings = ExtractionSettings(**options)
        computed = Worker(model, settings, device="cpu", threads=1)(clips[:8])
        many = [varied(computed[n % len(computed)], n) for n in range(1024)]
        sizes = []
        for ending in (".npz", ".parquet", ".h5"):
            store = open_store(folder / f"out{ending}", [row.key for row in many], settings, "f", overwrite=True)
            for start in range(0, len(many), 256):
                store.add(many[start : start + 256])
            store.close()
            sizes.append(f"{(folder / f'out{ending}').stat().st_size / len(many) * MILLION / 1e9:.2f}")
        rows.append([kind, *sizes])
    return table([f"GB for a million clips of 10 s ({model})", ".npz", ".parquet", ".h5"], rows)


def measure_ray(n: int) -> str:
    """Return how fast a cluster of this machine hands out clips and takes back vectors."""
    from masktools.extraction.ray_engine import run_ray

    times: list[tuple[int, float]] = []
    items = [Item(str(number), f"{number}.wav") for number in range(n)]
    start = time.perf_counter()
    run_ray(items, Idle(), Sink(), lambda done, total: times.append((done, time.perf_counter() - start)))
    first, last = next(one for one in times if one[0]), times[-1]
    rate = (last[0] - first[0]) / max(1e-9, last[1] - first[1])
    return table(
        ["Ray on this machine, computing nothing", ""],
        [["seconds until the first vectors", f"{first[1]:.0f}"], ["clips a second from then on", f"{rate:.0f}"]],
    )


def put(path: Path, text: str) -> None:
    """Put the tables between their marks."""
    page = path.read_text(encoding="utf-8") if path.is_file() else BEGIN + END
    head, _, rest = page.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{path} must hold the lines {BEGIN.strip()} and {END.strip()}")
    path.write_text(head + BEGIN + "\n" + text + "\n" + END + tail, encoding="utf-8")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--n", type=int, default=96)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--state", default="nothing else was running")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("scale.md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = cut_clips(args.source, folder, args.n)
        flac = next(iter(clips.values()))
        models = measure_model(args.model, flac, args.device)
        if args.paper:
            models += measure_paper(args.device, max(2, args.n // 16))
        head = ["encoder", "CPU ms a clip", "clock ms a clip", "clips a second", "times real time", "hours a million"]
        versions = f"masktools {masktools.__version__}, torch {torch.__version__}, {platform.machine()}"
        told = f"{len(flac)} clips of {SECONDS:g} s, {os.cpu_count()} cores, {versions}; {args.state}.\n"
        steps = [
            lambda: measure_reading(clips),
            lambda: table(head, models),
            lambda: measure_storage(args.model, flac, folder),
            lambda: measure_listing(folder),
            *([lambda: measure_ray(20_000)] if args.ray else []),
        ]
        tables = [told]
        for step in steps:
            tables.append(step())
            print(tables[-1], flush=True)
            put(args.output, "\n".join(tables))  # what is known is kept if something later fails


if __name__ == "__main__":
    main()
