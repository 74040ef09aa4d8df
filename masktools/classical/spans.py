"""A gap as samples: the known samples on either side of it, and the seams of a fill."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from typing import Any, NamedTuple

import numpy as np

from masktools.classical.prediction import extrapolate
from masktools.core.errors import ParameterError

_ROUNDING = 1e-3  # samples; rounding error of times in seconds that were computed from samples


class Span(NamedTuple):
    """A half-open span [start, stop) of a recording, in samples."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of samples."""
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Damaged:
    """A recording with gaps; samples inside a gap are never read.

    Attributes:
        samples: (channels, t), zero in every gap.
        sample_rate: sampling rate in Hz.
        spans: the gaps, in order, each apart from the next.
    """

    samples: np.ndarray
    sample_rate: int
    spans: tuple[Span, ...]

    def shoulders(self, span: Span, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the known samples (channels, <= n), float64, before and after a gap, up to the next gap or edge."""
        reach, number = ceil(seconds * self.sample_rate), self.spans.index(span)
        first = self.spans[number - 1].stop if number else 0
        last = self.spans[number + 1].start if number + 1 < len(self.spans) else self.samples.shape[1]
        before = self.samples[:, max(first, span.start - reach) : span.start]
        after = self.samples[:, span.stop : min(last, span.stop + reach)]
        return before.astype(np.float64), after.astype(np.float64)

    def known(self, start: int, stop: int) -> np.ndarray:
        """Return samples [start, stop), (channels, n) float64; NaN in gaps and beyond the ends."""
        made = np.full((len(self.samples), stop - start), np.nan)
        first, last = max(0, start), max(0, start, min(stop, self.samples.shape[1]))
        made[:, first - start : last - start] = self.samples[:, first:last]
        for span in self.spans:
            made[:, max(0, span.start - start) : max(0, span.stop - start)] = np.nan
        return made

    @classmethod
    def of(cls, samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]]) -> "Damaged":
        """Return the recording with zeros in its gaps.

        Raises:
            ParameterError: samples that are no recording, gaps that do not fit it or cover all of it, or a
                sample outside the gaps that is not finite.
        """
        _check_shape(samples, sample_rate)
        spans = gap_spans(gaps_s, samples.shape[1], sample_rate)
        emptied = samples.copy()
        for span in spans:
            emptied[:, span.start : span.stop] = 0
        check_recording(emptied, sample_rate)
        return cls(emptied, sample_rate, spans)


def check_recording(samples: np.ndarray, sample_rate: int) -> None:
    """Raise if samples are no recording (channels, t) of finite floating-point numbers.

    Raises:
        ParameterError: another shape or type, no samples, one that is not finite, or a rate that is not positive.
    """
    _check_shape(samples, sample_rate)
    finite = np.isfinite(samples).all(axis=0)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ParameterError(
            f"known samples must be finite, got NaN or Inf in {int(np.sum(~finite))} of them, the first at "
            f"{first / sample_rate:.4f} s: write them as a gap, or silence them first"
        )


def _check_shape(samples: np.ndarray, sample_rate: int) -> None:
    if samples.ndim != 2 or samples.dtype not in (np.float32, np.float64):
        got = f"{samples.dtype} of shape {samples.shape}"
        raise ParameterError(f"samples must be float32 or float64 of shape (channels, t), got {got}")
    if not samples.size:
        raise ParameterError(f"a recording must hold at least one sample, got shape {samples.shape}")
    if sample_rate <= 0:
        raise ParameterError(f"sample_rate must be positive, got {sample_rate} Hz")


def gap_spans(gaps_s: Iterable[Sequence[Any]], n_samples: int, sample_rate: int) -> tuple[Span, ...]:
    """Return the samples that gaps (start, end) in seconds touch, in order; gaps that touch each other become one.

    A third entry, the channels of a gap, must be None: all channels are filled.

    >>> gap_spans([(0.5, 0.75), (0.1, 0.2)], 100, 100)
    (Span(start=10, stop=20), Span(start=50, stop=75))

    Raises:
        ParameterError: no gap, one that is not finite or ends before it starts, one that is not inside the
            recording, two that overlap, or gaps that cover all of it.
    """
    spans, ended_s = list[Span](), 0.0
    for start_s, end_s in sorted(map(_times, gaps_s)):
        shown = f"{start_s:.10g}-{end_s:.10g} s"
        if not (isfinite(start_s) and isfinite(end_s) and 0 <= start_s < end_s):
            raise ParameterError(f"a gap must have finite times and end after its start, at 0 or later, got {shown}")
        start, stop = floor(start_s * sample_rate + _ROUNDING), ceil(end_s * sample_rate - _ROUNDING)
        if stop > n_samples:
            limit = f"0-{n_samples / sample_rate:.10g} s"
            raise ParameterError(f"a gap must lie within the recording, {limit}, got {shown}: cut it there")
        if start_s * sample_rate < ended_s * sample_rate - _ROUNDING:
            raise ParameterError(f"gaps must not overlap, got {shown} and one to {ended_s:.10g} s: write them as one")
        start, ended_s = min(start, n_samples - 1), end_s
        stop = max(stop, start + 1)
        if spans and start <= spans[-1].stop:
            spans[-1] = Span(spans[-1].start, max(stop, spans[-1].stop))
        else:
            spans.append(Span(start, stop))
    if not spans:
        raise ParameterError("there must be at least one gap, got none: give (start, end) in seconds")
    if sum(span.length for span in spans) >= n_samples:
        raise ParameterError(
            f"the gaps cover the whole recording of {n_samples / sample_rate:.6g} s: leave something to fill them from"
        )
    return tuple(spans)


def _times(gap: Sequence[Any]) -> tuple[float, float]:
    start_s, end_s, *channels = gap
    if any(channels):
        raise ParameterError(f"a gap must be one in all channels here, got one in {channels[0]}: fill those alone")
    return float(start_s), float(end_s)


def fade_in(n_samples: int) -> np.ndarray:
    """Return a power-complementary fade (Vorbis window), (n_samples,) from 0 to 1.

    >>> rise = fade_in(5)
    >>> bool(np.allclose(rise**2 + rise[::-1] ** 2, 1))
    True

    Source: the window of the Vorbis I specification, section 1.3.2.
    """
    turn = 0.5 * np.pi * (np.arange(n_samples) + 0.5) / max(1, n_samples)
    return np.sin(0.5 * np.pi * np.sin(turn) ** 2)


def join_ends(generated: np.ndarray, from_left: np.ndarray, from_right: np.ndarray) -> np.ndarray:
    """Return the samples of a gap, float64: generated ones, with a seam inside each end.

    At a seam the continuation of the known audio is cross-faded with the generated samples, at equal power, since the
    two are not in phase.

    Args:
        generated: (n,) samples for the gap.
        from_left: continuation of the audio before the gap, as long as the seam; zeros make it a fade-in.
        from_right: continuation of the audio after the gap, in the order of time.
    """
    n, seam = len(generated), len(from_left)
    filled = generated.astype(np.float64)
    rise = fade_in(seam)
    fall = rise[::-1]
    filled[:seam] = filled[:seam] * rise + from_left * fall
    filled[n - seam :] = filled[n - seam :] * rise[::-1] + from_right * fall[::-1]
    return filled


def with_residuals(copied: np.ndarray, before: np.ndarray, after: np.ndarray, seam: int) -> np.ndarray:
    """Return copied samples (n,), float64, that begin and end in continuity with the known audio.

    The difference between the source's surroundings and the known audio is continued into the copy and fades out: an
    exact copy has no difference, and is unchanged.

    Args:
        copied: (n,) samples for the gap.
        before: (t,) the known samples before the gap less those before the source.
        after: (t,) the same after them.
        seam: samples over which the difference fades.
    """
    filled, n = copied.astype(np.float64), len(copied)
    fall = fade_in(seam)[::-1] ** 2
    filled[:seam] += fall * extrapolate(before, seam)
    filled[n - seam :] += (fall * extrapolate(after[::-1], seam))[::-1]
    return filled
