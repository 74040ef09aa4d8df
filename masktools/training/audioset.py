"""AudioSet and AudioCaps in their usual layouts: lists of clips of videos, beside the audio that somebody fetched.

Videos vanish, so some files are always missing: they are counted. A file holds the ten seconds of its clip, and is
named after the video (YTID.wav), perhaps with a Y before it, and perhaps with where the clip starts in the video, in
seconds or milliseconds, and where it ends (YTID_30.flac, YTID_30000.wav, YTID_30_40.wav).
"""

import csv
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from masktools.errors import ParameterError
from masktools.training.sources import Row, Source, audio_files, hashed_share, split_named

__all__ = ["is_audiocaps", "is_audioset", "read_audiocaps", "read_audioset"]

_CLASSES = "class_labels_indices.csv"
_CLIP_S = 10.0
_VALID_SHARE = 0.01  # of the training clips of AudioSet, which has no such split
_CAPTION_COLUMNS = {"youtube_id", "start_time", "caption"}


def is_audioset(path: Path) -> bool:
    """Tell whether a CSV file is a list of AudioSet: ``# YTID`` stands in its first lines."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return any(line.replace(" ", "").startswith("#YTID") for line in itertools.islice(file, 5))


def is_audiocaps(path: Path) -> bool:
    """Tell whether a CSV file is a list of AudioCaps, by its columns."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return set(next(csv.reader(file), ())) >= _CAPTION_COLUMNS


class _Files:
    """The audio files below a folder, found by the clip they hold."""

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
    """Return the clips of AudioSet, of one list or of all in a folder; audio lies below the folder of the lists.

    A list with eval in its name is the split test; of the others a hundredth, chosen by a hash of the video, is valid.
    Labels are the names in class_labels_indices.csv, or without it the identifiers.

    Raises:
        ParameterError: None of the audio files is there, or a line is not one of AudioSet.
    """
    folder = path if path.is_dir() else path.parent
    lists = sorted(p for p in folder.glob("*.csv") if is_audioset(p)) if path.is_dir() else [path]
    names, files = _class_names(folder), _Files(folder)
    rows, n_missing, seen = [], 0, set()
    for clips in lists:
        of_test = "eval" in clips.stem.lower()
        for video, start_s, end_s, labels in _audioset_lines(clips):
            if (video, start_s) in seen:
                continue
            seen.add((video, start_s))
            found = files.path(video, start_s, end_s)
            if found is None:
                n_missing += 1
                continue
            split = "test" if of_test else "valid" if hashed_share(video) < _VALID_SHARE else "train"
            texts = ";".join(names.get(label, label) for label in labels)
            rows.append(Row(found, split, "audioset", texts))
    return _source("audioset", folder, rows, n_missing)


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
    """Return the clips of AudioCaps, of one list or of train.csv, val.csv and test.csv in a folder.

    Captions of one clip (five in the test list) are kept together; audio lies below the folder of the lists.

    Raises:
        ParameterError: None of the audio files is there, a list is not named after its split, or a start is no number.
    """
    folder = path if path.is_dir() else path.parent
    lists = sorted(p for p in folder.glob("*.csv") if is_audiocaps(p)) if path.is_dir() else [path]
    files, rows, n_missing = _Files(folder), [], 0
    for captions in lists:
        split = split_named(captions.stem)
        if split is None:
            raise ParameterError(f"a list of AudioCaps must be named train.csv, val.csv or test.csv, got {captions}")
        for (video, start_s), texts in _captions(captions).items():
            found = files.path(video, start_s, start_s + _CLIP_S)
            if found is None:
                n_missing += 1
                continue
            row = Row(found, split, "audiocaps", caption=texts[0])
            rows.append(replace(row, other_captions=tuple(texts[1:])))
    return _source("audiocaps", folder, rows, n_missing)


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


def _source(kind: str, folder: Path, rows: list[Row], n_missing: int) -> Source:
    if not rows:
        raise ParameterError(
            f"none of the {n_missing} clips is below {folder}: files must be named YTID.wav or YTID_START.wav "
            "(or .flac, .mp3, .ogg, .opus), in whatever folder below it"
        )
    return Source(kind, tuple(rows), n_missing)
