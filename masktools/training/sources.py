"""Lists of recordings: folders, manifests, AudioSet and AudioCaps, as rows of metadata.

Nothing is decoded here. Some files of AudioSet and AudioCaps are always missing, since videos vanish; they are counted.
A file holds the ten seconds of its clip, and is named after the video (YTID.wav), optionally with a Y before it, and
with the start of the clip in the video, in seconds or milliseconds, and its end (YTID_30.flac, YTID_30000.wav,
YTID_30_40.wav).
"""

import csv
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from masktools.core.arguments import checked_name
from masktools.core.errors import ParameterError, unknown_name
from masktools.io import SUFFIXES

SPLITS = ("train", "valid", "test")
_OTHER_NAMES = {"training": "train", "val": "valid", "validation": "valid", "dev": "valid", "eval": "test"}
_VALID_SHARE, _TEST_SHARE = 0.05, 0.05  # of a folder without splits


@dataclass(frozen=True)
class Row:
    """Metadata of one recording, before it is decoded."""

    path: str
    split: str = "train"
    kind: str = ""
    labels: str = ""  # joined with ';'
    caption: str = ""
    other_captions: tuple[str, ...] = ()  # further human captions
    origin: str = "real"  # or its generator, e.g. "rendered"
    bandwidth_hz: float = 0.0  # upper limit of its band; 0 if unknown
    measured: str = ""  # tags measured from the signal, joined with ';'


@dataclass(frozen=True)
class Source:
    """The existing recordings of a source, and the number of missing ones."""

    kind: str  # folder, manifest, audioset or audiocaps
    rows: tuple[Row, ...]
    n_missing: int = 0


def audio_files(folder: Path) -> Iterator[Path]:
    """Yield the audio files below a folder except hidden ones, in no particular order."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(place, name)


def hashed_share(text: str) -> float:
    """Return a hash of a text as a number in [0, 1).

    >>> round(hashed_share("a/b.wav"), 3)
    0.208
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2.0**56


def split_named(name: str) -> str | None:
    """Return the split for the name of a folder or a file, None for none.

    >>> split_named("Validation"), split_named("drums")
    ('valid', None)
    """
    lower = name.lower()
    return lower if lower in SPLITS else _OTHER_NAMES.get(lower)


def read_folder(folder: Path) -> Source:
    """Return the audio files below a folder.

    Where its subfolders are named train, valid (or val) and test, those are the splits, and other files are
    training; else a hash of each file's path in the folder chooses, 90 : 5 : 5, the same in every copy of the folder.
    With two files or more, there is at least one for training and one for validation.

    Raises:
        ParameterError: there is no audio file in it.
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
    """Return splits of two files or more with at least one for training and one for validation."""
    for lacking in ("train", "valid") if len(splits) > 1 else ():
        held = Counter(splits.values())
        if not held[lacking]:
            largest = max(held, key=lambda split: (held[split] > 1, split == "test", held[split]))
            giver = min((name for name in splits if splits[name] == largest), key=hashed_share)
            splits = splits | {giver: lacking}
    return splits


def read_manifest(path: str | os.PathLike[str], non_commercial: bool = False) -> list[Row]:
    """Return the rows of a manifest, without those whose ``nc`` is 1 unless asked for.

    A manifest is a CSV file with the columns path (relative to it) and split, and optionally labels and
    measured (joined with ';'), caption, kind, nc, bandwidth_hz, and origin, or instead of it rendered (0 or 1).

    Raises:
        ParameterError: there is no such file, a column is missing, or a value is invalid.
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


_CLASSES = "class_labels_indices.csv"
_CLIP_S = 10.0
_VALID_SHARE_OF_TRAIN = 0.01  # of the training clips of AudioSet, which has no such split
_Clip = tuple[str, float, float]  # the video, and start and end of the clip in it, in seconds
_CAPTION_COLUMNS = {"youtube_id", "start_time", "caption"}


def is_audioset(path: Path) -> bool:
    """Tell whether a CSV file is a list of AudioSet, by ``# YTID`` in its first lines."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return any(line.replace(" ", "").startswith("#YTID") for line in itertools.islice(file, 5))


def is_audiocaps(path: Path) -> bool:
    """Tell whether a CSV file is a list of AudioCaps, by its columns."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return set(next(csv.reader(file), ())) >= _CAPTION_COLUMNS


class _Files:
    """Index of the audio files below a folder by clip."""

    def __init__(self, folder: Path) -> None:
        self.by_stem = {path.stem: str(path.absolute()) for path in sorted(audio_files(folder))}

    def path(self, video: str, start_s: float, end_s: float) -> str | None:
        """Return the file of a clip, None where there is none."""
        begins = (f"{start_s:g}", f"{start_s:.3f}", f"{start_s:.1f}", f"{round(start_s * 1000)}")
        ends = (f"{end_s:g}", f"{end_s:.3f}", f"{end_s:.1f}", f"{round(end_s * 1000)}")
        tails = [*(f"_{begin}_{end}" for begin, end in zip(begins, ends, strict=True)), *(f"_{b}" for b in begins), ""]
        stems = (f"{before}{video}{tail}" for tail in tails for before in ("", "Y"))
        return next((self.by_stem[stem] for stem in stems if stem in self.by_stem), None)


def read_audioset(path: Path) -> Source:
    """Return the clips of AudioSet, from one list or all in a folder; audio is below the folder of the lists.

    A list with eval in its name is the test split; of the others a hundredth, chosen by a hash of the video, is valid.
    Labels are the names in class_labels_indices.csv, or else the identifiers.

    Raises:
        ParameterError: there are no audio files, or a line is not in AudioSet's format.
    """
    names, seen = _class_names(path if path.is_dir() else path.parent), set()

    def clips(listed: Path) -> Iterator[tuple[_Clip, Row]]:
        of_test = "eval" in listed.stem.lower()
        for video, start_s, end_s, labels in _audioset_lines(listed):
            if (video, start_s) not in seen:
                seen.add((video, start_s))
                split = "test" if of_test else "valid" if hashed_share(video) < _VALID_SHARE_OF_TRAIN else "train"
                texts = ";".join(names.get(label, label) for label in labels)
                yield (video, start_s, end_s), Row("", split, "audioset", texts)

    return _of_lists("audioset", path, is_audioset, clips)


def _audioset_lines(path: Path) -> Iterator[tuple[str, float, float, list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        for number, fields in enumerate(csv.reader(file, skipinitialspace=True), 1):
            if not fields or fields[0].startswith("#"):
                continue
            try:
                video, start, end, labels = fields
                yield video, float(start), float(end), [label.strip() for label in labels.split(",")]
            except ValueError as error:
                raise ParameterError(
                    f"line {number} of {path} must be: YTID, start_seconds, end_seconds, positive_labels in quotes; "
                    f"got {', '.join(fields)[:80]!r}"
                ) from error


def _class_names(folder: Path) -> dict[str, str]:
    path = folder / _CLASSES
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"mid", "display_name"} <= set(reader.fieldnames or ()):
            raise ParameterError(f"{path} must have the columns index, mid and display_name")
        return {row["mid"]: row["display_name"] for row in reader}


def read_audiocaps(path: Path) -> Source:
    """Return the clips of AudioCaps, from one list or from train.csv, val.csv and test.csv in a folder.

    Captions of one clip (five in the test list) are grouped; audio is below the folder of the lists.

    Raises:
        ParameterError: there are no audio files, a list is not named after its split, or a start is no number.
    """

    def clips(listed: Path) -> Iterator[tuple[_Clip, Row]]:
        split = split_named(listed.stem)
        if split is None:
            raise ParameterError(f"a list of AudioCaps must be named train.csv, val.csv or test.csv, got {listed}")
        for (video, start_s), (first, *others) in _captions(listed).items():
            row = Row("", split, "audiocaps", caption=first, other_captions=tuple(others))
            yield (video, start_s, start_s + _CLIP_S), row

    return _of_lists("audiocaps", path, is_audiocaps, clips)


def _captions(path: Path) -> dict[tuple[str, float], list[str]]:
    clips: dict[tuple[str, float], list[str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                start_s = float(row["start_time"])
            except (TypeError, ValueError) as error:
                raise ParameterError(
                    f"start_time must be a number, got {row['start_time']!r} in row {number} of {path}"
                ) from error
            clips.setdefault((row["youtube_id"], start_s), []).append((row["caption"] or "").strip())
    return clips


def _of_lists(
    kind: str, path: Path, is_list: Callable[[Path], bool], clips: Callable[[Path], Iterator[tuple[_Clip, Row]]]
) -> Source:
    """Return the clips of one list, or of all in a folder, whose audio is below the folder.

    Args:
        kind: kind of the source.
        path: a list, or a folder.
        is_list: function that recognises the lists among the files of a folder.
        clips: function from a list to its clips with their metadata.

    Raises:
        ParameterError: there are no audio files.
    """
    folder = path if path.is_dir() else path.parent
    files, rows, n_missing = _Files(folder), [], 0
    for listed in sorted(filter(is_list, folder.glob("*.csv"))) if path.is_dir() else [path]:
        for clip, row in clips(listed):
            found = files.path(*clip)
            if found is None:
                n_missing += 1
            else:
                rows.append(replace(row, path=found))
    if not rows:
        raise ParameterError(
            f"none of the {n_missing} clips is below {folder}: files must be named YTID.wav or YTID_START.wav "
            "(or .flac, .mp3, .ogg, .opus), in whatever folder below it"
        )
    return Source(kind, tuple(rows), n_missing)


SOURCES: Mapping[str, str] = {
    "folder": "a folder of audio files",
    "manifest": "a CSV file with the columns path and split",
    "audioset": "its lists (# YTID, start_seconds, end_seconds, positive_labels) in a folder with the audio",
    "audiocaps": "its lists (audiocap_id, youtube_id, start_time, caption) in a folder with the audio",
}
"""Kinds of sources, with a description of each."""


def read_source(path: str | os.PathLike[str], kind: str = "auto", non_commercial: bool = False) -> Source:
    """Return the existing recordings of a source.

    Args:
        path: a folder, or a CSV file
        kind: one of ``SOURCES``, or auto to detect it
        non_commercial: whether to take rows of a manifest whose ``nc`` is 1

    Raises:
        ParameterError: the path holds nothing of this kind, or of any kind.
    """
    place = Path(path)
    checked_name("kind of source", kind, ("auto", *SOURCES))
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
