"""ESC-50: 2,000 recordings of 5 s in 50 classes of environmental sounds, or its ten clearest classes, ESC-10.

ROOT holds meta/esc50.csv and audio/*.wav, as the repository of the data set has them. Each of the five folds is the
test once; the next one validates, and the other three train.
"""

import argparse
import csv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from masktools.core.errors import ParameterError
from probes.data import Clip, TaggedData
from probes.table import Published
from probes.verification import Finding, Verification

HELP = "ESC-50, or ESC-10: environmental sounds, five folds"
PUBLISHED = (
    Published("human listeners", None, None, "ESC-50, crowdsourced", accuracy=81.3),
    Published("CNN on mel spectrograms", None, None, "ESC-50, trained whole on four folds", accuracy=64.5),
    Published("random forest on MFCC and zero crossings", None, None, "ESC-50, trained on four folds", accuracy=44.3),
)
"""Of the data set's first users.

Source: K. J. Piczak, ESC: Dataset for Environmental Sound Classification (ACM Multimedia 2015), and Environmental Sound
Classification with Convolutional Neural Networks (MLSP 2015), as the data set's own page lists them.
"""

_TABLE, _AUDIO = Path("meta") / "esc50.csv", "audio"
_COLUMNS = ("filename", "fold", "category", "esc10", "src_file")
_N_CLIPS, _N_CLASSES, _FOLDS = 2000, 50, (1, 2, 3, 4, 5)


class _Row(NamedTuple):
    """A line of the table."""

    filename: str
    fold: int
    category: str
    is_esc10: bool
    source: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the data set."""
    parser.add_argument("root", type=Path, metavar="ROOT", help="the folder of the data set")
    parser.add_argument("--esc10", action="store_true", help="the 400 clips of ten classes only")


def read(args: argparse.Namespace) -> TaggedData:
    """Return the data set that the options tell of."""
    return read_esc50(args.root, args.esc10)


def verify(args: argparse.Namespace) -> Verification:
    """Return whether what is in the folder is what was published."""
    return verify_esc50(args.root)


def read_esc50(root: Path, esc10: bool = False) -> TaggedData:
    """Return ESC-50 with its five folds.

    Clips cut from one recording are one group; the folds keep them together.

    Args:
        root: its folder.
        esc10: leave out all but the ten classes of ESC-10.

    Raises:
        ParameterError: a missing table, one of another layout, or one without clips.
    """
    rows = [row for row in _rows(root) if row.is_esc10 or not esc10]
    if not rows:
        raise ParameterError(f"{root / _TABLE} must hold clips{' of ESC-10' if esc10 else ''}, got none")
    labels = tuple(sorted({row.category for row in rows}))
    place_of = {label: place for place, label in enumerate(labels)}
    clips = tuple(
        Clip(row.filename, str(root / _AUDIO / row.filename), "", row.fold, (place_of[row.category],), row.source)
        for row in rows
    )
    folds = sorted({row.fold for row in rows})
    notes = (
        f"{len(rows):,} clips in {len(labels)} classes; {len(folds)} folds: each is the test once, the next one "
        "validates, the others train (others' figures: four folds train); groups are the recordings that clips were "
        "cut from"
    )
    return TaggedData("esc10" if esc10 else "esc50", clips, labels, False, notes)


def _rows(root: Path) -> list[_Row]:
    path = root / _TABLE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if lacking:
                raise ParameterError(f"{path} must have the columns {', '.join(_COLUMNS)}: it lacks {lacking}")
            return [_row(path, reader.line_num, line) for line in reader]
    except OSError as error:
        raise ParameterError(
            f"{path} must be there, as ESC-50 has it: {error.strerror}; give the folder that holds it as ROOT"
        ) from error
    except csv.Error as error:
        raise ParameterError(f"{path} must be a table with commas between its columns: {error}") from error


def _row(path: Path, number: int, line: dict[str, str]) -> _Row:
    if None in line or None in line.values() or not line["fold"].isdecimal() or line["esc10"] not in ("True", "False"):
        raise ParameterError(
            f"{path}:{number} must have a field for each column, a number as fold and True or False as esc10, got "
            f"{list(line.values())}"
        )
    return _Row(line["filename"], int(line["fold"]), line["category"], line["esc10"] == "True", line["src_file"])


def verify_esc50(root: Path) -> Verification:
    """Return what of ESC-50 is in a folder: its clips, their classes and folds, their groups, their files.

    Raises:
        ParameterError: a missing table, or one of another layout.
    """
    rows = _rows(root)
    by_class_and_fold = Counter((row.category, row.fold) for row in rows)
    uneven = [place for place, n in by_class_and_fold.items() if n != _N_CLIPS // _N_CLASSES // len(_FOLDS)]
    folds_of: dict[str, set[int]] = {}
    for row in rows:
        folds_of.setdefault(row.source, set()).add(row.fold)
    torn = [source for source, folds in folds_of.items() if len(folds) > 1]
    gone = [row.filename for row in rows if not (root / _AUDIO / row.filename).is_file()]
    files = (
        Finding("audio files", "missing", f"{len(gone):,} are not there, the first is {gone[0]}")
        if gone
        else Finding("audio files", "ok", f"{len(rows):,}")
    )
    return Verification(
        (
            _count("clips", len(rows), _N_CLIPS),
            _count("classes", len({row.category for row in rows}), _N_CLASSES),
            _count("clips of ESC-10", sum(row.is_esc10 for row in rows), 400),
            _count("classes and folds that have not 8 clips", len(uneven), 0),
            _count("recordings whose clips lie in several folds", len(torn), 0),
            files,
        )
    )


def _count(what: str, found: int, wanted: int) -> Finding:
    if found == wanted:
        return Finding(what, "ok", f"{found:,}")
    return Finding(what, "differs", f"{found:,}, published {wanted:,}")
