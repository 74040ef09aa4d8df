"""The labels of a manifest: kinds of recordings, what sounds in them, instruments, classes, spoken digits.

MANIFEST is a CSV file with the columns path (relative to the file), split (train, valid or test) and labels (joined
with ;), and perhaps kind, group, source_repo and bandwidth_hz, as that of the data that ``mini`` was trained on.

No group is in two splits. Validation and test are both unheard, so each is the test once while the other validates
(--one-way: the test only); where labels are rare, both are the test at once, and a quarter of the training groups
validates.
"""

import argparse
import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from masktools.core.errors import ParameterError, unknown_name
from probes.data import SPLITS, Clip, TaggedData
from probes.datasets._two_ways import TwoWayData

HELP = "the labels of a manifest: kind, esc10, environment, music, instruments, digits"

_ESC10 = (
    "chainsaw",
    "clock_tick",
    "crackling_fire",
    "crying_baby",
    "dog",
    "helicopter",
    "rain",
    "rooster",
    "sea_waves",
    "sneezing",
)
_INSTRUMENTS = (
    "bass",
    "bell",
    "cymbal",
    "drums",
    "guitar",
    "hi_hat",
    "kick_drum",
    "percussion",
    "piano",
    "snare",
    "synth",
    "tabla",
    "tom",
    "vocals",
)
_WIDE_HZ = 10_000  # recordings that reach less far up give themselves away by it
_PARTS = 4  # of the training groups, where one of them validates
_LEAST_GROUPS = 10  # of a split, for intervals over groups to mean anything

Line = dict[str, str]


@dataclass(frozen=True)
class LabelTask:
    """What is asked of a manifest."""

    about: str
    wanted: Callable[[Line], bool]  # whether a recording takes part
    multilabel: bool = True
    labels: tuple[str, ...] | None = None  # that are asked for; all that are frequent enough if None
    from_kind: bool = False  # the column kind is the label
    n_train: int = 8  # groups with a label that make it one of the task, at the least
    n_tested: int = 2  # the same, of the valid and of the test split, or of both where they are tested together
    together: bool = False  # test on both at once, and validate on a quarter of the training groups


TASKS = {
    "kind": LabelTask(
        f"music, environment or speech, among recordings that reach {_WIDE_HZ // 1000} kHz",
        lambda line: float(line.get("bandwidth_hz") or _WIDE_HZ) >= _WIDE_HZ,
        multilabel=False,
        from_kind=True,
        n_train=1,
        n_tested=1,
    ),
    "esc10": LabelTask(
        "the ten classes of ESC-10, folds 1 to 3 to train, 4 and half of 5 to test",
        lambda line: line.get("source_repo", "").lower().endswith("esc-10"),
        multilabel=False,
        labels=_ESC10,
        n_train=1,
        n_tested=1,
    ),
    "environment": LabelTask(
        "classes and groups of classes of environmental sounds", lambda line: line.get("kind") == "environment"
    ),
    "music": LabelTask(
        "weak labels of music, mostly of whole albums: style, use, instruments",
        lambda line: line.get("kind") == "music",
        n_train=4,
    ),
    "instruments": LabelTask(
        "instruments of music and of single samples, as titles and collections name them",
        lambda line: line.get("kind") == "music",
        labels=_INSTRUMENTS,
        n_train=4,
        n_tested=2,
        together=True,
    ),
    "digits": LabelTask(
        "the ten digits, spoken by four speakers to train and one each to validate and to test",
        lambda line: "spoken_digit" in _labels_of(line),
        multilabel=False,
        labels=tuple(f"digit_{digit}" for digit in range(10)),
        n_train=1,
        n_tested=1,
    ),
}
"""What can be asked, by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the data set."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="the CSV file")
    parser.add_argument("--task", choices=tuple(TASKS), required=True, help="what is to be predicted")
    parser.add_argument("--one-way", action="store_true", help="the split test is the only test")


def read(args: argparse.Namespace) -> TaggedData:
    """Return the data set that the options tell of."""
    return read_labels(args.manifest, args.task, both_ways=not args.one_way)


def read_labels(manifest: Path, task: str | LabelTask, *, both_ways: bool = True) -> TaggedData:
    """Return the recordings of a manifest with the labels of a task.

    A label is asked for if enough groups of each split have it. Where a recording has one label, those without
    any are left out.

    Args:
        manifest: the CSV file.
        task: one of ``TASKS``, by name, or one of your own.
        both_ways: test on the validation split too, in a round of its own.

    Raises:
        ParameterError: an unknown task, a manifest that is missing or lacks a column, a group in two splits, or fewer
            labels than a probe needs.
    """
    if isinstance(task, str):
        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        name, task = task, TASKS[task]
    else:
        name = "labels"
    lines = [line for line in _lines(manifest) if task.wanted(line)]
    _check_groups(manifest, lines)
    together = task.together and both_ways
    if together:
        lines = _tested_together(lines, task)
    labels = _frequent(lines, task)
    if len(labels) < 2 - task.multilabel:
        raise ParameterError(f"{manifest} must hold recordings of several classes of the task {name}, got {labels}")
    place_of = {label: place for place, label in enumerate(labels)}
    n_groups = [len({_group_of(line) for line in lines if line["split"] == split}) for split in SPLITS]
    resampled = min(n_groups[1:]) >= _LEAST_GROUPS
    clips = []
    for line in lines:
        own = tuple(sorted(place_of[label] for label in _asked_of(line, task) if label in place_of))
        if task.multilabel or len(own) == 1:
            path = str(manifest.parent / line["path"])
            group = line.get("group", "") if resampled else ""
            clips.append(Clip(line["path"], path, line["split"], None, own, group))
    kind = TwoWayData if both_ways and not together else TaggedData
    way = "together" if together else "both" if both_ways else "one"
    return kind(name, tuple(clips), labels, task.multilabel, _notes(task, clips, n_groups, way))


def _lines(manifest: Path) -> list[Line]:
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [name for name in ("path", "split", "labels") if name not in (reader.fieldnames or ())]
            if lacking:
                raise ParameterError(f"{manifest} must have the columns path, split and labels: it lacks {lacking}")
            return [{name: value or "" for name, value in line.items() if name} for line in reader]
    except OSError as error:
        raise ParameterError(f"{manifest} must be a manifest that can be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ParameterError(
            f"{manifest} must be a table with commas between its columns, in UTF-8: {error}"
        ) from error


def _check_groups(manifest: Path, lines: Sequence[Line]) -> None:
    split_of: dict[str, str] = {}
    for line in lines:
        if line["split"] not in SPLITS:
            raise ParameterError(
                f"the split of {line['path']} in {manifest} must be train, valid or test, got {line['split']!r}"
            )
        group = line.get("group")
        if group and split_of.setdefault(group, line["split"]) != line["split"]:
            raise ParameterError(
                f"a group must lie in one split, but {group!r} of {manifest} is in {split_of[group]} and "
                f"{line['split']}: what is tested would have been trained on"
            )


def _tested_together(lines: Sequence[Line], task: LabelTask) -> list[Line]:
    """Return recordings with new splits: what was to validate is tested too, and a quarter of the training validates.

    Training groups are dealt one after the other, ordered by the rarest of their labels, so that rare ones are in both.
    """
    counts = Counter(label for line in lines if line["split"] == "train" for label in _asked_of(line, task))
    labels: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if line["split"] == "train":
            labels[_group_of(line)].update(_asked_of(line, task))
    rarest = {group: min(((counts[label], label) for label in own), default=(0, "")) for group, own in labels.items()}
    order = sorted(labels, key=lambda group: (rarest[group], hashlib.sha256(group.encode()).digest()))
    validating = set(order[_PARTS - 1 :: _PARTS])
    found = []
    for line in lines:
        split = "test" if line["split"] != "train" else "valid" if _group_of(line) in validating else "train"
        found.append(line | {"split": split})
    return found


def _group_of(line: Line) -> str:
    """Return the group of a recording; one that has none is a group of its own."""
    return line.get("group") or line["path"]


def _labels_of(line: Line) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.strip() for label in line["labels"].split(";") if label.strip()))


def _asked_of(line: Line, task: LabelTask) -> tuple[str, ...]:
    """Return the labels of a recording among those that a task may ask for."""
    if task.from_kind:
        return (line["kind"],) if line.get("kind") else ()
    return tuple(label for label in _labels_of(line) if task.labels is None or label in task.labels)


def _frequent(lines: Sequence[Line], task: LabelTask) -> tuple[str, ...]:
    """Return the labels that enough groups of each split have, by name; of several of the same recordings, one."""
    groups: dict[str, dict[str, set[str]]] = defaultdict(lambda: {split: set() for split in SPLITS})
    recordings: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        for label in _asked_of(line, task):
            groups[label][line["split"]].add(_group_of(line))
            recordings[label].add(line["path"])
    least = dict(zip(SPLITS, (task.n_train, 1 if task.together else task.n_tested, task.n_tested), strict=True))
    enough = [label for label in sorted(groups) if all(len(groups[label][split]) >= n for split, n in least.items())]
    first_of: dict[frozenset[str], str] = {}
    for label in enough:
        first_of.setdefault(frozenset(recordings[label]), label)
    return tuple(first_of.values())


def _notes(task: LabelTask, clips: Sequence[Clip], n_groups: Sequence[int], way: str) -> str:
    n_clips = [sum(clip.split == split for clip in clips) for split in SPLITS]
    told = [
        task.about,
        f"{' / '.join(map(str, n_clips))} clips of {' / '.join(map(str, n_groups))} groups to train, validate and test",
        "no group is in two splits",
    ]
    if task.multilabel:
        least = f"{task.n_train} groups to train and {task.n_tested} of each test have"
        told.append(f"labels that at least {least}")
    if min(n_groups[1:]) < _LEAST_GROUPS:
        told.append("too few groups to resample them: intervals are over clips, and say nothing of other speakers")
    if way == "together":
        told.append("the splits valid and test are tested together; a quarter of the training groups validates")
    if way == "both":
        told.append("in a second round validation and test are exchanged; training stays")
    return "; ".join(told)
