"""Gaps as samples, and what simple models make of them: linear prediction, noise of a spectrum, seams.

A continuation by linear prediction is right for a few milliseconds, and goes on sounding like what came before for
some more: long enough to hide a seam, and to keep the silence of a gap out of what is computed around it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_toeplitz
from scipy.ndimage import uniform_filter1d
from scipy.signal import ShortTimeFFT, lfilter, lfiltic, oaconvolve
from scipy.signal.windows import hann

from masktools.core.errors import ParameterError

CONTEXT_S = 0.1  # of known audio that is listened to
MAX_ORDER = 256
LONG_CONTEXT_S = 0.2  # for a whole gap
LONG_ORDER = 1000
_RIDGE = 1e-12  # share of the power, that keeps the prediction of pure tones stable


def burg(samples: np.ndarray, order: int) -> np.ndarray:
    """Return the prediction-error filter (1, a_1, ..., a_p) of samples (t,), float64, by Burg's method.

    All its poles lie within the unit circle: what it continues does not grow.

    Source: J. P. Burg, Maximum entropy spectral analysis (1967).
    """
    forward = samples[1:].astype(np.float64)
    backward = samples[:-1].astype(np.float64)
    taps = np.zeros(order + 1)
    taps[0] = 1.0
    floor = _RIDGE * float(np.dot(samples, samples)) + 1e-30
    for p in range(1, order + 1):
        power = np.dot(forward, forward) + np.dot(backward, backward) + floor
        reflection = -2.0 * np.dot(forward, backward) / power
        taps[: p + 1] += reflection * taps[: p + 1][::-1]
        forward, backward = (forward + reflection * backward)[1:], (backward + reflection * forward)[:-1]
    return taps


def extrapolate(known: np.ndarray, n_samples: int, max_order: int = MAX_ORDER) -> np.ndarray:
    """Return n_samples float64 that continue known samples (t,) after their end.

    The order of the prediction is a third of what is known, ``max_order`` at most.
    """
    order = min(max_order, len(known) // 3)
    if order < 1 or not known.any():
        return np.zeros(n_samples)
    taps = burg(known, order)
    state = lfiltic([1.0], taps, y=known[::-1][:order].astype(np.float64))
    return lfilter([1.0], taps, np.zeros(n_samples), zi=state)[0]


def bridge(before: np.ndarray, after: np.ndarray, length: int, max_order: int = LONG_ORDER) -> np.ndarray:
    """Return a whole gap of ``length`` samples, float64, cross-faded from one side's continuation to the other's.

    Powers add up where the two are unlike, amplitudes where they are alike: neither is a gap of noise too quiet in
    its middle, nor one in a tone too loud. With one side only, its continuation fades out.

    Args:
        before: known samples (t,) that end where the gap starts; 200 ms are good.
        after: known samples (t,) that start where the gap ends.
        length: of the gap.
        max_order: of the predictors; a third of what is known, at most.
    """
    turn = 0.5 * np.pi * (np.arange(length) + 0.5) / length
    ahead = extrapolate(before, length, max_order)
    back = extrapolate(after[::-1], length, max_order)[::-1]
    energy = np.dot(ahead, ahead) * np.dot(back, back)
    likeness = max(0.0, float(np.dot(ahead, back) / np.sqrt(energy))) if energy else 0.0
    return (np.cos(turn) * ahead + np.sin(turn) * back) / np.sqrt(1 + likeness * np.sin(2 * turn))


MAX_GAP_S = 0.1  # what is longer holds no trace of what was there
MAX_ITERATIONS = 20  # two are nearly as good
_DENSE = 500  # samples of a gap, up to which a shoulder may be shorter than the order
_TOLERANCE = 1e-2  # of the gap's energy, as amplitudes: 40 dB below what is filled in


def interpolate(
    before: np.ndarray,
    after: np.ndarray,
    length: int,
    max_order: int = LONG_ORDER,
    max_iterations: int = MAX_ITERATIONS,
) -> np.ndarray:
    """Return a gap of ``length`` samples, float64, between what is known before and after it.

    In turns, a predictor is fitted to the stretch with what fills the gap now, and the gap is filled with what makes
    the error of that predictor least, until it changes by less than 1 %: after three to five turns for most gaps.
    Where one side is missing there is nothing to interpolate between, and the other is continued.

    Args:
        before: (t,) known samples that end where the gap starts; 200 ms are good.
        after: (t,) known samples that start where it ends.
        length: of the gap, at least 1.
        max_order: of the predictor, at least 1. High orders find their own guesses in the gap again.
        max_iterations: turns, at least 1.

    Raises:
        ParameterError: a length, an order or a number of turns below 1.

    Source: Janssen, Veldhuis and Vries, Adaptive interpolation of discrete-time signals that can be modeled as
        autoregressive processes (1986), sections II and III.
    Differs: the order is min(3 * length + 2, a third of the stretch, max_order), the predictor is Burg's, and the
        first turn starts from continuations of both sides.
    """
    for name, value in (("length", length), ("max_order", max_order), ("max_iterations", max_iterations)):
        if value < 1:
            raise ParameterError(f"{name} must be at least 1, got {value}")
    stretch = np.concatenate([before, bridge(before, after, length, max_order), after]).astype(np.float64)
    gap = slice(len(before), len(before) + length)
    order = min(3 * length + 2, len(stretch) // 3, max_order)
    if length > _DENSE:
        order = min(order, len(before), len(after))
    if order < 1 or not (len(before) and len(after) and stretch.any()):
        return stretch[gap]
    for _ in range(max_iterations):
        change = _towards_least_error(stretch, gap.start, length, burg(stretch, order))
        stretch[gap] += change
        if np.linalg.norm(change) <= _TOLERANCE * np.linalg.norm(stretch[gap]):
            break
    return stretch[gap]


def _towards_least_error(stretch: np.ndarray, start: int, length: int, taps: np.ndarray) -> np.ndarray:
    """Return by what the gap has to change for the predictor's error over the stretch to be least.

    It is solved for the change, not for the samples, so that the ridge keeps to what stands there where the equations
    say next to nothing: the error of a pure tone is. Where the gap is at least the order away from both ends, the
    equations are those of a Toeplitz matrix. Nearer to an end only the errors count whose samples all lie in the
    stretch, but those of the prediction backwards as well: those forwards say little of what is near the start.
    """
    order, stop, n = len(taps) - 1, start + length, len(stretch)
    if start >= order and stop + order <= n:
        error = oaconvolve(stretch[start - order : stop + order], taps, mode="valid")
        power = oaconvolve(taps, taps[::-1])[order:]
        column = np.zeros(length)
        column[: order + 1] = power[:length]
        column[0] *= 1 + _RIDGE
        return -solve_toeplitz(column, oaconvolve(error, taps[::-1], mode="valid"), check_finite=False)
    square = np.diag(np.full(length, _RIDGE * np.dot(taps, taps)))
    pull = np.zeros(length)
    for first, one_way, turn in ((start, stretch, 1), (n - stop, stretch[::-1], -1)):
        rows = np.arange(max(first, order), min(first + length + order, n))  # errors that the gap touches
        error = oaconvolve(one_way[rows[0] - order : rows[-1] + 1], taps, mode="valid")
        lags = rows[:, None] - np.arange(first, first + length)
        weights = np.where((lags >= 0) & (lags <= order), taps[lags.clip(0, order)], 0.0)
        square += (weights.T @ weights)[::turn, ::turn]
        pull += (weights.T @ error)[::turn]
    return -cho_solve(cho_factor(square), pull)


SPECTRUM_S = 0.1  # on either side of a gap, whose spectrum the noise takes
NOISE_FRAME_S = 0.046  # of that noise
_RELATED_BINS = 5  # over which the relation of channels is averaged
_DEPENDENT = 1e-6  # share of a channel's power that counts as a source of its own
_OFFSET_S = 0.045  # from which on a side tells its offset
_FAINT = 1e-12  # power; what is fainter counts as that

OVERLAP = 4  # frames that cover a sample


def frame_length(sample_rate: int, seconds: float) -> int:
    """Return the power of two of samples, 64 at least, that is nearest to a duration."""
    return max(64, 2 ** round(np.log2(seconds * sample_rate)))


def mean_power(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the mean power spectrum (channels, n_fft // 2 + 1) of samples (channels, t), in Hann frames of n_fft.

    What is shorter than a frame is seen through a shorter window, and reads as loud as if it went on. A constant
    offset counts as none.
    """
    return np.mean(np.abs(_spectra(samples, n_fft)) ** 2, axis=1)


def _spectra(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the spectra (channels, frames, bins) of samples (channels, t), without their constant offset."""
    samples = samples - samples.mean(axis=-1, keepdims=True)
    length = min(n_fft, samples.shape[-1])
    window = hann(length + 2)[1:-1]  # without the zeros at its ends
    frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=-1)[:, :: max(1, length // OVERLAP)]
    return np.fft.rfft(frames * window, n_fft) * np.sqrt(_energy(n_fft) / np.sum(window**2))


def channel_relation(sides: Sequence[np.ndarray], n_fft: int) -> np.ndarray:
    """Return how channels go together in samples (channels, t), as weights (bins, channels, sources).

    Unit sources, each out of step with the others, added up with these weights have the coherence and the phase
    between channels that the samples have at each frequency, averaged over the sides. The first channel is the first
    source; channels that are equal, or opposite, share their sources.
    """
    coherence = np.mean([_coherence(side, n_fft) for side in sides], axis=0)
    weights = np.zeros_like(coherence)  # Cholesky's factor; singular where channels depend on each other
    for source in range(coherence.shape[1]):
        left = coherence[:, source:, source] - np.einsum(
            "bck,bk->bc", weights[:, source:, :source], weights[:, source, :source].conj()
        )
        pivot = left[:, 0].real
        own = pivot > _DEPENDENT
        weights[own, source:, source] = left[own] / np.sqrt(pivot[own])[:, None]
    return weights


def _coherence(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the normalised cross spectra (bins, channels, channels), smoothed over bins."""
    spectra = _spectra(samples, n_fft)
    cross = np.einsum("cfb,dfb->bcd", spectra, spectra.conj())
    smooth = uniform_filter1d(cross.real, _RELATED_BINS, axis=0) + 1j * uniform_filter1d(
        cross.imag, _RELATED_BINS, axis=0
    )
    power = np.maximum(np.einsum("bcc->bc", smooth).real, 0.0)  # a running sum may end a little below nothing
    scale = np.sqrt(power[:, :, None] * power[:, None, :])
    channels = np.arange(len(samples))
    coherence = np.divide(smooth, scale, out=np.zeros_like(smooth), where=scale > 0)
    coherence[:, channels, channels] = 1.0
    return coherence


def random_phases(
    power: np.ndarray, n_samples: int, rng: np.random.Generator, relation: np.ndarray | None = None
) -> np.ndarray:
    """Return noise (channels, n_samples), float64, whose frames have a given power; equal powers give equal loudness.

    Args:
        power: (channels, bins, frames), of Hann frames of an even n_fft = 2 * (bins - 1) samples; the middle of frame
            m is sample m * n_fft / 4; what lies outside the first and the last has their power.
        n_samples: at most (frames - 1) * n_fft / 4 + 1.
        rng: where the phases come from.
        relation: (bins, channels, sources) of ``channel_relation``; without it all channels have the same phases.
    """
    power = np.pad(power, ((0, 0), (0, 0), (OVERLAP // 2, OVERLAP // 2)), mode="edge")
    n_channels, n_bins, n_frames = power.shape
    n_fft = 2 * (n_bins - 1)
    hop = n_fft // OVERLAP
    relation = np.ones((n_bins, n_channels, 1)) if relation is None else relation
    turns = np.exp(2j * np.pi * rng.random((relation.shape[2], n_frames, n_bins)))
    turns[:, :, 0] = 0.0  # a constant is no noise
    turns = np.einsum("bcs,sfb->cfb", relation, turns)
    frames = np.fft.irfft(np.sqrt(power).transpose(0, 2, 1) * turns, n_fft) * hann(n_fft, sym=False)
    summed = np.zeros((n_channels, (n_frames + OVERLAP - 1) * hop))
    for part in range(OVERLAP):
        quarter = frames[:, :, part * hop : (part + 1) * hop].reshape(n_channels, n_frames * hop)
        summed[:, part * hop : (part + n_frames) * hop] += quarter
    # Independent frames add up by their powers: n_fft / energy undoes the analysis, energy / hop the overlap.
    return summed[:, n_fft : n_fft + n_samples] * np.sqrt(n_fft * hop) / _energy(n_fft)


def noise_between(
    before: np.ndarray,
    after: np.ndarray,
    length: int,
    sample_rate: int,
    rng: np.random.Generator,
    margin: int = 0,
    frame_s: float = NOISE_FRAME_S,
) -> np.ndarray:
    """Return noise (channels, length + 2 * margin) whose spectrum goes, in decibels, from one side's to the other's.

    Args:
        before: (channels, t) known samples that end where the gap starts; 100 ms are good.
        after: (channels, t) known samples that start where it ends; one side may have none.
        length: of the gap, at least 1.
        sample_rate: in Hz.
        rng: where the phases come from.
        margin: samples of each side's own colour before and after the gap.
        frame_s: long frames hold the partials of the sides, as tones that do not change, and no moment of them.
    """
    n_fft = frame_length(sample_rate, frame_s)
    offset = offset_between(before, after, length, sample_rate, margin)
    enough = min(n_fft // 16, max(before.shape[1], after.shape[1]))
    sides = [side for side in (before, after) if side.shape[1] >= enough]
    spectra = [mean_power(side, n_fft) for side in sides]
    hop = n_fft // OVERLAP
    share = np.clip((np.arange((length + 2 * margin) // hop + 2) * hop - margin) / length, 0.0, 1.0)
    first, last = (np.log(spectrum.clip(_FAINT))[..., None] for spectrum in (spectra[0], spectra[-1]))
    silent = (spectra[0] <= _FAINT) & (spectra[-1] <= _FAINT)
    power = np.where(silent[..., None], 0.0, np.exp((1 - share) * first + share * last))
    relation = channel_relation(sides, n_fft) if len(before) > 1 else None
    return random_phases(power, length + 2 * margin, rng, relation) + offset


def offset_between(before: np.ndarray, after: np.ndarray, length: int, sample_rate: int, margin: int) -> np.ndarray:
    """Return the constant offset (channels, length + 2 * margin), straight from one side's to the other's.

    Sides too short to tell an offset from a low tone have none of their own.

    Args:
        before: (channels, t) known samples that end where the gap starts.
        after: (channels, t) known samples that start where it ends.
        length: of the gap.
        sample_rate: in Hz.
        margin: samples before and after the gap.
    """
    ends = []
    for side in (before, after):
        enough = side.shape[1] >= _OFFSET_S * sample_rate
        ends.append(np.average(side, axis=1, weights=hann(side.shape[1] + 2)[1:-1]) if enough else None)
    first, last = ends[1] if ends[0] is None else ends[0], ends[0] if ends[1] is None else ends[1]
    if first is None or last is None:
        return np.zeros((len(before), length + 2 * margin))
    share = np.clip((np.arange(length + 2 * margin) - margin) / length, 0.0, 1.0)
    return (1 - share) * first[:, None] + share * last[:, None]


def _energy(n_fft: int) -> float:
    return float(np.sum(hann(n_fft, sym=False) ** 2))


_HOPS_A_WINDOW = 4


def shaped(
    samples: np.ndarray,
    sample_rate: int,
    gains_db: np.ndarray,
    centres_hz: np.ndarray,
    times_s: np.ndarray,
    window_s: float = 0.0464,
) -> np.ndarray:
    """Return samples (t,), float64, with gains that are interpolated in dB between bands and moments.

    Args:
        samples: (t,).
        sample_rate: in Hz.
        gains_db: (bands, moments).
        centres_hz: (bands,) rising; below the first and above the last their own gains hold.
        times_s: (moments,) rising, counted from the first sample.
        window_s: length of the frames.
    """
    n_fft = 2 * round(window_s * sample_rate / 2)
    stft = ShortTimeFFT(hann(n_fft, sym=False), max(1, n_fft // _HOPS_A_WINDOW), sample_rate)
    padded = np.pad(samples.astype(np.float64), (0, max(0, n_fft - len(samples))))
    spectrum = stft.stft(padded)
    own_s = stft.t(len(padded))
    in_time = np.stack([np.interp(own_s, times_s, band) for band in gains_db])
    in_both = np.stack([np.interp(stft.f, centres_hz, moment) for moment in in_time.T], axis=1)
    return stft.istft(spectrum * 10 ** (in_both / 20), k1=len(padded))[: len(samples)]


_ROUNDING = 1e-3  # samples; times in seconds that were computed from samples are off by less


class Span(NamedTuple):
    """A half-open stretch [start, stop) of a recording, in samples."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of samples."""
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Damaged:
    """A recording and what is missing from it; what its samples are inside a gap is never looked at.

    Attributes:
        samples: (channels, t), zero in every gap.
        sample_rate: in Hz.
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
            ParameterError: samples that are no recording, gaps that are none of it or leave nothing of it, or a
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

    A third entry, as gaps of some channels have it, must be None: all channels are filled.

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
    """Return a slope (n_samples,) from 0 to 1; its square and that of the slope the other way round add up to 1.

    >>> rise = fade_in(5)
    >>> bool(np.allclose(rise**2 + rise[::-1] ** 2, 1))
    True

    Source: the window of the Vorbis I specification, section 1.3.2.
    """
    turn = 0.5 * np.pi * (np.arange(n_samples) + 0.5) / max(1, n_samples)
    return np.sin(0.5 * np.pi * np.sin(turn) ** 2)


def join_ends(generated: np.ndarray, from_left: np.ndarray, from_right: np.ndarray) -> np.ndarray:
    """Return the samples of a gap, float64: generated ones, with a seam inside each end.

    At a seam the continuation of the known audio gives way to what was generated, at equal power, as the two are
    not in phase.

    Args:
        generated: (n,) what fills the gap.
        from_left: the continuation of what comes before, as long as the seam; zeros make it a fade-in.
        from_right: that of what comes after, in the order of time.
    """
    n, seam = len(generated), len(from_left)
    filled = generated.astype(np.float64)
    rise = fade_in(seam)
    fall = rise[::-1]
    filled[:seam] = filled[:seam] * rise + from_left * fall
    filled[n - seam :] = filled[n - seam :] * rise[::-1] + from_right * fall[::-1]
    return filled


def with_residuals(copied: np.ndarray, before: np.ndarray, after: np.ndarray, seam: int) -> np.ndarray:
    """Return a copied stretch (n,), float64, made to begin and end with what is known.

    What the stretch lacks to the known audio on either side is continued into it and fades out: the true stretch
    lacks nothing, and stays as it is.

    Args:
        copied: (n,) what fills the gap.
        before: (t,) the known samples before the gap less those before the stretch.
        after: (t,) the same after them.
        seam: samples over which the residual fades.
    """
    filled, n = copied.astype(np.float64), len(copied)
    fall = fade_in(seam)[::-1] ** 2
    filled[:seam] += fall * extrapolate(before, seam)
    filled[n - seam :] += (fall * extrapolate(after[::-1], seam))[::-1]
    return filled
