"""Recordings as input and output of jobs: readers, resampled blocks, overlapping windows, results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import soxr
from torch import Tensor

from masktools.core.errors import AudioError, ParameterError
from masktools.core.gaps import Gap
from masktools.core.settings import MID_SIDE
from masktools.core.shapes import Window
from masktools.networks.conditioning import Prompts
from masktools.pipeline import Walk

Reader = Callable[[int, int], np.ndarray]
"""Function that returns the samples [start, stop) of a recording, (channels, stop - start), float32 or float64."""

MIX = np.array([[0.5, 0.5], [0.5, -0.5]])  # left and right -> mid and side
UNMIX = np.array([[1.0, 1.0], [1.0, -1.0]])
READ_SAMPLES = 1 << 16


@dataclass(frozen=True, eq=False)
class Signal:
    """A recording of any length, as the input of jobs."""

    read: Reader
    n_samples: int
    n_channels: int
    sample_rate: int  # Hz
    damaged: tuple[Gap, ...] = ()  # other damage, which must not be used as context

    @classmethod
    def of(cls, samples: np.ndarray, sample_rate: int) -> "Signal":
        """Return the signal of samples (channels, t) in memory."""
        return cls(lambda start, stop: samples[:, start:stop], samples.shape[1], len(samples), sample_rate)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


class Stretch(NamedTuple):
    """Consecutive samples of a recording, and their start."""

    start: int
    samples: np.ndarray  # (channels, n)

    @property
    def stop(self) -> int:
        """The sample after the last one."""
        return self.start + self.samples.shape[1]


def read_blocks(reader: Reader, n_samples: int) -> Iterator[np.ndarray]:
    """Yield a recording in consecutive blocks."""
    for start in range(0, n_samples, READ_SAMPLES):
        yield reader(start, min(start + READ_SAMPLES, n_samples))


def at_rate(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int, n_samples: int) -> Iterator[np.ndarray]:
    """Yield a recording at another rate, n_samples in total, bit for bit equal to converting it at once.

    Band-limited (soxr, VHQ), without delay; samples (channels, n) keep their type if the rate is the same.
    """
    return of_length(blocks if from_hz == to_hz else _converted(blocks, from_hz, to_hz), n_samples)


def _converted(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    source = iter(blocks)
    first = next(source, None)
    if first is None:
        return
    stream = soxr.ResampleStream(from_hz, to_hz, len(first), dtype="float32", quality="VHQ")
    for block in chain([first], source):
        yield stream.resample_chunk(np.ascontiguousarray(block.T, np.float32)).T
    yield stream.resample_chunk(np.empty((0, len(first)), np.float32), last=True).T


def of_length(blocks: Iterable[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    """Yield the first n_samples of blocks, padded with zeros at the end."""
    left, like = n_samples, None
    for block in blocks:
        like = block
        if left and block.shape[1]:
            yield block[:, :left]
            left -= min(left, block.shape[1])
    while left and like is not None:
        n = min(left, READ_SAMPLES)
        yield np.zeros((len(like), n), like.dtype)
        left -= n


def in_windows(blocks: Iterable[np.ndarray], windows: Iterable[Window]) -> Iterator[Stretch]:
    """Yield the samples of a recording in windows, whose starts must be in order."""
    source = iter(blocks)
    held, start = None, 0
    for window in windows:
        parts = [] if held is None else [held[:, window.start - start :]]
        n = sum(part.shape[1] for part in parts)
        while n < window.length:
            block = next(source)
            parts.append(block)
            n += block.shape[1]
        held, start = np.concatenate(parts, axis=1), window.start
        yield Stretch(start, held[:, : window.length])


def cross_faded(stretches: Iterable[Stretch], fade: int) -> Iterator[np.ndarray]:
    """Join overlapping pieces, with linear cross-fades of length ``fade`` in the middle of each overlap."""
    before: Stretch | None = None
    done = 0
    for after in stretches:
        if before is not None:
            n_shared = before.stop - after.start
            n = min(fade, n_shared)
            start = max(done, after.start + (n_shared - n) // 2)
            n = min(n, before.stop - start)
            yield before.samples[:, done - before.start : start - before.start]
            rise = ((np.arange(n) + 0.5) / n).astype(after.samples.dtype) if n else np.empty(0)
            old = before.samples[:, start - before.start : start - before.start + n]
            new = after.samples[:, start - after.start : start - after.start + n]
            yield old + rise * (new - old)
            done = start + n
        before = after
    if before is not None:
        yield before.samples[:, done - before.start :]


def reblocked(blocks: Iterable[np.ndarray], n_block: int) -> Iterator[np.ndarray]:
    """Yield the same samples in blocks of n_block; the last one may be shorter."""
    held: deque[np.ndarray] = deque()
    n = 0
    for block in blocks:
        held.append(block)
        n += block.shape[1]
        if n < n_block:
            continue
        whole = np.concatenate(held, axis=1)
        for start in range(0, n - n_block + 1, n_block):
            yield whole[:, start : start + n_block]
        held.clear()
        held.append(whole[:, n - n % n_block :])
        n %= n_block
    if n:
        yield np.concatenate(held, axis=1)


@dataclass(frozen=True, eq=False)
class FilledGap:
    """The samples of one gap or region, with a report; they replace [start, start + n) in their channels."""

    start: int  # sample of the recording
    samples: np.ndarray  # (len(channels), n)
    channels: tuple[int, ...]
    report: dict[str, Any]  # in JSON types


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored recording, always a numpy array, with a report."""

    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz
    report: dict[str, Any]  # in JSON types


def put_into(samples: np.ndarray, pieces: Iterable[FilledGap]) -> np.ndarray:
    """Return a copy of a recording (channels, t) with pieces inserted."""
    made = samples.copy()
    for piece in pieces:
        made[list(piece.channels), piece.start : piece.start + piece.samples.shape[1]] = piece.samples
    return made


def read_checked(reader: Reader, start: int, stop: int, n_channels: int) -> np.ndarray:
    """Return the samples (channels, stop - start) of a reader, checked.

    Raises:
        ParameterError: it returned another shape or type.
    """
    samples, wanted = np.asarray(reader(start, stop)), (n_channels, stop - start)
    if samples.shape != wanted or samples.dtype not in (np.float32, np.float64):
        raise ParameterError(
            f"the reader must return float32 or float64 of shape {wanted} for samples {start} to {stop}, "
            f"got {samples.dtype} of shape {samples.shape}"
        )
    return samples


def check_finite(samples: np.ndarray, start: int, sample_rate: int, what: str, remedy: str) -> None:
    """Raise where samples (channels, n) are not finite.

    Args:
        samples: samples of the recording, from ``start`` on.
        start: index of the first sample.
        sample_rate: sampling rate in Hz.
        what: beginning of the message.
        remedy: end of the message.

    Raises:
        AudioError: the message names the first sample that is not finite.
    """
    finite = np.isfinite(samples).all(axis=0)
    if not finite.all():
        first = start + int(np.argmin(finite))
        raise AudioError(
            f"samples {what}, but at {first / sample_rate:.4f} s (sample {first}) there is NaN or infinity: {remedy}"
        )


def one_condition(model: Walk, prompt: Prompts | None, done: str) -> Tensor | None:
    """Return the condition (1, ...) of a prompt; None for none.

    Args:
        model: the model that encodes it.
        prompt: a text or an embedding.
        done: description of the job, for the message.

    Raises:
        ParameterError: a prompt that cannot be encoded, or several.
    """
    condition = model.condition(prompt)
    if condition is not None and len(condition) != 1:
        raise ParameterError(f"a recording is {done} by one prompt at most, got {len(condition)}")
    return condition


def check_channels(mode: str, n_channels: int) -> None:
    """Raise where a mode does not fit the number of channels.

    Raises:
        ParameterError: the message names the possible modes.
    """
    if mode == MID_SIDE and n_channels != 2:
        raise ParameterError(f"channels 'mid_side' is for recordings of 2 channels, got {n_channels}: choose 'linked'")


class Duplicates:
    """Channels that have been equal from the beginning on, which are computed once."""

    def __init__(self, n_channels: int, linked: bool) -> None:
        self.places = [0] * n_channels if linked else list(range(n_channels))

    def part(self, samples: np.ndarray) -> None:
        """Take the next samples (channels, n), and separate duplicates that differ."""
        known: dict[int, list[int]] = {}
        for channel, place in enumerate(self.places):
            groups = known.setdefault(place, [])
            like = next((own for own in groups if np.array_equal(samples[own], samples[channel])), channel)
            if like == channel:
                groups.append(channel)
            self.places[channel] = like

    @property
    def firsts(self) -> list[int]:
        """Indices of the channels that are computed, in order."""
        return sorted(set(self.places))


def untouched(
    model: Walk | None, samples: np.ndarray, sample_rate: int, prompt: Prompts | None, report: dict[str, Any]
) -> Restored:
    """Return a copy of a recording without damage, with a report that says so.

    Args:
        model: the model, if there is one.
        samples: (channels, t) samples.
        sample_rate: sampling rate in Hz.
        prompt: prompt of the job, which is checked in any case.
        report: content of the report.

    Raises:
        ParameterError: a prompt that cannot be encoded, or several.
    """
    if model is not None:
        one_condition(model, prompt, "restored")
    return Restored(samples.copy(), sample_rate, {**report, "samples_changed": 0})
