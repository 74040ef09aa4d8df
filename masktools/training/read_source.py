"""What a path holds: a folder of audio, a manifest, AudioSet or AudioCaps."""

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from masktools.errors import ParameterError, unknown_name
from masktools.training.audioset import is_audiocaps, is_audioset, read_audiocaps, read_audioset
from masktools.training.sources import Source, read_folder, read_manifest

__all__ = ["SOURCES", "read_source"]

SOURCES: Mapping[str, str] = {
    "folder": "a folder of audio files",
    "manifest": "a CSV file with the columns path and split",
    "audioset": "its lists (# YTID, start_seconds, end_seconds, positive_labels) in a folder with the audio",
    "audiocaps": "its lists (audiocap_id, youtube_id, start_time, caption) in a folder with the audio",
}
"""The kinds of sources, with what each must look like."""


def read_source(path: str | os.PathLike[str], kind: str = "auto", non_commercial: bool = False) -> Source:
    """Return the recordings that a source names and that are there.

    Args:
        path: a folder, or a CSV file
        kind: one of ``SOURCES``, or auto to find out
        non_commercial: whether to take rows of a manifest whose ``nc`` is 1

    Raises:
        ParameterError: The path holds nothing of the kind, or of no kind at all.
    """
    place = Path(path)
    if kind not in ("auto", *SOURCES):
        raise unknown_name("kind of source", kind, ("auto", *SOURCES))
    if not place.exists():
        raise ParameterError(f"no source at {place}: it must be {_expected()}")
    chosen = _kind_of(place) if kind == "auto" else kind
    if chosen == "manifest":
        manifest = place / "manifest.csv" if place.is_dir() else place
        return Source(chosen, tuple(read_manifest(manifest, non_commercial)))
    if chosen == "folder":
        if not place.is_dir():
            raise ParameterError(f"a source of the kind folder must be a folder, got {place}")
        return read_folder(place)
    tell: Callable[[Path], bool] = is_audioset if chosen == "audioset" else is_audiocaps
    lists = list(place.glob("*.csv")) if place.is_dir() else [place]
    if not any(tell(one) for one in lists):
        raise ParameterError(f"no list of {chosen} at {place}: it must be {SOURCES[chosen]}")
    return read_audioset(place) if chosen == "audioset" else read_audiocaps(place)


def _kind_of(place: Path) -> str:
    if place.is_file():
        kind = _kind_of_list(place)
        if kind is None:
            raise ParameterError(f"{place} is no list of recordings: a source must be {_expected()}")
        return kind
    if (place / "manifest.csv").is_file():
        return "manifest"
    kinds = {_kind_of_list(one) for one in place.glob("*.csv")} & {"audioset", "audiocaps"}
    if len(kinds) > 1:
        raise ParameterError(f"{place} holds lists of AudioSet and of AudioCaps: name the list, or the kind")
    return kinds.pop() or "folder" if kinds else "folder"


def _kind_of_list(path: Path) -> str | None:
    try:
        if is_audioset(path):
            return "audioset"
        if is_audiocaps(path):
            return "audiocaps"
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            return "manifest" if set(next(csv.reader(file), ())) & {"path", "split"} else None
    except csv.Error:
        return None


def _expected() -> str:
    return "; or ".join(SOURCES.values())
