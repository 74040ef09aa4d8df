"""A collection of recordings with labels: what every data set is turned into, whatever its layout on disk."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from masktools.core.errors import ParameterError

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Clip:
    """One recording of a data set, and what is heard in it."""

    key: str  # what its vectors are stored under; unique in the data set
    path: str  # of the file
    split: str  # train, valid or test, or nothing where the data set has folds
    fold: int | None  # of a cross-validation
    labels: tuple[int, ...]  # places in the data set's list of labels
    group: str = ""  # what it shares with other clips, as an artist or a speaker; nothing if that is not known

    def __post_init__(self) -> None:
        if not self.key:
            raise ParameterError(f"a clip must have a key, got none for {self.path!r}")
        if self.split not in ("", *SPLITS):
            raise ParameterError(f"the split of {self.key} must be train, valid, test or nothing, got {self.split!r}")
        if self.split and self.fold is not None:
            raise ParameterError(f"{self.key} must have a split or a fold, got both: {self.split} and {self.fold}")


class Round(NamedTuple):
    """One training and its test: places of clips in a data set."""

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class TaggedData:
    """A data set: its clips, the labels they may have, and whether one clip may have several or none."""

    name: str
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    multilabel: bool
    notes: str = ""  # on the protocol: which split, what was left out, what was merged

    def __post_init__(self) -> None:
        if not self.clips:
            raise ParameterError(f"the data set {self.name} must have clips, got none")
        if len(self.labels) < 2 - self.multilabel or len(set(self.labels)) != len(self.labels):
            raise ParameterError(f"the labels of {self.name} must be at least two and all different: {self.labels}")
        self._check_keys()
        for clip in self.clips:
            if any(not 0 <= label < len(self.labels) for label in clip.labels):
                raise ParameterError(f"the labels of {clip.key} must lie in [0, {len(self.labels) - 1}]: {clip.labels}")
            if not self.multilabel and len(clip.labels) != 1:
                raise ParameterError(f"{clip.key} must have one label, got {len(clip.labels)}")
        if len({clip.fold is None for clip in self.clips}) > 1:
            raise ParameterError(f"all clips of {self.name} must have folds, or none of them, got some of both")

    def _check_keys(self) -> None:
        seen: set[str] = set()
        for clip in self.clips:
            if clip.key in seen:
                raise ParameterError(f"every clip of {self.name} must have a key of its own, got {clip.key!r} twice")
            seen.add(clip.key)

    def targets(self) -> np.ndarray:
        """Return what is to be predicted: bool (n, labels), or int64 (n,) where each clip has one label."""
        if not self.multilabel:
            return np.array([clip.labels[0] for clip in self.clips], np.int64)
        wanted = np.zeros((len(self.clips), len(self.labels)), bool)
        for row, clip in enumerate(self.clips):
            wanted[row, list(clip.labels)] = True
        return wanted

    def groups(self) -> np.ndarray | None:
        """Return a number for the group of each clip, (n,); None where groups are not known.

        A clip whose own group is not known is a group of its own.
        """
        if not any(clip.group for clip in self.clips):
            return None
        names = [clip.group or f"\0{clip.key}" for clip in self.clips]
        return np.unique(names, return_inverse=True)[1]

    def rounds(self) -> Iterator[Round]:
        """Yield the trainings that make up one result: one, or one for each fold.

        With folds, each is the test once, the next one validates, and the others train.

        Raises:
            ParameterError: a split without clips, or fewer than three folds.
        """
        folds = sorted({clip.fold for clip in self.clips if clip.fold is not None})
        if not folds:
            yield self._round("splits", {split: {split} for split in SPLITS}, [clip.split for clip in self.clips])
            return
        if len(folds) < 3:
            raise ParameterError(f"a cross-validation of {self.name} needs at least three folds, got {len(folds)}")
        of_clip = [clip.fold for clip in self.clips]
        for place, test in enumerate(folds):
            valid = folds[(place + 1) % len(folds)]
            parts = {"train": set(folds) - {valid, test}, "valid": {valid}, "test": {test}}
            yield self._round(f"fold {test}", parts, of_clip)

    def _round(self, name: str, parts: dict[str, set], of_clip: list) -> Round:
        places = {
            part: np.array([i for i, one in enumerate(of_clip) if one in wanted]) for part, wanted in parts.items()
        }
        empty = [part for part, found in places.items() if not len(found)]
        if empty:
            raise ParameterError(
                f"{self.name} must have clips to train, to validate and to test, got none for {' and '.join(empty)}"
            )
        return Round(name, places["train"], places["valid"], places["test"])

    def only(self, keys: Collection[str]) -> "TaggedData":
        """Return the data set with those of its clips alone that have these keys, in the same order."""
        wanted = set(keys)
        return replace(self, clips=tuple(clip for clip in self.clips if clip.key in wanted))

    def shuffled(self, seed: int) -> "TaggedData":
        """Return the data set with the labels of each clip given to another one: what nobody can predict."""
        order = np.random.default_rng(seed).permutation(len(self.clips))
        clips = (replace(clip, labels=self.clips[other].labels) for clip, other in zip(self.clips, order, strict=True))
        notes = f"{self.notes}; " if self.notes else ""
        return replace(self, clips=tuple(clips), notes=f"{notes}labels shuffled: a check, not a result")
