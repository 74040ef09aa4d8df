"""Training audio: a folder of recordings becomes one cache of int16 waves, and the cache gives random clips.

A manifest is a CSV file with the columns path, split, labels (joined with ';') and, where there are any, kind,
caption and nc; paths are relative to the manifest. Rows that cannot be decoded are counted, skipped and named.
"""

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from masktools.errors import AudioError, ParameterError
from masktools.io import read, resample

__all__ = ["AudioCache", "AudioData", "Batch", "ClipStream", "Recording", "build_cache", "fixed_clips", "read_manifest"]

_FULL_SCALE = 32767.0

Batch = dict[str, Any]  # "wave": (b, t) float, "caption": b texts


@dataclass(frozen=True)
class Recording:
    """One recording of a cache: where its samples lie, and what its manifest says of it."""

    path: str
    start: int  # first sample in the cache
    n_samples: int
    split: str
    kind: str
    labels: str
    caption: str


class AudioCache:
    """Recordings as one memory-mapped array of int16 samples, mono, at one rate."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        index = self.folder / "index.json"
        if not index.is_file():
            raise ParameterError(f"no audio cache in {self.folder}: index.json is missing")
        content = json.loads(index.read_text(encoding="utf-8"))
        self.sample_rate: int = content["sample_rate"]
        self.recordings = [Recording(**row) for row in content["recordings"]]
        self.skipped: list[list[str]] = content["skipped"]
        self._waves = np.memmap(self.folder / "waves.int16", dtype=np.int16, mode="r")

    def wave(self, recording: Recording, start: int = 0, n_samples: int | None = None) -> np.ndarray:
        """Return samples [start, start + n_samples) of a recording as float32 in [-1, 1]."""
        stop = recording.n_samples if n_samples is None else min(recording.n_samples, start + n_samples)
        return self._waves[recording.start + start : recording.start + stop].astype(np.float32) / _FULL_SCALE

    def split(self, name: str) -> list[Recording]:
        """Return the recordings of a split.

        Raises:
            ParameterError: The cache has none of that split.
        """
        chosen = [r for r in self.recordings if r.split == name]
        if not chosen:
            known = sorted({r.split for r in self.recordings})
            raise ParameterError(f"no recording of split {name!r} in {self.folder}: it has {', '.join(known)}")
        return chosen


def read_manifest(path: str | os.PathLike[str], non_commercial: bool = False) -> list[dict[str, str]]:
    """Return the rows of a manifest with absolute paths, without those whose ``nc`` is 1 unless asked for."""
    manifest = Path(path)
    if not manifest.is_file():
        raise ParameterError(f"no manifest at {manifest}")
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"path", "split"} - set(rows[0] if rows else ())
    if missing:
        raise ParameterError(f"{manifest} must have the columns path and split, missing: {', '.join(sorted(missing))}")
    usable = [row for row in rows if non_commercial or row.get("nc", "0") != "1"]
    return [row | {"path": str(manifest.parent / row["path"])} for row in usable]


def build_cache(
    manifests: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    sample_rate: int = 22_050,
    non_commercial: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> AudioCache:
    """Decode the recordings of the manifests into ``folder`` once, and return the cache.

    A cache that was made from the same manifests is returned as it is; one that was not is refused.
    """
    rows = [row for path in manifests for row in read_manifest(path, non_commercial)]
    key = hashlib.sha256(json.dumps([sample_rate, rows], sort_keys=True).encode()).hexdigest()
    target = Path(folder)
    index = target / "index.json"
    if index.is_file():
        if json.loads(index.read_text(encoding="utf-8"))["key"] == key:
            return AudioCache(target)
        raise ParameterError(f"{target} holds a cache of other manifests or settings: choose another folder")
    target.mkdir(parents=True, exist_ok=True)
    recordings, skipped, position = [], [], 0
    with (target / "waves.int16").open("wb") as out:
        for done, row in enumerate(rows):
            try:
                audio = read(row["path"])
            except AudioError as error:
                skipped.append([row["path"], str(error)])
                continue
            mono = resample(audio.samples.mean(axis=0), audio.sample_rate, sample_rate)
            samples = (np.clip(mono, -1.0, 1.0) * _FULL_SCALE).round().astype(np.int16)
            out.write(samples.tobytes())
            fields = (row.get(name) or "" for name in ("split", "kind", "labels", "caption"))
            recordings.append(Recording(row["path"], position, len(samples), *fields))
            position += len(samples)
            if progress is not None:
                progress(done + 1, len(rows))
    content = {"key": key, "sample_rate": sample_rate, "skipped": skipped}
    partial = index.with_suffix(".part")
    partial.write_text(json.dumps(content | {"recordings": [asdict(r) for r in recordings]}), encoding="utf-8")
    partial.replace(index)
    return AudioCache(target)


class ClipStream(IterableDataset[Batch]):
    """Endless random clips of a split, ``wave`` (n_samples,) and ``caption``, with gain and mixing as augmentation.

    A recording shorter than the clip is followed by others of the same labels, with short pauses between. The
    stream depends on the seed, the worker and nothing else.
    """

    def __init__(
        self,
        cache: AudioCache,
        split: str,
        n_samples: int,
        seed: int = 0,
        gain_db: float = 6.0,
        mix_share: float = 0.1,
        kind_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.cache, self.n_samples, self.seed = cache, n_samples, seed
        self.gain_db, self.mix_share = gain_db, mix_share
        self.recordings = cache.split(split)
        self.alike: dict[tuple[str, str], list[Recording]] = defaultdict(list)
        for recording in self.recordings:
            self.alike[recording.kind, recording.labels].append(recording)
        weights = np.array([self._weight(r, kind_weights or {}) for r in self.recordings])
        self.shares = weights / weights.sum()

    def _weight(self, recording: Recording, kind_weights: dict[str, float]) -> float:
        seconds = recording.n_samples / self.cache.sample_rate
        return max(1.0, min(seconds, 40.0)) * kind_weights.get(recording.kind, 1.0)

    def _clip(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        first = self.recordings[rng.choice(len(self.recordings), p=self.shares)]
        caption = first.caption or first.labels.replace(";", " ").replace("_", " ")
        return self._filled(first, rng), caption

    def _filled(self, first: Recording, rng: np.random.Generator) -> np.ndarray:
        clip = np.zeros(self.n_samples, np.float32)
        if first.n_samples >= self.n_samples:
            return self.cache.wave(first, int(rng.integers(first.n_samples - self.n_samples + 1)), self.n_samples)
        alike, position = self.alike[first.kind, first.labels], 0
        following = first
        while position < self.n_samples:
            piece = self.cache.wave(following)[: self.n_samples - position]
            clip[position : position + len(piece)] = piece
            position += len(piece) + int(rng.uniform(0.0, 0.4) * self.cache.sample_rate)
            following = alike[rng.integers(len(alike))]
        return np.roll(clip, int(rng.integers(self.n_samples)))

    def __iter__(self) -> Iterator[Batch]:
        """Yield clips for ever."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        while True:
            clip, caption = self._clip(rng)
            if rng.random() < self.mix_share:
                clip = clip + self._clip(rng)[0] * 10 ** (rng.uniform(-12.0, 0.0) / 20)
            clip = clip * 10 ** (rng.uniform(-self.gain_db, self.gain_db) / 20)
            peak = float(np.abs(clip).max())
            yield {"wave": torch.from_numpy(clip * np.float32(min(1.0, 0.99 / max(peak, 1e-9)))), "caption": caption}


def fixed_clips(cache: AudioCache, split: str, n_samples: int, n_clips: int) -> list[Batch]:
    """Return up to n_clips clips of a split, the same at each call: evenly chosen, from their middle."""
    long_enough = [r for r in cache.split(split) if r.n_samples >= n_samples]
    if not long_enough:
        raise ParameterError(f"no recording of split {split!r} lasts {n_samples} samples")
    chosen = long_enough[:: max(1, len(long_enough) // n_clips)][:n_clips]
    waves = [torch.from_numpy(cache.wave(r, (r.n_samples - n_samples) // 2, n_samples)) for r in chosen]
    return [{"wave": wave, "caption": r.caption} for wave, r in zip(waves, chosen, strict=True)]


class AudioData(pl.LightningDataModule):
    """Random training clips and fixed validation clips of a cache: batches of ``wave`` (b, t) and ``caption``."""

    def __init__(
        self,
        cache: str,
        n_samples: int = 217_088,
        batch_size: int = 16,
        seed: int = 0,
        n_valid_clips: int = 32,
        n_workers: int = 0,
        gain_db: float = 6.0,
        mix_share: float = 0.1,
        kind_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str | None = None) -> None:
        """Open the cache."""
        self.audio = AudioCache(self.hparams["cache"])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the endless training batches."""
        own = self.hparams
        stream = ClipStream(
            self.audio, "train", own["n_samples"], own["seed"], own["gain_db"], own["mix_share"], own["kind_weights"]
        )
        return DataLoader(stream, own["batch_size"], num_workers=own["n_workers"])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the fixed validation batches."""
        clips = fixed_clips(self.audio, "valid", self.hparams["n_samples"], self.hparams["n_valid_clips"])
        return DataLoader(clips, self.hparams["batch_size"])  # type: ignore[arg-type]
