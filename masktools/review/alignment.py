"""Recordings of different rates, lengths and numbers of channels, read as if they were of one kind."""

from collections.abc import Sequence
from contextlib import ExitStack
from math import gcd
from pathlib import Path

import numpy as np

from masktools import io

__all__ = ["Aligned", "open_all"]

_WIDE = ("PCM_32", "DOUBLE")  # hold more than float32 does
_MARGIN_S = 0.05  # that the resampler sees of what is around


def open_all(stack: ExitStack, paths: Sequence[Path]) -> list[io.Recording]:
    """Return recordings that are open for as long as the stack is.

    Raises:
        AudioError: one that cannot be read.
    """
    return [stack.enter_context(io.open_recording(path)) for path in paths]


class Aligned:
    """Recordings at the highest of their rates, over the time that all of them last.

    If they have different numbers of channels, each is the mean of its own.
    """

    def __init__(self, recordings: Sequence[io.Recording]) -> None:
        self.recordings = tuple(recordings)
        self.sample_rate = max(recording.sample_rate for recording in recordings)
        self.lengths = tuple(self._length(recording) for recording in recordings)  # in samples of the common rate
        self.n_samples = min(self.lengths)
        numbers = {recording.n_channels for recording in recordings}
        self.mixed = len(numbers) > 1
        self.n_channels = 1 if self.mixed else numbers.pop()
        wide = any(recording.subtype in _WIDE for recording in recordings)
        self._dtype = np.float64 if wide else np.float32
        self.resampled = len({recording.sample_rate for recording in recordings}) > 1

    @property
    def exact(self) -> bool:
        """Whether samples can be compared one by one."""
        return not (self.resampled or self.mixed)

    def read(self, number: int, start: int, stop: int) -> np.ndarray:
        """Return samples (channels, stop - start) of a recording, some of which may not be finite."""
        recording = self.recordings[number]
        if recording.sample_rate == self.sample_rate:
            samples = recording.read(start, stop, finite=False, dtype=self._dtype)
        else:
            samples = self._resampled(recording, start, stop)
        return samples.mean(axis=0, keepdims=True) if self.mixed else samples

    def _resampled(self, recording: io.Recording, start: int, stop: int) -> np.ndarray:
        from_hz, to_hz = recording.sample_rate, self.sample_rate
        divisor = gcd(from_hz, to_hz)
        step_in, step_out = from_hz // divisor, to_hz // divisor  # after which samples of both fall together
        margin = round(_MARGIN_S * to_hz)
        first = max(0, start - margin) // step_out
        last = min(recording.n_samples, -(-(stop + margin) // step_out) * step_in)
        source = np.nan_to_num(recording.read(first * step_in, last, finite=False), nan=0.0, posinf=0.0, neginf=0.0)
        offset = start - first * step_out
        return io.resample_to(source, from_hz, to_hz, offset + stop - start)[:, offset:]

    def _length(self, recording: io.Recording) -> int:
        return (2 * recording.n_samples * self.sample_rate + recording.sample_rate) // (2 * recording.sample_rate)
