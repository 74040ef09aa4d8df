"""Gaps filled from other places of the recording: a copy from the best place, as loud as all good places agree.

Source: N. Perraudin, N. Holighaus, P. Majdak, P. Balazs, Inpainting of long audio segments with similarity graphs
    (IEEE/ACM TASLP 26, 2018), for the copy from a similar place.
Differs: both sides of the gap ask at once, the levels are averaged over 24 places, and noise is one more of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.fft import rfft
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate
from scipy.signal.windows import hann

from masktools.classical.similarity import EDGES_HZ, WINDOW_S, Found, Known, Place, Similarity, bands_db, window_length
from masktools.classical.spans import (
    NOISE_FRAME_S,
    Span,
    extrapolate,
    fade_in,
    join_ends,
    noise_between,
    offset_between,
    shaped,
    with_residuals,
)

HOP_S = 0.0232
SIDE_S = 0.5  # on either side of a gap, by which the level of a place is compared
EDGE_S = 0.15  # on either side, between which the levels of noise go
NEAR_S, ABOVE_DB = 0.045, 6.0  # next to the gap, above whose level that of a side may lie: what has died away stays so
LEVEL_SHARE = 0.8  # of the difference at the sides that is made good
MAX_LEVEL_DB = 9.0
DECAY = 0.08  # of costs: how fast places lose weight
NOISE_COST, NOISE_WEIGHT = 0.8, 2.0  # of going straight from one side's levels to the other's
MAX_GAIN_DB = 12.0  # either way
STEADY_DB = 60.0  # the same, of what is made of a side that may have been louder than its end
_SMOOTHING = (0.5, 1.0)  # standard deviations, in bands and in moments
_LEAST_WEIGHT = 1e-3
_FLAT_BINS = 6
_REACH = 0.4  # of a window, either way from its middle, that must be known
_CENTRES_HZ = np.sqrt(EDGES_HZ[:-1] * EDGES_HZ[1:])


@dataclass(frozen=True)
class Envelopes:
    """Third-octave levels of stretches of a recording, every 23 ms, in windows of 93 ms."""

    known: Known
    sample_rate: int
    floor_db: float  # what is fainter is silence

    @property
    def hop(self) -> int:
        """Samples between levels."""
        return max(1, round(HOP_S * self.sample_rate))

    def n_moments(self, n_samples: int) -> int:
        """Return how many levels a stretch has."""
        return -(-n_samples // self.hop)

    def levels_db(self, start: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return levels (channels, bands, n) from a sample on, and at which moments all that is heard is known."""
        length = self._length
        first = start + self.hop // 2
        samples = self.known(first - length, first + n * self.hop + length)
        known = np.isfinite(samples).all(axis=0)
        lost = np.concatenate([[0], np.cumsum(~known)])
        middles, near = length + np.arange(n) * self.hop, round(_REACH * length)
        return self._of(np.where(known, samples, 0.0), n), lost[middles + near] == lost[middles - near]

    def levels_of(self, samples: np.ndarray, margin: int, n: int) -> np.ndarray:
        """Return levels (channels, bands, n) of samples (channels, t) from ``margin`` on; silence is around them."""
        padded = np.pad(samples, ((0, 0), (self._length, 2 * self._length + self.hop)))
        return self._of(padded[:, margin + self.hop // 2 :], n)

    @property
    def _length(self) -> int:
        return window_length(WINDOW_S, self.sample_rate)

    def _of(self, samples: np.ndarray, n: int) -> np.ndarray:
        """Return levels of samples whose first moment lies a window after their start."""
        length = self._length
        hertz = np.arange(length // 2 + 1) * (self.sample_rate / length)
        window = (hann(length, sym=False) * (4 / length)).astype(np.float32)
        waves = samples.astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(waves, length, axis=1)[:, length - length // 2 :: self.hop]
        spectrum = np.asarray(rfft(frames[:, :n] * window, axis=2))
        power = np.real(spectrum) ** 2 + np.imag(spectrum) ** 2
        n_bands = int(np.sum(self.sample_rate / 2 >= EDGES_HZ)) - 1
        levels = bands_db(power, hertz, EDGES_HZ[: max(2, n_bands + 1)])
        return np.maximum(levels.transpose(0, 2, 1), self.floor_db)

    def expected(self, span: Span, places: Sequence[Place]) -> np.ndarray | None:
        """Return the levels (channels, bands, moments) that a gap should have; None if too little is known around it.

        The mean, in dB, of what there is at every place, made as loud as the gap's own surroundings, and of the
        straight way between these; each with the weight of its cost.
        """
        n, side = self.n_moments(span.length), round(SIDE_S / HOP_S)
        along = (np.arange(n) + 0.5) / n
        own, known = self.levels_db(span.start - side * self.hop, n + 2 * side)
        left, right = slice(0, side), slice(side + n, None)
        before, after = own[:, :, left][:, :, known[left]][:, :, ::-1], own[:, :, right][:, :, known[right]]
        between = _between(_end_level(before), _end_level(after), along)
        if between is None:
            return None
        least = min([NOISE_COST, *(place.cost for place in places[:1])])
        total = NOISE_WEIGHT * np.exp(-(NOISE_COST - least) / DECAY)
        mean = total * between
        for place in places:
            weight = np.exp(-(place.cost - least) / DECAY)
            if weight < _LEAST_WEIGHT:
                break
            there, also = self.levels_db(span.start + place.lag - side * self.hop, n + 2 * side)
            apart = []
            for part in (left, right):
                both = known[part] & also[part]
                apart.append((own - there)[:, :, part][:, :, both].mean(axis=2) if both.sum() > side // 5 else None)
            difference = _between(apart[0], apart[1], along)
            levels = there[:, :, side : side + n]
            if difference is not None:
                levels = levels + LEVEL_SHARE * np.clip(difference, -MAX_LEVEL_DB, MAX_LEVEL_DB)
            mean, total = mean + weight * levels, total + weight
        return np.maximum(mean / total, self.floor_db)

    def flatness_db(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how flat the spectrum is within each band, and its level, in dB, (channels, moments, bands) each.

        Geometric over arithmetic mean of power, in bands of six bins at least and frames that half overlap; both are
        empty where samples (channels, t) are shorter than two frames.
        """
        length = self._length
        hertz = np.arange(length // 2 + 1) * (self.sample_rate / length)
        if samples.shape[1] < 2 * length:
            return np.zeros(0), np.zeros(0)
        frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=1)[:, :: length // 2]
        power = np.abs(np.fft.rfft(frames * (hann(length, sym=False) * (4 / length)), axis=2)) ** 2 + 1e-13
        flat_db, level_db = [], []
        for low, high in pairwise(EDGES_HZ[:24]):
            inside = (hertz >= low) & (hertz < high)
            if inside.sum() >= _FLAT_BINS and high < self.sample_rate / 2:
                band = power[:, :, inside]
                flat_db.append(10 * (np.log10(band).mean(axis=2) - np.log10(band.mean(axis=2))))
                level_db.append(10 * np.log10(band.sum(axis=2)))
        return np.array(flat_db), np.array(level_db)

    def brought_to(
        self,
        wanted: np.ndarray,
        grain: np.ndarray,
        present: np.ndarray,
        margin: int,
        share: float,
        most_db: float = MAX_GAIN_DB,
    ) -> np.ndarray:
        """Return a grain (channels, t), float64, whose levels go towards the wanted ones.

        Args:
            wanted: (channels, bands, moments).
            grain: (channels, margin + n + margin) with the gap in its middle.
            present: (channels, bands, moments) its own levels; where they are silent nothing is changed.
            margin: in samples.
            share: how far, from 0 (as it is) to 1.
            most_db: by which a level is changed, either way.
        """
        gains_db = np.where(present <= self.floor_db + 1.0, 0.0, np.clip(wanted - present, -most_db, most_db))
        times_s = (margin + (np.arange(wanted.shape[2]) + 0.5) * self.hop) / self.sample_rate
        centres_hz = _CENTRES_HZ[: wanted.shape[1]]
        made = []
        for wave, own in zip(grain, gains_db, strict=True):
            offset = float(np.mean(wave))  # is no sound
            own_db = share * gaussian_filter(own, _SMOOTHING, mode="nearest")
            made.append(shaped(wave - offset, self.sample_rate, own_db, centres_hz, times_s) + offset)
        return np.stack(made)


def _end_level(levels: np.ndarray) -> np.ndarray | None:
    """Return the level (channels, bands) of a side at its gap, of levels (channels, bands, moments) from there on."""
    if not levels.shape[2]:
        return None
    whole, near = (
        10 * np.log10((10 ** (levels[:, :, : round(long_s / HOP_S)] / 10)).mean(axis=2)) for long_s in (EDGE_S, NEAR_S)
    )
    return np.minimum(whole, near + ABOVE_DB)


def _between(left: np.ndarray | None, right: np.ndarray | None, along: np.ndarray) -> np.ndarray | None:
    """Return the straight way (..., n) from one side to the other; with one side only, that side."""
    first, last = right if left is None else left, left if right is None else right
    if first is None or last is None:
        return None
    return first[..., None] * (1 - along) + last[..., None] * along


N_TRIED = 6  # of which a copy is considered
COPIED = 0.38  # confidence from which on a copy is better than what goes on unchanged
UNSURE, SURE = 0.45, 0.65  # confidence up to which a copy takes the expected levels, and from which on
SHARE = 0.7  # of the way to them is enough
GO_ALONG = 0.4  # of the way, where the place lends its levels only: the mean in dB of words and pauses is faint
SIMILAR, SAME = 0.8, 0.9  # likeness from which on a copy keeps its own levels more and more, up to all of them
NOISY_DB = -2.8  # flatness of a spectrum that is noise; -2.5 is Gaussian noise
FLATNESS_S = 1.0  # on either side of a gap, in which it is measured
ALIGNED_S = 0.2  # on either side of a gap, by which a copy is brought into step
REACH_S = 0.012  # either way, within which it is
LIKENESS_BONUS = 0.15  # in costs
REPEATED = 0.5  # likeness from which on even noise is copied: it returns to the sample
ODD = 640.0  # mean squared distance from the expected levels that is as bad as a cost of 1
MARGIN_S = 0.05  # of a grain beside its gap
TONES_S, TONES_FRAME_S = 0.25, 0.372  # on either side, whose partials go on; frames that tell them apart
NOISE_S = 0.5  # on either side, whose spectrum noise has: of less, chance leaves lines that ring throughout the gap
SEAM_S = 0.012  # at most, at each end of a gap
GO_ON_S = 0.003  # of it, in which the known goes on while a copy that is not the same takes over
DEPTH_DB = 25.0  # below what counts as silence when places are compared, down to which levels are still shaped
_LEAST_S = 0.0116  # of a side that has something to say
_SILENCE = 1e-10  # power: what is silent here and there says nothing, either
_DIGITS = 4  # of a score: what is beyond differs between machines
COPY, TONES, NOISE = "copy", "tones", "noise"


@dataclass(frozen=True, eq=False)
class Copy:
    """What fills a gap, and where it is from."""

    samples: np.ndarray  # (channels, n) float64
    grain: str  # COPY, TONES or NOISE
    lag: int | None  # samples from the gap to its source, if it is a copy
    likeness: float  # correlation with the source on both sides, 0 to 1


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels that a gap should have, whatever it is filled with."""

    envelopes: Envelopes
    wanted: np.ndarray  # (channels, bands, moments)

    def given_to(self, grain: np.ndarray, margin: int) -> np.ndarray:
        """Return a grain (channels, margin + n + margin), float64, with the gap in its middle, at these levels."""
        present = self.envelopes.levels_of(grain, margin, self.wanted.shape[2])
        return self.envelopes.brought_to(self.wanted, grain, present, margin, 1.0, STEADY_DB)


def fills_from_elsewhere(
    method: str,
    similarity: Similarity,
    known: Known,
    span: Span,
    found: Found,
    seeds: tuple[int, ...],
    n_fills: int = 1,
) -> list[Copy]:
    """Return up to ``n_fills`` fills of a gap, the best first.

    Args:
        method: ``copy`` takes places as they are; ``search`` brings them to the levels that are expected.
        similarity: of the recording.
        known: the channels that are filled.
        span: the gap.
        found: what the search found for it.
        seeds: of what is left to chance.
        n_fills: at least 1.
    """
    fills = [] if method == "copy" else search_fills(similarity, known, span, found, n_fills, seeds)
    return fills or copies(known, span, found.places, similarity.sample_rate, n_fills)


def search_fills(
    similarity: Similarity, known: Known, span: Span, found: Found, n_fills: int, seeds: tuple[int, ...]
) -> list[Copy]:
    """Return up to ``n_fills`` fills of a gap, the best first; none where too little is known around it.

    Copies from different places, where there are such as are alike; else the partials of both sides go on, and noise
    goes on as noise. All of them have the levels that are expected.

    Args:
        similarity: of the recording.
        known: the channels that are filled.
        span: the gap.
        found: what the search found for it.
        n_fills: at least 1.
        seeds: of the noise.
    """
    envelopes = Envelopes(known, similarity.sample_rate, similarity.floor_db - DEPTH_DB)
    wanted = envelopes.expected(span, found.places)
    if wanted is None:
        return []
    best = _best_copies(envelopes, span, found.places, n_fills, wanted)
    is_noise = is_noisy(known, span, similarity.sample_rate)
    is_alone = found.confidence < COPIED or all(similarity.rings_on(span, lag) for lag, _ in best[:1])
    if (is_noise or is_alone) and all(likeness < REPEATED for _, likeness in best):
        grain = NOISE if is_noise else TONES
        return [_steady(envelopes, span, wanted, grain, (*seeds, *range(number))) for number in range(1, n_fills + 1)]
    share = float(np.interp(found.confidence, (UNSURE, SURE), (1.0, SHARE)))
    return [_copied(envelopes, span, *one, wanted, share) for one in best]


def levels_elsewhere(similarity: Similarity, known: Known, span: Span, found: Found) -> Levels | None:
    """Return the levels of the best place for a gap, some of the way to those expected; None if too little is known.

    They come and go as they do there, whatever fills the gap. What many places agree on hardly moves.

    Args:
        similarity: of the recording.
        known: the channels that are filled.
        span: the gap.
        found: what the search found for it.
    """
    envelopes = Envelopes(known, similarity.sample_rate, similarity.floor_db - DEPTH_DB)
    wanted = envelopes.expected(span, found.places)
    if wanted is None or not found.places:
        return None
    (lag, _), *_ = _best_copies(envelopes, span, found.places, 1, wanted)
    there = envelopes.levels_db(span.start + lag, wanted.shape[2])[0]
    return Levels(envelopes, there + GO_ALONG * np.clip(wanted - there, -MAX_GAIN_DB, MAX_GAIN_DB))


def copies(known: Known, span: Span, places: Sequence[Place], sample_rate: int, n_fills: int) -> list[Copy]:
    """Return up to ``n_fills`` fills of a gap copied as they are; without any place, one that fades into silence."""
    envelopes = Envelopes(known, sample_rate, -np.inf)
    best = _best_copies(envelopes, span, places, n_fills) or [(None, 0.0)]
    return [_copied(envelopes, span, *one) for one in best]


def _best_copies(
    envelopes: Envelopes, span: Span, places: Sequence[Place], n_fills: int, wanted: np.ndarray | None = None
) -> list[tuple[int, float]]:
    """Return the lags, to the sample, of the places that are copied from, and how like both sides are."""
    scored = []
    for place in places[: max(N_TRIED, n_fills)]:
        lag, likeness = aligned(envelopes.known, span, place.lag, envelopes.sample_rate)
        score = place.cost - LIKENESS_BONUS * likeness
        if wanted is not None:
            there = envelopes.levels_db(span.start + lag, wanted.shape[2])[0]
            score += float(np.mean((there - wanted) ** 2)) / ODD
        scored.append((round(score, _DIGITS), len(scored), lag, likeness))
    return [(lag, likeness) for _, _, lag, likeness in sorted(scored)[:n_fills]]


def aligned(known: Known, span: Span, lag: int, sample_rate: int) -> tuple[int, float]:
    """Return the lag near a given one at which both sides of a gap are most like what is there, and how much.

    The normalised correlations of both sides are added up; each takes all channels at once.

    Args:
        known: the channels that are filled.
        span: the gap.
        lag: in samples.
        sample_rate: in Hz.
    """
    n, reach = round(ALIGNED_S * sample_rate), max(1, round(REACH_S * sample_rate))
    before, after = sides_of(known, span, n)
    total, n_sides = np.zeros(2 * reach + 1), np.zeros(2 * reach + 1)
    for start, side in ((span.start - before.shape[1], before), (span.stop, after)):
        length = side.shape[1]
        source = known(start + lag - reach, start + lag + length + reach)
        if length < _LEAST_S * sample_rate or not np.isfinite(source).all():
            continue
        along = sum(correlate(there, here, "valid", "fft") for there, here in zip(source, side, strict=True))
        energy = np.concatenate([[0.0], np.cumsum(np.sum(source**2, axis=0))])
        there, here = energy[length:] - energy[:-length], float(np.sum(side**2))
        energies = there * here
        total += np.where(energies > 1e-18, along / np.sqrt(energies.clip(1e-18)), 0.0)
        n_sides += np.maximum(there, here) > _SILENCE * length
    if total.max() <= 0:
        return lag, 0.0
    best = int(np.argmax(total))
    moved = lag + best - reach
    if not np.isfinite(known(span.start + moved, span.stop + moved)).all():
        return lag, max(0.0, float(total[reach]) / max(1.0, float(n_sides[reach])))
    return moved, float(total[best]) / max(1.0, float(n_sides[best]))


def sides_of(known: Known, span: Span, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return up to n samples (channels, <= n) before and after a gap, as far as they are known without a break."""
    before, after = known(span.start - n, span.start), known(span.stop, span.stop + n)
    return before[:, before.shape[1] - _n_unbroken(before[:, ::-1]) :], after[:, : _n_unbroken(after)]


def _n_unbroken(samples: np.ndarray) -> int:
    """Return how many samples (channels, t) are known from the first on."""
    lost = ~np.isfinite(samples).all(axis=0)
    return int(np.argmax(lost)) if lost.any() else samples.shape[1]


def is_noisy(known: Known, span: Span, sample_rate: int) -> bool:
    """Return whether what is beside a gap is noise, that goes on as noise."""
    return flatness_db(known, span, sample_rate) >= NOISY_DB


def flatness_db(known: Known, span: Span, sample_rate: int) -> float:
    """Return how flat the spectrum is within third octaves beside a gap, in dB; louder bands and channels count more.

    Args:
        known: the channels that are filled.
        span: the gap.
        sample_rate: in Hz.
    """
    envelopes = Envelopes(known, sample_rate, -np.inf)
    found = []
    for side in sides_of(known, span, round(FLATNESS_S * sample_rate)):
        flat_db, level_db = envelopes.flatness_db(side)
        if flat_db.size:
            found.append(float(np.average(flat_db, weights=10 ** (level_db / 20) + 1e-12)))
    return float(np.mean(found)) if found else -np.inf


def _steady(envelopes: Envelopes, span: Span, wanted: np.ndarray, grain: str, seeds: tuple[int, ...]) -> Copy:
    """Return what goes from one side's spectrum to the other's, with the expected levels: noise, or its partials."""
    rate, margin = envelopes.sample_rate, round(MARGIN_S * envelopes.sample_rate)
    side_s, frame_s = (NOISE_S, NOISE_FRAME_S) if grain == NOISE else (TONES_S, TONES_FRAME_S)
    before, after = sides_of(envelopes.known, span, round(side_s * rate))
    made = noise_between(before, after, span.length, rate, np.random.default_rng(seeds), margin, frame_s)
    shaped = Levels(envelopes, wanted).given_to(made, margin)[:, margin : margin + span.length]
    seam = _seam_length(span, rate)
    left, right = sides_of(envelopes.known, span, margin)
    made = [
        join_ends(wave, extrapolate(one, seam), extrapolate(other[::-1], seam)[::-1])
        for wave, one, other in zip(shaped, left, right, strict=True)
    ]
    return Copy(np.stack(made), grain, None, 0.0)


def _copied(
    envelopes: Envelopes,
    span: Span,
    lag: int | None,
    likeness: float,
    wanted: np.ndarray | None = None,
    share: float = 1.0,
) -> Copy:
    """Return what lies a lag away, its levels brought a share of the way to the expected ones; no lag gives silence.

    The liker it is, the less of that is done, and of the known that goes on into it: what is the same stays so.
    """
    unlike = float(np.interp(likeness, (SIMILAR, SAME), (1.0, 0.0)))
    rate, margin = envelopes.sample_rate, round(MARGIN_S * envelopes.sample_rate)
    before, after = sides_of(envelopes.known, span, margin)
    grain = offset_between(before, after, span.length, rate, margin)
    if lag is not None:
        source = envelopes.known(span.start + lag - margin, span.stop + lag + margin)
        grain = np.where(np.isfinite(source), source, 0.0)
        before = before[:, before.shape[1] - _n_unbroken(source[:, margin - before.shape[1] : margin][:, ::-1]) :]
        after = after[:, : _n_unbroken(source[:, margin + span.length :])]
        if wanted is not None:
            present = envelopes.levels_db(span.start + lag, wanted.shape[2])[0]
            grain = envelopes.brought_to(wanted, grain, present, margin, unlike * share)
    inside, seam = slice(margin, margin + span.length), _seam_length(span, rate)
    lacking = before - grain[:, margin - before.shape[1] : margin], after - grain[:, inside.stop :][:, : after.shape[1]]
    made = [with_residuals(wave[inside], left, right, seam) for wave, left, right in zip(grain, *lacking, strict=True)]
    short = min(round(GO_ON_S * rate), seam)
    fall = unlike * fade_in(short)[::-1]
    for wave, left, right in zip(made, before, after, strict=True):
        wave[:short] += fall * (extrapolate(left, short) - wave[:short])
        wave[span.length - short :] += (fall * (extrapolate(right[::-1], short) - wave[::-1][:short]))[::-1]
    return Copy(np.stack(made), COPY, lag, round(likeness, _DIGITS))


def _seam_length(span: Span, sample_rate: int) -> int:
    return min(round(SEAM_S * sample_rate), span.length // 4)
