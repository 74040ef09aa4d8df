"""Recordings decoded once: one file of int16 samples at one rate, mono, and an index of what lies where.

The cache is made by several processes, goes on where it was killed, and is the same byte for byte whatever their number
and the kills. Recordings that cannot be decoded are skipped, and named in the index.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masktools.core.configs import read_json
from masktools.core.errors import AudioError, ParameterError
from masktools.io import read, resample
from masktools.training.builds import Note, Progress, ResumableBuild, chunked, is_built, write_json
from masktools.training.sources import Row, read_source

_FULL_SCALE = 32767.0
_WAVES, INDEX = "waves.int16", "index.json"
_BLOCK = 1 << 20  # samples converted at once


@dataclass(frozen=True)
class Recording:
    """One recording of a cache: where its samples lie, and what its source says of it."""

    path: str
    start: int  # first sample in the cache
    n_samples: int
    split: str
    kind: str
    labels: str
    caption: str
    origin: str = "real"
    bandwidth_hz: float = 0.0  # the highest frequency it reaches; 0 where nobody knows
    other_captions: tuple[str, ...] = ()
    measured: str = ""  # tags measured from the signal, joined with ';'

    @property
    def descriptions(self) -> tuple[str, ...]:
        """What the recording can be called: its captions, else its labels, else a sound."""
        captions = tuple(filter(None, (self.caption, *self.other_captions)))
        return captions or (self.labels.replace(";", " ").replace("_", " ") or "sound",)

    def described(self, rng: np.random.Generator) -> str:
        """Return one of the descriptions, drawn at random."""
        texts = self.descriptions
        return texts[int(rng.integers(len(texts)))]


class Cache:
    """A folder of memory-mapped values, and an index of whose they are.

    Attributes:
        folder: where it lies.
        content: what the index says.
        recordings: its entries; each knows its ``split``.
        skipped: recordings that could not be decoded, with the reasons.
    """

    what: str  # kind of cache, for errors
    values: str  # file of the values
    recordings: list[Any]

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a cache.

        Raises:
            ParameterError: There is none, or it is empty.
        """
        self.folder = Path(folder)
        index = self.folder / INDEX
        if not index.is_file() or not (self.folder / self.values).is_file():
            raise ParameterError(f"no {self.what} cache in {self.folder}: {INDEX} or {self.values} is missing")
        self.content: dict[str, Any] = read_json(index)
        self.skipped: list[list[str]] = self.content["skipped"]
        if not self.content["recordings"]:
            empty = f"the {self.what} cache in {self.folder} is empty"
            raise ParameterError(f"{empty}: none of its recordings could be decoded")

    def __reduce__(self) -> tuple[type["Cache"], tuple[Path]]:
        return type(self), (self.folder,)  # a process that gets the cache opens it anew

    def __len__(self) -> int:
        return len(self.recordings)

    def split(self, name: str) -> list[Any]:
        """Return the recordings of a split.

        Raises:
            ParameterError: The cache has none of that split.
        """
        chosen = [recording for recording in self.recordings if recording.split == name]
        if not chosen:
            known = sorted({recording.split for recording in self.recordings})
            raise ParameterError(f"no recording of split {name!r} in {self.folder}: it has {', '.join(known)}")
        return chosen


class AudioCache(Cache):
    """Recordings as one memory-mapped array of int16 samples, mono, at one rate."""

    what, values = "audio", _WAVES

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self.key: str = self.content["key"]
        self.sample_rate: int = self.content["sample_rate"]
        self.recordings = [recording_from(row) for row in self.content["recordings"]]
        self.n_missing: int = self.content.get("n_missing", 0)
        self._waves = np.memmap(self.folder / _WAVES, dtype=np.int16, mode="r")

    def wave(self, recording: Recording, start: int = 0, n_samples: int | None = None) -> np.ndarray:
        """Return samples [start, start + n_samples) of a recording as float32 in [-1, 1]."""
        stop = recording.n_samples if n_samples is None else min(recording.n_samples, start + n_samples)
        return self._waves[recording.start + start : recording.start + stop].astype(np.float32) / _FULL_SCALE

    def name(self, index: int) -> str:
        """Return where a recording came from, for people."""
        return self.recordings[index].path

    def item(self, index: int) -> tuple[Recording, np.ndarray]:
        """Return a recording and all its samples."""
        recording = self.recordings[index]
        return recording, self.wave(recording)


def recording_from(row: Mapping[str, object]) -> Recording:
    """Return a recording from what JSON holds of it; older caches hold less."""
    captions = row.get("other_captions", ())
    return Recording(**{**row, "other_captions": tuple(captions)})  # type: ignore[arg-type]


def read_sources(
    sources: Sequence[str | os.PathLike[str]], kind: str = "auto", non_commercial: bool = False
) -> tuple[list[Row], int]:
    """Return the rows of several sources, and how many of the recordings that they name are missing."""
    found = [read_source(path, kind, non_commercial) for path in sources]
    return [row for source in found for row in source.rows], sum(source.n_missing for source in found)


def build_cache(
    sources: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    sample_rate: int = 22_050,
    non_commercial: bool = False,
    progress: Progress | None = None,
    n_workers: int = 1,
    kind: str = "auto",
) -> AudioCache:
    """Decode the recordings of the sources into ``folder`` once, and return the cache.

    A cache that was made of the same rows is returned as it is, one that was begun is completed, one of others is
    refused. A process holds one recording at a time.

    Args:
        sources: what ``read_source`` reads
        folder: folder of the cache; made if need be
        sample_rate: sample rate of the cache, in Hz
        non_commercial: whether to take rows whose ``nc`` is 1
        progress: called with the recordings done and their number
        n_workers: processes
        kind: kind of the sources, or auto to find out

    Raises:
        ParameterError: A source is not one, or ``folder`` holds a cache of other recordings or settings.
        MasktoolsError: A process died.
    """
    rows, n_missing = read_sources(sources, kind, non_commercial)
    described = [asdict(row) for row in rows]
    key = hashlib.sha256(json.dumps([sample_rate, described], sort_keys=True).encode()).hexdigest()
    target = Path(folder)
    index = target / INDEX
    if is_built(index, key, "a cache"):
        return AudioCache(target)
    build = ResumableBuild(target, key, [_WAVES])
    notes = build.run(chunked(rows), DecodeWork(sample_rate), n_workers, progress)
    recordings, skipped, start = [], [], 0
    for note in notes:
        skipped += note["skipped"]
        for recording in note["recordings"]:
            recordings.append(recording | {"start": start})
            start += recording["n_samples"]
    content = {"key": key, "sample_rate": sample_rate, "n_missing": n_missing, "skipped": skipped}
    write_json(index, content | {"recordings": recordings})
    build.close()
    return AudioCache(target)


def decoded(path: str | os.PathLike[str], sample_rate: int) -> np.ndarray:
    """Return a whole file as mono float32 samples (t,) at a rate.

    Raises:
        AudioError: It cannot be decoded.
    """
    audio = read(Path(path))
    samples = audio.samples[0] if audio.n_channels == 1 else audio.samples.mean(axis=0)
    rate = audio.sample_rate
    del audio  # of a long recording in stereo this is most of the memory
    return samples if rate == sample_rate else resample(samples, rate, sample_rate)


@dataclass(frozen=True)
class DecodeWork:
    """Writes the samples of some rows one after the other."""

    sample_rate: int

    def __call__(self, job: Sequence[Row], outputs: Mapping[str, Path]) -> Note:
        """Decode the rows; those that cannot be decoded are named in the note."""
        recordings, skipped = [], []
        with outputs[_WAVES].open("wb") as out:
            for row in job:
                try:
                    wave = decoded(row.path, self.sample_rate)
                except AudioError as error:
                    skipped.append([row.path, str(error)])
                    continue
                for start in range(0, len(wave), _BLOCK):
                    block = np.clip(wave[start : start + _BLOCK], -1.0, 1.0) * _FULL_SCALE
                    out.write(block.round().astype(np.int16).tobytes())
                recordings.append(asdict(row) | {"n_samples": len(wave)})
        return {"recordings": recordings, "skipped": skipped}
