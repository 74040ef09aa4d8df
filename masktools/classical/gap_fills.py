"""Gaps filled without a model: from nothing at all to what the best classical methods make of it.

Each takes samples (channels, t), the sample rate in Hz, gaps (start, end) in seconds, and a seed, and returns the
samples with the gaps filled, in the same type. What was in a gap is never looked at; what is outside all gaps comes
back bit for bit, so that every seam lies inside a gap.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from masktools.classical import janssen
from masktools.classical.linear_prediction import LONG_CONTEXT_S, bridge, extrapolate
from masktools.classical.noise import SPECTRUM_S, noise_between
from masktools.classical.seams import join_ends
from masktools.classical.search import fills_from_elsewhere
from masktools.classical.similarity import Similarity
from masktools.classical.spans import Damaged, Span

__all__ = ["CONTEXT_S", "GAP_FILLS", "SEARCHES", "SPAN_FILLS", "GapFill", "SpanFill"]

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


def _from_elsewhere(method: str) -> GapFill:
    """Return the way to fill gaps from other places of the recording."""

    def filled(samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0) -> np.ndarray:
        damaged = Damaged.of(samples, sample_rate, gaps_s)
        similarity = Similarity(damaged.known, samples.shape[1], sample_rate)
        result = damaged.samples.copy()
        for number, span in enumerate(damaged.spans):
            found = similarity.find(span)
            fills = fills_from_elsewhere(method, similarity, damaged.known, span, found, (seed, number))
            result[:, span.start : span.stop] = fills[0].samples
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


def _spectral_noise(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return noise whose spectrum goes, in decibels, from that of the 100 ms before the gap to that after it.

    At both ends the known audio is continued and gives way to it. Of white noise that continuation is fainter than
    what it continues: a gap of 20 to 50 ms in it is filled 1 dB too faint.
    """
    before, after = damaged.shoulders(span, SPECTRUM_S)
    fill = noise_between(before, after, span.length, damaged.sample_rate, rng)
    seam = min(round(SEAM_S * damaged.sample_rate), span.length // 4)
    made = [
        join_ends(wave, extrapolate(left, seam), extrapolate(right[::-1], seam)[::-1])
        for wave, left, right in zip(fill, before, after, strict=True)
    ]
    return np.stack(made)


SPAN_FILLS: dict[str, SpanFill] = {
    "zero": _zero,
    "linear": _linear,
    "burg": _burg,
    "janssen": _janssen,
    "spectral_noise": _spectral_noise,
}
"""The methods that look at what is beside a gap: for whoever holds but a part of a recording."""

CONTEXT_S: dict[str, float] = {
    "zero": 0.001,
    "linear": 0.001,
    "burg": LONG_CONTEXT_S,
    "janssen": LONG_CONTEXT_S,
    "spectral_noise": SPECTRUM_S,
}
"""How far each method looks on either side of a gap: what lies beyond changes nothing."""

SEARCHES = ("copy", "search")
"""The methods that look through the whole recording."""

GAP_FILLS: dict[str, GapFill] = {
    **{name: _each_gap(fill) for name, fill in SPAN_FILLS.items()},
    **{name: _from_elsewhere(name) for name in SEARCHES},
}
