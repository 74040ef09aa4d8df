"""The recordings that an evaluation measures: some of each kind, real ones and rendered ones kept apart.

A source is an audio cache, a manifest or a folder of audio. Recordings that cannot be used are left out, counted and
named; they stop nothing as long as something remains.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from masktools.errors import AudioError, ParameterError
from masktools.evaluation.clip_sources import REAL, UNNAMED_KIND, Entry, PathLike, entries_of

__all__ = ["Clip", "Clips", "LeftOut", "group_name", "left_out_of", "read_clips"]

SHORTEST_S = 0.25
_SILENCE = 1e-4  # RMS of full scale: -80 dB


@dataclass(frozen=True, eq=False)
class Clip:
    """A recording, or a stretch of one, and what is known of it."""

    name: str
    wave: np.ndarray  # (t,) float32, mono, full scale 1
    sample_rate: int  # Hz
    kind: str = UNNAMED_KIND
    origin: str = REAL  # or what made it, e.g. "rendered"
    labels: tuple[str, ...] = ()
    caption: str = ""
    bandwidth_hz: float | None = None  # the highest frequency it reaches; None where nobody said
    other_captions: tuple[str, ...] = ()  # where people described it more than once

    def __post_init__(self) -> None:
        """Check that the wave is one."""
        if self.wave.ndim != 1 or not self.wave.size or self.wave.dtype != np.float32:
            got = f"{self.wave.dtype} of shape {self.wave.shape}"
            raise ParameterError(f"the wave of a clip must be float32 of shape (t,) and not empty, got {got}")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.wave) / self.sample_rate

    @property
    def group(self) -> str:
        """Name of the group in which it is counted."""
        return group_name(self.kind, self.origin)


def group_name(kind: str, origin: str = REAL) -> str:
    """Return the name of the group of a kind and an origin.

    >>> group_name("music"), group_name("music", "rendered")
    ('music', 'music, rendered')
    """
    return kind if origin == REAL else f"{kind}, {origin}"


@dataclass(frozen=True)
class LeftOut:
    """A recording that was not used, and why."""

    name: str
    fault: str  # broken, silent, short, or what a protocol needs and does not find
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Clips(Sequence[Clip]):
    """Clips in order, and the recordings that were left out on the way to them; otherwise like a list."""

    chosen: tuple[Clip, ...]
    left_out: tuple[LeftOut, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> "Clips": ...
    def __getitem__(self, index: int | slice) -> "Clip | Clips":
        if isinstance(index, slice):
            return Clips(self.chosen[index], self.left_out)
        return self.chosen[index]

    def __len__(self) -> int:
        return len(self.chosen)

    @classmethod
    def keeping(cls, clips: Sequence[Clip], fault: str, reason: Callable[[Clip], str | None], need: str) -> "Clips":
        """Return the clips for which there is no reason to leave them out; the others are named among the left out.

        Args:
            clips: what there is.
            fault: of those that are left out, in one word.
            reason: tells why a clip cannot be used, and None of one that can.
            need: what a clip must have, for the error.

        Raises:
            ParameterError: None remains.
        """
        reasons = [reason(clip) for clip in clips]
        chosen = tuple(clip for clip, why in zip(clips, reasons, strict=True) if why is None)
        dropped = tuple(LeftOut(clip.name, fault, why) for clip, why in zip(clips, reasons, strict=True) if why)
        if not chosen:
            raise ParameterError(f"there must be at least one clip {need}, got none of {len(clips)}")
        return cls(chosen, (*left_out_of(clips), *dropped))


def left_out_of(clips: Sequence[Clip]) -> tuple[LeftOut, ...]:
    """Return what was left out on the way to some clips; nothing is known of a plain list."""
    return clips.left_out if isinstance(clips, Clips) else ()


def read_clips(
    source: PathLike | Sequence[PathLike],
    sample_rate: int = 22_050,
    split: str = "test",
    seconds: float | None = None,
    n: int | None = None,
    kinds: Iterable[str] | None = None,
    seed: int = 0,
    *,
    n_each: int | None = None,
    min_seconds: float | None = None,
    non_commercial: bool = False,
) -> Clips:
    """Return clips of a source, drawn at random from each group, the same for the same seed.

    A group is a kind and an origin. Recordings are read one by one until there are enough; those that are broken,
    silent or too short are left out, and another of their group takes their place where there is one.

    Args:
        source: the folder of an audio cache, a manifest, or a folder of audio, or several of these; all of a folder
            that names no splits is taken, whatever the split.
        sample_rate: of the clips, in Hz.
        split: train, valid or test, or all.
        seconds: length of each, at most, cut from the middle; whole recordings where it is not given.
        n: clips in all, spread evenly over the groups; all there are where it is not given.
        kinds: only recordings of these kinds.
        seed: of the draw.
        n_each: clips of each group at most.
        min_seconds: length that is enough, where ``seconds`` is more than short recordings have; as much as that
            where it is not given.
        non_commercial: whether to take rows of a manifest whose ``nc`` is 1.

    Raises:
        ParameterError: No such source or split or kind, a value out of its range, or not one recording can be used.
    """
    for name, value in (("n", n), ("n_each", n_each), ("sample_rate", sample_rate)):
        if value is not None and value < 1:
            raise ParameterError(f"{name} must be at least 1, got {value}")
    for name, length in (("seconds", seconds), ("min_seconds", min_seconds)):
        if length is not None and not SHORTEST_S <= length < np.inf:
            raise ParameterError(f"{name} must be a number of at least {SHORTEST_S:g} s, got {length:g}")
    if seconds is not None and min_seconds is not None and min_seconds > seconds:
        raise ParameterError(f"min_seconds must be at most seconds, got {min_seconds:g} and {seconds:g}")
    enough = min_seconds or seconds or SHORTEST_S
    groups: dict[str, list[Entry]] = {}
    for entry in entries_of(source, split, kinds, non_commercial):
        groups.setdefault(group_name(entry.kind, entry.origin), []).append(entry)
    left_out: list[LeftOut] = []
    queues = {
        name: _usable(groups[name], np.random.default_rng((seed, number)), sample_rate, seconds, enough, left_out)
        for number, name in enumerate(sorted(groups))
    }
    found = sorted(_drawn(queues, n, n_each), key=lambda pair: (pair[1].group, pair[0]))
    if not found:
        faults = ", ".join(f"{sum(one.fault == fault for one in left_out)} {fault}" for fault in _faults(left_out))
        raise ParameterError(
            f"there must be a recording to measure in {_listed(source)}, but {faults} and none is left"
        )
    return Clips(tuple(clip for _, clip in found), tuple(left_out))


def _listed(source: PathLike | Sequence[PathLike]) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else ", ".join(map(str, source))


def _faults(left_out: Iterable[LeftOut]) -> list[str]:
    return list(dict.fromkeys(one.fault for one in left_out))


def _usable(
    entries: Sequence[Entry],
    rng: np.random.Generator,
    sample_rate: int,
    seconds: float | None,
    enough: float,
    left_out: list[LeftOut],
) -> Iterator[tuple[int, Clip]]:
    """Yield the clips of a group in random order, with their places, and note what cannot be one."""
    for index in rng.permutation(len(entries)):
        entry = entries[index]
        try:
            wave = np.ascontiguousarray(entry.read(sample_rate, seconds), np.float32)
        except AudioError as error:
            left_out.append(LeftOut(entry.name, "broken", str(error)))
            continue
        fault = _fault(wave, sample_rate, enough)
        if fault is not None:
            left_out.append(LeftOut(entry.name, *fault))
            continue
        yield (
            entry.place,
            Clip(
                entry.name,
                wave,
                sample_rate,
                entry.kind,
                entry.origin,
                entry.labels,
                entry.caption,
                entry.bandwidth_hz,
                entry.other_captions,
            ),
        )


def _fault(wave: np.ndarray, sample_rate: int, enough: float) -> tuple[str, str] | None:
    if len(wave) < round(enough * sample_rate):
        return "short", f"{len(wave) / sample_rate:.3g} s of the {enough:g} s that are wanted"
    if not np.isfinite(wave).all():
        return "broken", "it holds NaN or infinity"
    if np.sqrt(np.mean(wave.astype(np.float64) ** 2)) < _SILENCE:
        return "silent", "its level is below -80 dB of full scale"
    return None


def _drawn(queues: dict[str, Iterator[tuple[int, Clip]]], n: int | None, n_each: int | None) -> list[tuple[int, Clip]]:
    """Return clips taken from the groups in turn, until there are enough or none is left."""
    drawn: list[tuple[int, Clip]] = []
    counts = dict.fromkeys(queues, 0)
    while queues and (n is None or len(drawn) < n):
        for name in list(queues):
            one = next(queues[name], None) if n_each is None or counts[name] < n_each else None
            if one is None:
                del queues[name]
                continue
            drawn.append(one)
            counts[name] += 1
            if len(drawn) == n:
                break
    return drawn
