"""Damage in a recording: its samples, channels and kind; and the overlapping windows in which it is searched for."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from masktools.core.arguments import checked_name
from masktools.core.arrays import checked_rate, plain_samples
from masktools.core.errors import ParameterError

FLOOR_DB = -140.0  # of full scale: anything lower is rounding of samples
CORE_SAMPLES = 1 << 16
CONTEXT_S = 0.25


@dataclass(frozen=True, eq=False)
class Window:
    """A piece of a recording: its core, with context before and after.

    The cores of all windows make up the recording, each sample once.
    """

    samples: np.ndarray  # (channels, n) float32: context, core, context; what is not finite is NaN
    start: int  # first of the samples, in the recording
    core_start: int
    core_stop: int
    is_last: bool

    @property
    def core(self) -> np.ndarray:
        """Samples of the core, (channels, n)."""
        return self.samples[:, self.core_start - self.start : self.core_stop - self.start]

    @property
    def stop(self) -> int:
        """End of the samples, in the recording."""
        return self.start + self.samples.shape[1]


def context_length(sample_rate: int) -> int:
    """Return the length of the context on either side of a core, in samples."""
    return round(CONTEXT_S * sample_rate)


class Windows:
    """Splits a recording that arrives in blocks of any size into windows."""

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._context = context_length(sample_rate)
        self._parts: list[np.ndarray] = [np.zeros((n_channels, 0), np.float32)]
        self._start = 0  # first sample of the parts
        self._stop = 0
        self._core = 0  # first sample of the next core

    @property
    def n_samples(self) -> int:
        """Number of samples that have arrived."""
        return self._stop

    def feed(self, block: np.ndarray) -> Iterator[Window]:
        """Take the next samples (channels, n) float32, and yield every window that is complete with them."""
        self._parts.append(np.where(np.isfinite(block), block, np.float32(np.nan)))
        self._stop += block.shape[1]
        # One more sample must have come, or else the window might be the last one.
        while self._stop > self._core + CORE_SAMPLES + self._context:
            yield self._next(is_last=False)

    def finish(self) -> Iterator[Window]:
        """Yield the remaining windows."""
        while self._stop > self._core:
            yield self._next(is_last=self._stop <= self._core + CORE_SAMPLES)

    def _next(self, is_last: bool) -> Window:
        held = np.concatenate(self._parts, axis=1)
        core_stop = min(self._core + CORE_SAMPLES, self._stop)
        stop = min(core_stop + self._context, self._stop)
        window = Window(held[:, : stop - self._start], self._start, self._core, core_stop, is_last)
        kept = max(self._start, core_stop - self._context)
        self._parts = [held[:, kept - self._start :]]
        self._start, self._core = kept, core_stop
        return window


DAMAGES = {
    "zeros": "samples lost and replaced by digital zeros",
    "hold": "a value held instead of the samples that were lost",
    "repeat": "a packet played again instead of one that was lost",
    "dropout": "the sound gone for a moment, as zeros look after a lossy codec",
    "clicks": "a few samples that do not belong to their surroundings",
    "non_finite": "NaN or infinity",
}
"""The kinds of damage, with a description of each."""

_CERTAINTY = ("non_finite", "zeros", "hold", "repeat", "dropout", "clicks")  # the most certain first
NEAR_SAMPLES = 8  # tolerance for edges of the same damage in different channels


@dataclass(frozen=True, order=True)
class Damage:
    """Damage of samples [start, stop) in some channels of a recording."""

    start: int
    stop: int
    kind: str  # one of DAMAGES
    channels: tuple[int, ...]  # from 0 on, in order

    def __post_init__(self) -> None:
        """Check every range."""
        checked_name("kind of damage", self.kind, DAMAGES)
        if not 0 <= self.start < self.stop:
            raise ParameterError(
                f"damage must start at 0 or later and stop after that, got {self.start} to {self.stop}"
            )
        if not self.channels or list(self.channels) != sorted(set(self.channels)) or self.channels[0] < 0:
            raise ParameterError(f"the channels of damage must be numbers from 0 on, in order, got {self.channels}")


@runtime_checkable
class Detector(Protocol):
    """A detector of damage, fed with the windows of a recording in order."""

    def feed(self, window: Window) -> list[Damage]:
        """Take the next window, and return the damage that is certain by now; every piece is in one channel."""
        ...


def checked_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return kinds of damage without duplicates.

    Raises:
        ParameterError: an unknown kind, or a string instead of a sequence.
    """
    if isinstance(kinds, str):
        raise ParameterError(f"kinds must be several names, as in ('zeros', 'hold'), got the text {kinds!r}")
    return tuple(checked_name("kind of damage", kind, DAMAGES) for kind in dict.fromkeys(kinds))


def joined(found: Sequence[Damage], near: int = NEAR_SAMPLES) -> list[Damage]:
    """Return damage in order of time, with that of several channels at the same time merged.

    Where the edges differ a little, the intersection counts: one more sample in a channel was zero,
    or equal to its predecessor, by chance.

    >>> joined([Damage(100, 200, "zeros", (0,)), Damage(98, 200, "zeros", (1,))])
    [Damage(start=100, stop=200, kind='zeros', channels=(0, 1))]
    """
    together: list[Damage] = []
    for damage in sorted(found):
        twin = _twin(damage, together, near)
        if twin is None:
            together.append(damage)
            continue
        other = together[twin]
        channels = tuple(sorted({*other.channels, *damage.channels}))
        start, stop = max(damage.start, other.start), min(damage.stop, other.stop)
        together[twin] = Damage(start, stop, damage.kind, channels)
    return sorted(together)


def _twin(damage: Damage, together: Sequence[Damage], near: int) -> int | None:
    """Return the index of the same damage in other channels, among the last entries."""
    for place in range(len(together) - 1, -1, -1):
        if damage.start - together[place].start > near:
            return None
        if _same(damage, together[place], near):
            return place
    return None


def _same(one: Damage, other: Damage, near: int) -> bool:
    apart = not set(one.channels) & set(other.channels)
    close = abs(one.start - other.start) <= near and abs(one.stop - other.stop) <= near
    return one.kind == other.kind and apart and close and max(one.start, other.start) < min(one.stop, other.stop)


def apart(found: Sequence[Damage], near_clicks: int) -> list[Damage]:
    """Return damage in order of time without overlaps in a channel: the more certain kind counts.

    Args:
        found: damage of any kinds; pieces of one kind do not overlap.
        near_clicks: samples around other damage in which clicks are ignored, as its edges.
    """
    kept: list[Damage] = []
    for kind in _CERTAINTY:
        margin = near_clicks if kind == "clicks" else 0
        more_certain = _Taken(kept)
        for damage in found:
            if damage.kind != kind:
                continue
            free = [one for one in damage.channels if not more_certain.meets(damage.start, damage.stop, one, margin)]
            if free:
                kept.append(Damage(damage.start, damage.stop, kind, tuple(free)))
    return sorted(kept)


class _Taken:
    """Spans of damage in each channel."""

    def __init__(self, found: Sequence[Damage]) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = {}
        for damage in sorted(found):
            for channel in damage.channels:
                self._spans.setdefault(channel, []).append((damage.start, damage.stop))

    def meets(self, start: int, stop: int, channel: int, margin: int) -> bool:
        """Tell whether a span of a channel comes within ``margin`` samples of any damage."""
        spans = self._spans.get(channel, [])
        place = bisect_left(spans, (stop + margin, 0))  # spans before it start early enough; the last one ends last
        return place > 0 and spans[place - 1][1] + margin > start


def decibels(power: np.ndarray | np.floating | float) -> np.ndarray:
    """Return powers in dB of full scale, in float64, with a floor of -140 dB."""
    return np.asarray(10 * np.log10(np.maximum(np.asarray(power, np.float64), 10 ** (FLOOR_DB / 10))))


def checked_wave(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return samples (channels, t) as float32; they may hold damage.

    Raises:
        ParameterError: samples of another shape or kind, no channel, or an invalid sample rate.
    """
    checked_rate(sample_rate)
    samples = plain_samples(samples)
    if samples.ndim != 2 or not samples.shape[0]:
        raise ParameterError(f"samples must be of shape (channels, t), got {samples.shape}")
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)
