"""The recordings of an audio cache, a manifest or a folder: what is known of each, and how to read its middle."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from masktools.errors import ParameterError, unknown_name
from masktools.io import resample_to
from masktools.training.audio_cache import AudioCache, Recording, decoded
from masktools.training.sources import SPLITS, Row, Source, read_source, split_named

__all__ = ["ALL", "REAL", "UNNAMED_KIND", "Entry", "PathLike", "entries_of"]

UNNAMED_KIND = "recordings"
REAL, ALL = "real", "all"

Reader = Callable[[int, float | None], np.ndarray]
"""(sample rate, seconds or None) -> samples (t,): the middle of a recording, or all of it where it is shorter."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A recording that could be measured."""

    place: int  # in its source
    name: str
    split: str  # empty where the source has none
    kind: str
    origin: str
    labels: tuple[str, ...]
    caption: str
    other_captions: tuple[str, ...]
    bandwidth_hz: float | None
    read: Reader


PathLike = str | os.PathLike[str]


def entries_of(
    source: PathLike | Sequence[PathLike],
    split: str,
    kinds: Iterable[str] | None = None,
    non_commercial: bool = False,
) -> list[Entry]:
    """Return the recordings of a split; nothing is decoded yet.

    A folder that names no splits is taken as a whole, whatever the split.

    Args:
        source: the folder of an audio cache, or what ``read_source`` reads; or several of these, one after the other.
        split: train, valid or test, or all.
        kinds: only recordings of these kinds.
        non_commercial: whether to take rows of a manifest whose ``nc`` is 1.

    Raises:
        ParameterError: no such source, split or kind, or no recording of them.
    """
    if split not in (*SPLITS, ALL):
        raise unknown_name("split", split, (*SPLITS, ALL))
    places = [Path(source)] if isinstance(source, str | os.PathLike) else [Path(one) for one in source]
    entries = [entry for place in places for entry in _entries(place, non_commercial)]
    entries = [replace(entry, place=number) for number, entry in enumerate(entries)]
    chosen = [entry for entry in entries if split == ALL or entry.split in (split, "")]
    if not chosen:
        known = ", ".join(sorted({entry.split for entry in entries})) or "none at all"
        raise ParameterError(f"no recording of split {split!r} in {', '.join(map(str, places))}: it has {known}")
    return chosen if kinds is None else _of_kinds(chosen, tuple(kinds))


def _entries(place: Path, non_commercial: bool) -> list[Entry]:
    return _cached(AudioCache(place)) if (place / "waves.int16").is_file() else _listed(place, non_commercial)


def _of_kinds(entries: list[Entry], kinds: Sequence[str]) -> list[Entry]:
    known = sorted({entry.kind for entry in entries})
    for kind in kinds:
        if kind not in known:
            raise unknown_name("kind of recording", kind, known)
    return [entry for entry in entries if entry.kind in kinds]


def _cached(cache: AudioCache) -> list[Entry]:
    return _described(cache.recordings, [_from_cache(cache, recording) for recording in cache.recordings])


def _listed(place: Path, non_commercial: bool) -> list[Entry]:
    source = read_source(place, non_commercial=non_commercial)
    rows = _with_own_splits(source, place) if source.kind == "folder" else source.rows
    return _described(rows, [_from_file(row.path) for row in rows])


def _with_own_splits(source: Source, folder: Path) -> tuple[Row, ...]:
    """Return the rows of a folder, without the splits that it does not name itself."""
    tops = {Path(row.path).relative_to(folder.absolute()).parts[0] for row in source.rows}
    if any(split_named(top) for top in tops):
        return source.rows
    return tuple(replace(row, split="") for row in source.rows)


def _described(rows: Sequence[Recording] | Sequence[Row], readers: Sequence[Reader]) -> list[Entry]:
    common = os.path.commonpath([os.path.dirname(row.path) or "." for row in rows]) if rows else "."
    return [
        Entry(
            place,
            os.path.relpath(row.path, common),
            row.split,
            row.kind or UNNAMED_KIND,
            row.origin or REAL,
            tuple(filter(None, row.labels.split(";"))),
            row.caption,
            row.other_captions,
            row.bandwidth_hz or None,
            reader,
        )
        for place, (row, reader) in enumerate(zip(rows, readers, strict=True))
    ]


def _from_cache(cache: AudioCache, recording: Recording) -> Reader:
    def read(sample_rate: int, seconds: float | None) -> np.ndarray:
        seconds = np.inf if seconds is None else seconds
        wanted = round(min(seconds * cache.sample_rate, recording.n_samples))
        wave = cache.wave(recording, (recording.n_samples - wanted) // 2, wanted)
        if cache.sample_rate == sample_rate:
            return wave
        n = round(min(seconds, wanted / cache.sample_rate) * sample_rate)
        return resample_to(wave, cache.sample_rate, sample_rate, n)

    return read


def _from_file(path: str) -> Reader:
    def read(sample_rate: int, seconds: float | None) -> np.ndarray:
        wave = decoded(path, sample_rate)
        if seconds is None:
            return wave
        wanted = round(seconds * sample_rate)
        start = max(0, len(wave) - wanted) // 2
        return wave[start : start + wanted].copy()

    return read
