"""Recordings in folders, a folder for each class: any collection, without a table.

ROOT holds CLASS/*, or train/CLASS/*, valid/CLASS/* and test/CLASS/*. Without such splits, recordings are dealt to
folds; each fold is the test once.
"""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from masktools.core.errors import ParameterError
from masktools.io import file_names, is_recording
from probes.data import SPLITS, Clip, TaggedData

HELP = "folders named after classes: any collection"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the data set."""
    parser.add_argument("root", type=Path, metavar="ROOT", help="the folder of the folders")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="where there are no splits; 3 at least")
    parser.add_argument(
        "--group-until",
        default="",
        metavar="TEXT",
        help="files whose names are the same up to this text are of one group, as one speaker, and stay together",
    )


def read(args: argparse.Namespace) -> TaggedData:
    """Return the data set that the options tell of."""
    return read_folders(args.root, args.folds, args.group_until)


def read_folders(root: Path, n_folds: int = 5, group_until: str = "") -> TaggedData:
    """Return recordings with the names of their folders as classes.

    Folds depend on the names of the files alone: the same collection has the same folds anywhere. Groups are dealt to
    them class by class, so that each fold has about as many of each.

    Args:
        root: the folder of the folders.
        n_folds: at least 3; not used where there are splits.
        group_until: what ends the part of a file's name that names its group; nothing: groups are not known.

    Raises:
        ParameterError: no such folder, fewer than two classes, fewer than three folds, or splits that lack one.
    """
    if n_folds < 3:
        raise ParameterError(f"folds must be at least 3, one to test, one to validate and one to train, got {n_folds}")
    if not root.is_dir():
        raise ParameterError(f"{root} must be a folder that holds a folder for each class")
    found = {split: list(_recordings(root / split)) for split in SPLITS if (root / split).is_dir()}
    if found and len(found) < len(SPLITS):
        raise ParameterError(f"{root} must hold the folders train, valid and test, or none of them: got {list(found)}")
    paths = [(f"{split}/{name}", split) for split in found for name in found[split]]
    if not found:
        paths = [(name, "") for name in _recordings(root)]
    classes = {key: key.split("/")[1 if split else 0] for key, split in paths}
    labels = tuple(sorted(set(classes.values())))
    if len(labels) < 2:
        raise ParameterError(f"{root} must hold recordings of at least two classes, each in a folder, got {labels}")
    groups = {key: _group_of(key, group_until) for key, _ in paths}
    folds = {} if found else _dealt(classes, groups, n_folds)
    clips = tuple(
        Clip(key, str(root / key), split, folds.get(key), (labels.index(classes[key]),), groups[key])
        for key, split in paths
    )
    told = "the splits of the folders" if found else f"{n_folds} folds, dealt by name; each is the test once"
    known = f"groups are names up to {group_until!r}" if group_until else "groups are not known"
    return TaggedData(root.resolve().name, clips, labels, False, f"{told}; {known}")


def _recordings(folder: Path) -> Iterator[str]:
    """Yield the recordings that lie in folders, relative to ``folder``, in the order of their names."""
    names = [name for name in file_names(folder, recursive=True) if "/" in name and is_recording(name)]
    yield from sorted(names)


def _group_of(key: str, until: str) -> str:
    name = key.rsplit("/", 1)[-1]
    return name.split(until)[0] if until and until in name else ""


def _dealt(classes: dict[str, str], groups: dict[str, str], n_folds: int) -> dict[str, int]:
    """Return the fold, from 1 on, of each recording."""
    members: dict[str, list[str]] = defaultdict(list)
    for key in classes:
        members[groups[key] or f"/{key}"].append(key)
    of_class: dict[str, list[str]] = defaultdict(list)
    for group, keys in members.items():
        of_class[min(classes[key] for key in keys)].append(group)
    folds: dict[str, int] = {}
    n_dealt = 0
    for label in sorted(of_class):
        for group in sorted(of_class[label], key=lambda name: hashlib.sha256(name.encode()).digest()):
            folds |= dict.fromkeys(members[group], 1 + n_dealt % n_folds)
            n_dealt += 1
    return folds
