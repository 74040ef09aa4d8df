"""Gaps filled from what the recording itself holds: a copy from the best place, as loud as all good places agree.

Source: N. Perraudin, N. Holighaus, P. Majdak, P. Balazs, Inpainting of long audio segments with similarity graphs
    (IEEE/ACM TASLP 26, 2018), for the copy from a similar place.
Differs: both sides of the gap ask at once, the levels are averaged over 24 places, and noise is one more of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate

from masktools.classical.envelopes import Envelopes
from masktools.classical.linear_prediction import extrapolate
from masktools.classical.noise import FRAME_S, SPECTRUM_S, noise_between, offset_between
from masktools.classical.seams import join_ends, with_residuals
from masktools.classical.similarity import Found, Known, Place, Similarity
from masktools.classical.spans import Span

__all__ = ["Copy", "fills_from_elsewhere"]

N_TRIED = 6  # of which a copy is considered
COPIED = 0.38  # confidence from which on a copy is better than what goes on unchanged
UNSURE, SURE = 0.45, 0.65  # confidence up to which a copy takes the expected levels, and from which on
SHARE = 0.7  # of the way to them is enough
NOISY_DB = -2.8  # flatness of a spectrum that is noise; -2.5 is Gaussian noise
FLATNESS_S = 1.0  # on either side of a gap, in which it is measured
ALIGNED_S = 0.2  # on either side of a gap, by which a copy is brought into step
REACH_S = 0.012  # either way, within which it is
LIKENESS_BONUS = 0.15  # in costs
REPEATED = 0.5  # likeness from which on even noise is copied: it returns to the sample
ODD = 640.0  # mean squared distance from the expected levels that is as bad as a cost of 1
MARGIN_S = 0.05  # of a grain beside its gap
TONES_S, TONES_FRAME_S = 0.25, 0.372  # on either side, whose partials go on; frames that tell them apart
SEAM_S = 0.012  # at most, at each end of a gap
DEPTH_DB = 25.0  # below what counts as silence when places are compared, down to which levels are still shaped
_LEAST_S = 0.0116  # of a side that has something to say
_DIGITS = 4  # of a score: what is beyond differs between machines
COPY, TONES, NOISE = "copy", "tones", "noise"


@dataclass(frozen=True, eq=False)
class Copy:
    """What fills a gap, and where it is from."""

    samples: np.ndarray  # (channels, n) float64
    grain: str  # COPY, TONES or NOISE
    lag: int | None  # samples from the gap to its source, if it is a copy
    likeness: float  # correlation with the source on both sides, 0 to 1


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
    is_noise = flatness_db(known, span, similarity.sample_rate) >= NOISY_DB
    if (is_noise or found.confidence < COPIED) and all(likeness < REPEATED for _, likeness in best):
        grain = NOISE if is_noise else TONES
        return [_steady(envelopes, span, wanted, grain, (*seeds, *range(number))) for number in range(1, n_fills + 1)]
    share = float(np.interp(found.confidence, (UNSURE, SURE), (1.0, SHARE)))
    return [_copied(envelopes, span, *one, wanted, share) for one in best]


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
    total, n_sides = np.zeros(2 * reach + 1), 0
    for start, side in ((span.start - before.shape[1], before), (span.stop, after)):
        length = side.shape[1]
        source = known(start + lag - reach, start + lag + length + reach)
        if length < _LEAST_S * sample_rate or not np.isfinite(source).all():
            continue
        along = sum(correlate(there, here, "valid", "fft") for there, here in zip(source, side, strict=True))
        energy = np.concatenate([[0.0], np.cumsum(np.sum(source**2, axis=0))])
        energies = (energy[length:] - energy[:-length]) * np.sum(side**2)
        total += np.where(energies > 1e-18, along / np.sqrt(energies.clip(1e-18)), 0.0)
        n_sides += 1
    if not n_sides or total.max() <= 0:
        return lag, 0.0
    best = int(np.argmax(total))
    moved = lag + best - reach
    if not np.isfinite(known(span.start + moved, span.stop + moved)).all():
        return lag, max(0.0, float(total[reach]) / n_sides)
    return moved, float(total[best]) / n_sides


def sides_of(known: Known, span: Span, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return up to n samples (channels, <= n) before and after a gap, as far as they are known without a break."""
    before, after = known(span.start - n, span.start), known(span.stop, span.stop + n)
    return before[:, before.shape[1] - _n_unbroken(before[:, ::-1]) :], after[:, : _n_unbroken(after)]


def _n_unbroken(samples: np.ndarray) -> int:
    """Return how many samples (channels, t) are known from the first on."""
    lost = ~np.isfinite(samples).all(axis=0)
    return int(np.argmax(lost)) if lost.any() else samples.shape[1]


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
    side_s, frame_s = (SPECTRUM_S, FRAME_S) if grain == NOISE else (TONES_S, TONES_FRAME_S)
    before, after = sides_of(envelopes.known, span, round(side_s * rate))
    made = noise_between(before, after, span.length, rate, np.random.default_rng(seeds), margin, frame_s)
    present = envelopes.levels_of(made, margin, wanted.shape[2])
    shaped = envelopes.brought_to(wanted, made, present, margin, 1.0)[:, margin : margin + span.length]
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
    """Return what lies a lag away, its levels brought a share of the way to the expected ones; no lag gives silence."""
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
            grain = envelopes.brought_to(wanted, grain, present, margin, share)
    inside, seam = slice(margin, margin + span.length), _seam_length(span, rate)
    lacking = before - grain[:, margin - before.shape[1] : margin], after - grain[:, inside.stop :][:, : after.shape[1]]
    made = [with_residuals(wave[inside], left, right, seam) for wave, left, right in zip(grain, *lacking, strict=True)]
    return Copy(np.stack(made), COPY, lag, round(likeness, _DIGITS))


def _seam_length(span: Span, sample_rate: int) -> int:
    return min(round(SEAM_S * sample_rate), span.length // 4)
