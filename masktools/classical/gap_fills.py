"""Gaps filled without a model: six ways, from nothing at all to what the best classical methods make of it.

Each takes samples (channels, t), the sample rate in Hz, gaps (start, end) in seconds, and a seed, and returns the
samples with the gaps filled, in the same type. What was in a gap is never looked at; what is outside all gaps comes
back bit for bit, so that every seam lies inside a gap.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.signal import correlate

from masktools.classical import janssen
from masktools.classical.fades import fade_in
from masktools.classical.linear_prediction import LONG_CONTEXT_S, bridge, extrapolate
from masktools.classical.noise import SPECTRUM_S, noise_between
from masktools.classical.spans import Damaged, Span

__all__ = ["CONTEXT_S", "GAP_FILLS", "SPAN_FILLS", "GapFill", "SpanFill"]

SHOULDERS_S = (0.15, 0.05, 0.015)  # on either side of a gap, by which a stretch is found that can be copied
SEARCH_S = 30.0  # on either side of a gap, where it is looked for
SEAM_S = 0.01  # at most, at each end of a gap


@runtime_checkable
class GapFill(Protocol):
    """A way to fill gaps."""

    def __call__(
        self, samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0
    ) -> np.ndarray:
        """Return samples (channels, t) with their gaps filled.

        Args:
            samples: (channels, t), float32 or float64; what is in a gap may be anything.
            sample_rate: in Hz.
            gaps_s: (start, end) in seconds; they may touch, but not overlap.
            seed: of what is left to chance.

        Raises:
            ParameterError: samples that are no recording, a known sample that is not finite, or gaps that are none
                of this recording or leave nothing of it.
        """
        ...


SpanFill = Callable[[Damaged, Span, np.random.Generator], np.ndarray]
"""What one gap is filled with, (channels, length) in float64."""


def _each_gap(fill: SpanFill) -> GapFill:
    """Return the way to fill gaps that fills each of them, whatever is made of the others."""

    def filled(samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0) -> np.ndarray:
        damaged = Damaged.of(samples, sample_rate, gaps_s)
        result = damaged.samples.copy()
        for number, span in enumerate(damaged.spans):
            result[:, span.start : span.stop] = fill(damaged, span, np.random.default_rng((seed, number)))
        return result

    return filled


def _zero(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return silence."""
    return np.zeros((len(damaged.samples), span.length))


def _linear(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return a straight line from the last known sample to the next; at an end of the recording, a constant."""
    n = damaged.samples.shape[1]
    ends = [end for end in (span.start - 1, span.stop) if 0 <= end < n]
    inside = np.arange(span.start, span.stop)
    return np.stack([np.interp(inside, ends, channel[ends]) for channel in damaged.samples])


def _burg(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return what linear prediction of 200 ms on either side makes of the gap; it dies away in a long one."""
    before, after = damaged.shoulders(span, LONG_CONTEXT_S)
    return np.stack([bridge(left, right, span.length) for left, right in zip(before, after, strict=True)])


def _janssen(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return what an autoregressive model of the gap and 200 ms on either side expects; over 100 ms, Burg's fill."""
    if span.length > janssen.MAX_GAP_S * damaged.sample_rate:
        return _burg(damaged, span, rng)
    before, after = damaged.shoulders(span, LONG_CONTEXT_S)
    return np.stack([janssen.interpolate(left, right, span.length) for left, right in zip(before, after, strict=True)])


def _copy(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return the stretch, within 30 s, whose 150 ms on either side correlate best with the gap's own.

    Where no stretch has that much around it, 50 ms or 15 ms do; where there is none at all, the known audio fades
    into silence. At both ends what the stretch lacks to what is known is continued and fades out, so that the true
    one would come back as it was.
    """
    for shoulder_s in SHOULDERS_S:
        before, after = damaged.shoulders(span, shoulder_s)
        start = _most_alike(damaged, span, before, after)
        if start is not None:
            break
    left, right = before.shape[1], after.shape[1]
    stretch = np.zeros((len(before), left + span.length + right))
    if start is not None:
        stretch = damaged.samples[:, start : start + stretch.shape[1]].astype(np.float64)
    fill = stretch[:, left : left + span.length].copy()
    seam = _seam_length(damaged, span)
    fade = np.cos(0.5 * np.pi * (np.arange(seam) + 0.5) / max(1, seam)) ** 2
    lacking_before, lacking_after = before - stretch[:, :left], after - stretch[:, left + span.length :]
    for channel, one_before, one_after in zip(fill, lacking_before, lacking_after, strict=True):
        channel[:seam] += fade * extrapolate(one_before, seam)
        channel[span.length - seam :] += (fade * extrapolate(one_after[::-1], seam))[::-1]
    return fill


def _most_alike(damaged: Damaged, span: Span, before: np.ndarray, after: np.ndarray) -> int | None:
    """Return where the stretch begins whose two ends are most like what surrounds the gap; None if there is none."""
    template = np.concatenate([before, np.zeros((len(before), span.length)), after], axis=1)
    if not np.any(template):
        return None
    heard = np.ones(template.shape[1])
    heard[before.shape[1] : before.shape[1] + span.length] = 0.0
    reach = round(SEARCH_S * damaged.sample_rate)
    first = max(0, span.start - before.shape[1] - reach)
    around = damaged.samples[:, first : span.stop + after.shape[1] + reach].astype(np.float64)
    missing = np.zeros(around.shape[1])
    for gap in damaged.spans:
        missing[max(0, gap.start - first) : max(0, gap.stop - first)] = 1.0
    likeness = sum(correlate(wave, part, "valid", "fft") for wave, part in zip(around, template, strict=True))
    energy = correlate(np.sum(around**2, axis=0), heard, "valid", "fft").clip(1e-9)
    broken = correlate(missing, np.ones(template.shape[1]), "valid", "fft") > 0.5
    score = np.where(broken, -np.inf, likeness / np.sqrt(energy))
    best = int(np.argmax(score))
    return first + best if np.isfinite(score[best]) else None


def _spectral_noise(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return noise whose spectrum goes, in decibels, from that of the 100 ms before the gap to that after it.

    At both ends the known audio is continued and gives way to it. Of white noise that continuation is fainter than
    what it continues: a gap of 20 to 50 ms in it is filled 1 dB too faint.
    """
    before, after = damaged.shoulders(span, SPECTRUM_S)
    fill = noise_between(before, after, span.length, damaged.sample_rate, rng)
    seam = _seam_length(damaged, span)
    rise = fade_in(seam)
    for channel, one_before, one_after in zip(fill, before, after, strict=True):
        start, end = channel[:seam], channel[span.length - seam :]
        start[:] = rise * start + rise[::-1] * extrapolate(one_before, seam)
        end[:] = rise[::-1] * end + rise * extrapolate(one_after[::-1], seam)[::-1]
    return fill


def _seam_length(damaged: Damaged, span: Span) -> int:
    """Return how many samples at each end of a gap what is known takes to give way."""
    return min(round(SEAM_S * damaged.sample_rate), span.length // 4)


SPAN_FILLS: dict[str, SpanFill] = {
    "zero": _zero,
    "linear": _linear,
    "burg": _burg,
    "janssen": _janssen,
    "copy": _copy,
    "spectral_noise": _spectral_noise,
}
"""The methods, a gap at a time: for whoever holds but a part of a recording."""

CONTEXT_S: dict[str, float] = {
    "zero": 0.001,
    "linear": 0.001,
    "burg": LONG_CONTEXT_S,
    "janssen": LONG_CONTEXT_S,
    "copy": SEARCH_S + 2 * SHOULDERS_S[0],
    "spectral_noise": SPECTRUM_S,
}
"""How far each method looks on either side of a gap: what lies beyond changes nothing."""

GAP_FILLS: dict[str, GapFill] = {name: _each_gap(fill) for name, fill in SPAN_FILLS.items()}
