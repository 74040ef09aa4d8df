"""Where training audio comes from: a folder, a manifest, AudioSet or AudioCaps -> one row a recording.

Rows say what is known of a recording and where it lies; nothing is decoded here. ``read_source`` finds out what it was
given.
"""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from masktools.errors import ParameterError, unknown_name
from masktools.io import SUFFIXES

__all__ = ["SPLITS", "Row", "Source", "audio_files", "hashed_share", "read_folder", "read_manifest", "split_named"]

SPLITS = ("train", "valid", "test")
_OTHER_NAMES = {"training": "train", "val": "valid", "validation": "valid", "dev": "valid", "eval": "test"}
_VALID_SHARE, _TEST_SHARE = 0.05, 0.05  # of a folder without splits of its own


@dataclass(frozen=True)
class Row:
    """What is known of one recording before it is decoded."""

    path: str
    split: str = "train"
    kind: str = ""
    labels: str = ""  # joined with ';'
    caption: str = ""
    other_captions: tuple[str, ...] = ()  # where people described it more than once
    origin: str = "real"  # or what made it, e.g. "rendered"
    bandwidth_hz: float = 0.0  # the highest frequency it reaches; 0 where nobody knows
    measured: str = ""  # tags measured from the signal, joined with ';'


@dataclass(frozen=True)
class Source:
    """The recordings of a source that are there, and how many of those it names are not."""

    kind: str  # folder, manifest, audioset or audiocaps
    rows: tuple[Row, ...]
    n_missing: int = 0


def audio_files(folder: Path) -> Iterator[Path]:
    """Yield the audio files below a folder, hidden ones left out, in no particular order."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(place, name)


def hashed_share(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone.

    >>> round(hashed_share("a/b.wav"), 3)
    0.208
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2.0**56


def split_named(name: str) -> str | None:
    """Return the split that a folder's or a file's name stands for, None for none.

    >>> split_named("Validation"), split_named("drums")
    ('valid', None)
    """
    lower = name.lower()
    return lower if lower in SPLITS else _OTHER_NAMES.get(lower)


def read_folder(folder: Path) -> Source:
    """Return the audio files below a folder.

    Where its own folders are named train, valid (or val) and test, those are the splits, and files elsewhere are
    training; else a hash of each file's path in the folder chooses, 90 : 5 : 5, the same in every copy of the folder.
    Of two files or more one is there to train with, and one to validate with, whichever way they were split.

    Raises:
        ParameterError: There is no audio file in it.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in audio_files(folder))
    if not names:
        raise ParameterError(f"no audio file below {folder}: files must end in {', '.join(SUFFIXES)}")
    named = {name: split_named(name.split("/")[0]) for name in names if "/" in name}
    given = [named.get(name) or "train" for name in names] if any(named.values()) else map(_split_by_hash, names)
    splits = _with_both(dict(zip(names, given, strict=True)))
    rows = (Row(str(folder.absolute() / name), split) for name, split in splits.items())
    return Source("folder", tuple(rows))


def _split_by_hash(name: str) -> str:
    share = hashed_share(name)
    return "test" if share < _TEST_SHARE else "valid" if share < _TEST_SHARE + _VALID_SHARE else "train"


def _with_both(splits: dict[str, str]) -> dict[str, str]:
    """Return the splits of two files or more with one to train with and one to validate with."""
    for lacking in ("train", "valid") if len(splits) > 1 else ():
        held = Counter(splits.values())
        if not held[lacking]:
            largest = max(held, key=lambda split: (held[split] > 1, split == "test", held[split]))
            giver = min((name for name in splits if splits[name] == largest), key=hashed_share)
            splits = splits | {giver: lacking}
    return splits


def read_manifest(path: str | os.PathLike[str], non_commercial: bool = False) -> list[Row]:
    """Return the rows of a manifest, without those whose ``nc`` is 1 unless asked for.

    A manifest is a CSV file with the columns path (relative to it) and split, and where there are any, labels and
    measured (joined with ';'), caption, kind, nc, bandwidth_hz, and origin, or in its place rendered (0 or 1).

    Raises:
        ParameterError: There is no such file, a column is missing, or a value is not of its kind.
    """
    manifest = Path(path)
    if not manifest.is_file():
        raise ParameterError(f"no manifest at {manifest}")
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"path", "split"} - set(reader.fieldnames or ())
        if missing:
            raise ParameterError(
                f"{manifest} must have the columns path and split, missing: {', '.join(sorted(missing))}"
            )
        lines = [
            (number, row) for number, row in enumerate(reader, 2) if non_commercial or (row.get("nc") or "0") != "1"
        ]
    return [_manifest_row(manifest, number, row) for number, row in lines]


def _manifest_row(manifest: Path, number: int, row: dict[str, str]) -> Row:
    split = split_named(row["split"] or "")
    if split is None:
        raise unknown_name(f"split in row {number} of {manifest}", row["split"] or "", SPLITS)
    try:
        bandwidth_hz = float(row.get("bandwidth_hz") or 0.0)
    except ValueError as error:
        raise ParameterError(
            f"bandwidth_hz must be a number, got {row['bandwidth_hz']!r} in row {number} of {manifest}"
        ) from error
    kind, labels, caption, measured = (row.get(name) or "" for name in ("kind", "labels", "caption", "measured"))
    path = str(manifest.parent / row["path"])
    origin = row.get("origin") or ("rendered" if row.get("rendered") == "1" else "real")
    return Row(path, split, kind, labels, caption, (), origin, bandwidth_hz, measured)
