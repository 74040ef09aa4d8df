"""Recordings written as tar shards in the layout of WebDataset, for collections that do not fit one disk."""

import hashlib
import io
import json
import os
import secrets
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masktools.errors import AudioError, ParameterError
from masktools.io import write
from masktools.jsons import read_json
from masktools.training.audio_cache import decoded, read_sources
from masktools.training.shards import ShardSet
from masktools.training.sources import Row
from masktools.training.streams import Note, Progress, ResumableBuild, write_json

_INDEX = "index.json"


@dataclass(frozen=True)
class _Job:
    name: str
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)


def write_shards(
    sources: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    sample_rate: int = 22_050,
    non_commercial: bool = False,
    progress: Progress | None = None,
    n_workers: int = 1,
    kind: str = "auto",
    n_recordings: int = 256,
    piece_s: float = 30.0,
) -> ShardSet:
    """Write the recordings of the sources as shards SPLIT-000000.tar of FLAC and JSON, and return them.

    The shards are the same byte for byte whatever the number of processes; a build that was killed goes on where it
    stopped. index.json names what was skipped.

    Args:
        sources: what ``read_source`` reads
        folder: of the shards; made if need be
        sample_rate: of the recordings in them, in Hz
        non_commercial: whether to take rows whose ``nc`` is 1
        progress: called with the recordings done and their number
        n_workers: processes
        kind: of the sources, or auto
        n_recordings: in a shard, at most
        piece_s: longer recordings are cut into pieces of so many seconds, each a sample

    Raises:
        ParameterError: A source is not one, or ``folder`` holds shards of other recordings or settings.
        MasktoolsError: A process died.
    """
    if n_recordings < 1 or piece_s <= 0:
        raise ParameterError(f"n_recordings and piece_s must be positive, got {n_recordings} and {piece_s:g} s")
    rows, n_missing = read_sources(sources, kind, non_commercial)
    told = json.dumps([sample_rate, n_recordings, piece_s, [asdict(row) for row in rows]], sort_keys=True)
    key = hashlib.sha256(told.encode()).hexdigest()
    target = Path(folder)
    index = target / _INDEX
    if index.is_file():
        if read_json(index).get("key") == key:
            return ShardSet(target, sample_rate)
        raise ParameterError(f"{target} holds shards of other recordings or settings: choose another folder")
    build = ResumableBuild(target, key)
    notes = build.run(_jobs(rows, n_recordings), _ShardWork(target, sample_rate, piece_s), n_workers, progress)
    shards = ShardSet(target, sample_rate)
    shards.write_index()
    skipped = [pair for note in notes for pair in note["skipped"]]
    content = {"key": key, "sample_rate": sample_rate, "n_missing": n_missing, "n_samples": len(shards)}
    write_json(index, content | {"skipped": skipped})
    build.close()
    return shards


def skipped_in(folder: str | os.PathLike[str]) -> tuple[list[list[str]], int]:
    """Return the recordings that ``write_shards`` could not decode, with the reasons, and how many were missing."""
    content = read_json(Path(folder, _INDEX))
    return content["skipped"], content["n_missing"]


def _jobs(rows: Sequence[Row], n_recordings: int) -> list[_Job]:
    by_split: dict[str, list[Row]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    return [
        _Job(f"{split}-{start // n_recordings:06d}.tar", tuple(own[start : start + n_recordings]))
        for split, own in sorted(by_split.items())
        for start in range(0, len(own), n_recordings)
    ]


@dataclass(frozen=True)
class _ShardWork:
    folder: Path
    sample_rate: int
    piece_s: float

    def __call__(self, job: _Job, outputs: Mapping[str, Path]) -> Note:
        """Write one shard."""
        skipped: list[list[str]] = []
        unfinished = self.folder / "parts" / f"{job.name}.{secrets.token_hex(4)}.part"
        with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, row in enumerate(job.rows):
                try:
                    wave = decoded(row.path, self.sample_rate)
                except AudioError as error:
                    skipped.append([row.path, str(error)])
                    continue
                self._add(tar, f"{Path(job.name).stem}-{number:06d}", wave, row)
        os.replace(unfinished, self.folder / job.name)
        return {"skipped": skipped}

    def _add(self, tar: tarfile.TarFile, key: str, wave: np.ndarray, row: Row) -> None:
        step = max(1, round(self.piece_s * self.sample_rate))
        for piece, start in enumerate(range(0, len(wave), step)):
            name = key if len(wave) <= step else f"{key}-{piece:04d}"
            with tempfile.TemporaryDirectory(prefix="masktools-") as scratch:
                file = Path(scratch, "piece.flac")
                write(file, wave[None, start : start + step], self.sample_rate)
                _member(tar, f"{name}.flac", file.read_bytes())
            _member(tar, f"{name}.json", json.dumps(_encoded_row(row)).encode())


def _encoded_row(row: Row) -> dict[str, Any]:
    labels = [label for label in row.labels.split(";") if label]
    captions = [caption for caption in (row.caption, *row.other_captions) if caption]
    told = {"labels": labels, "captions": captions, "kind": row.kind, "origin": row.origin}
    return told | {"bandwidth_hz": row.bandwidth_hz, "path": row.path}


def _member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
