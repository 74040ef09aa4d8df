"""Self-similarity search: positions of a recording that are similar to the surroundings of a gap.

Every 46 ms of a recording have three kinds of features: levels in third octaves, finer levels in shorter windows,
and the prominence of semitones. The known features on both sides of a gap are the query; every lag that
leads to known audio has a cost, the weighted mean squared difference there. An hour takes less than 20 MB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.fft import next_fast_len, rfft
from scipy.ndimage import uniform_filter1d
from scipy.signal.windows import hann

from masktools.classical.spans import Span

Known = Callable[[int, int], np.ndarray]
"""Reader of samples [start, stop) of a recording, (channels, n); NaN in gaps and beyond the ends."""

EDGES_HZ = 50.0 * 2 ** (np.arange(28) / 3)  # of third octaves
WINDOW_S = 0.0929  # for their levels
STEP_S = 0.0464  # between features
_PHASES = 2  # fractions of a step at which the query is computed; copies are aligned more finely
_BLOCK = 64  # features computed at once, whose spectra fit into the cache
WANDERING, JUMPING_DB = 0.5, 3.0  # thresholds above which the surroundings of a gap are like speech
SPEECH_COST, SPEECH_CONFIDENCE = 0.4, 0.6  # thresholds of cost and confidence for a repetition even in speech
_AROUND_S = 15.0  # on either side of a gap, for telling speech from music
_AUDIBLE_DB = 25.0  # below the loud frames, for the comparison of tones
_LEAST_MOMENTS = 20
N_PLACES = 24  # matches that count for the levels of a gap
_ROWS = 2048  # features compared at once
_RANGE_DB = 55.0  # below the recording's loud frames, where silence begins
_LOUD = 95  # percentile of its frames that defines loud ones
_FAINT = 1e-20  # power
_REACH = 0.4  # share of a window, in either direction from its centre, that must be known
_LEAST_WEIGHT = 0.05
_COVERED = 0.3  # least share of the weights for a valid lag
_UNCOVERED_COST = 0.17
_MIN_LAG_S = 0.093
_APART_S = 0.07  # least distance of matches
_MIN_MEDIAN = 0.3
_DIGITS = 4  # of a cost: further ones differ between machines


@dataclass(frozen=True)
class _Feature:
    """One kind of feature: window, decay of weights with distance, and scale of the cost."""

    window_s: float
    taus_s: tuple[float, ...]
    scale: float  # mean squared difference between random positions of music
    top_hz: float  # upper limit of the comparison
    describe: Callable[[np.ndarray, np.ndarray], np.ndarray]  # power (n, bins), hertz (bins,) -> (n, d)


@dataclass(frozen=True)
class Place:
    """A match for a gap: ``lag`` samples later, with its cost, 0 for a repetition."""

    lag: int
    cost: float


@dataclass(frozen=True)
class Found:
    """Result of a search."""

    places: tuple[Place, ...]  # the best first
    confidence: float  # 1: the surroundings are repeated exactly; 0: the best match is no better than any other
    like_speech: bool = False  # whether the surroundings are like speech

    @property
    def is_alike(self) -> bool:
        """Whether a copy is better than an invention.

        In music hardly any copy is worse than an invention. In speech words match other words, and pauses pauses: there
        the surroundings have to be repeated.
        """
        if not self.places:
            return False
        return not self.like_speech or self.places[0].cost <= SPEECH_COST or self.confidence >= SPEECH_CONFIDENCE


def window_length(seconds: float, sample_rate: int) -> int:
    """Return a window length in samples near a duration, at least 16, with a fast transform."""
    return int(next_fast_len(max(16, round(seconds * sample_rate)), real=True) or 16)


def bands_db(power: np.ndarray, hertz: np.ndarray, edges_hz: np.ndarray = EDGES_HZ[:24]) -> np.ndarray:
    """Return the levels in dB, (..., bands), of power spectra (..., bins) between edges; empty bands are faint."""
    inside = (hertz[:, None] >= edges_hz[:-1]) & (hertz[:, None] < edges_hz[1:])
    return 10 * np.log10(power @ inside.astype(power.dtype) + _FAINT)


def _fine_db(power: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Return levels (n, 40) in triangular bands, evenly spaced on the ERB scale up to 11 kHz."""
    rate = 21.4 * np.log10(1 + 0.00437 * hertz)
    return 10 * np.log10(power @ _triangles(rate, np.linspace(2.0, 36.0, 40)) + _FAINT)


def _semitones_db(power: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Return the prominence of each of 62 semitones from 82 Hz on over its octave, (n, 62), -6 to 12 dB."""
    pitch = 12 * np.log2(np.maximum(hertz, 1.0) / 82.4)
    level_db = 10 * np.log10(power @ _triangles(pitch, np.arange(62.0)) + _FAINT)
    level_db = np.maximum(level_db, level_db.max(axis=1, keepdims=True) - _RANGE_DB)
    return np.clip(level_db - uniform_filter1d(level_db, 13, axis=1), -6.0, 12.0)


def _triangles(where: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return weights (bins, bands) of overlapping triangular bands; narrow ones take one bin."""
    weights = np.maximum(0.0, 1.0 - np.abs(where[:, None] - centres) / (centres[1] - centres[0]))
    narrow = weights.sum(axis=0) < 0.5
    nearest = np.abs(where[:, None] - centres[narrow]).argmin(axis=0)
    weights[:, narrow] = 0.0
    weights[nearest, np.flatnonzero(narrow)] = 1.0
    return (weights / weights.sum(axis=0)).astype(np.float32)


_FEATURES = (
    _Feature(WINDOW_S, (0.25, 1.0), 160.0, 11_025.0, bands_db),
    _Feature(0.0464, (0.25, 1.0), 127.0, 11_025.0, _fine_db),
    _Feature(0.1858, (0.15, 0.5), 51.0, 3_000.0, _semitones_db),
)


class Similarity:
    """The features of a recording, with a search for similar positions.

    Levels are relative to the recording's own loud frames, over 55 dB: neither its gain nor the depth of its
    silences matters. Features are those of the mean power of all channels, so that no channel
    cancels another.
    """

    def __init__(self, known: Known, n_samples: int, sample_rate: int) -> None:
        """Compute the features of a recording, which is read once, from start to end.

        Args:
            known: reader of the recording.
            n_samples: length of the recording in samples.
            sample_rate: sampling rate in Hz.
        """
        self._known, self.n_samples, self.sample_rate = known, n_samples, sample_rate
        self.step = max(_PHASES, round(STEP_S * sample_rate))
        self._lengths = [window_length(feature.window_s, sample_rate) for feature in _FEATURES]
        n_frames = -(-n_samples // self.step)
        described: list[list[np.ndarray]] = [[] for _ in _FEATURES]
        usable: list[list[np.ndarray]] = [[] for _ in _FEATURES]
        complete = []
        for first in range(0, n_frames, _BLOCK):
            n = min(_BLOCK, n_frames - first)
            values, valid, whole = self._described(first * self.step + self.step // 2, n)
            complete.append(whole)
            for number in range(len(_FEATURES)):
                described[number].append(values[number].astype(np.float16))
                usable[number].append(valid[number])
        self._values = [np.concatenate(blocks) for blocks in described]
        self._valid = [np.concatenate(blocks) for blocks in usable]
        self._missing = np.concatenate([[0], np.cumsum(~np.concatenate(complete))]).astype(np.int32)
        self._floors_db = [self._floor_db(number) for number in range(2)]
        for values, floor_db in zip(self._values, self._floors_db, strict=False):
            np.maximum(values, np.float16(floor_db), out=values)

    @property
    def floor_db(self) -> float:
        """Level of a third octave, in dB of full scale, below which this recording is silent."""
        return self._floors_db[0]

    def _floor_db(self, number: int) -> float:
        loudest = self._values[number][self._valid[number]].max(axis=1, initial=-200.0)
        return float(np.percentile(loudest, _LOUD)) - _RANGE_DB if len(loudest) else -200.0

    def _described(self, first: int, n: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Return the features of n frames, a step apart, their validity, and whether the steps are fully known.

        Args:
            first: centre of the first frame, in samples.
            n: number of frames.
        """
        reach = max(*self._lengths, self.step) // 2 + 1
        samples = self._known(first - reach, first + (n - 1) * self.step + reach + 1)
        known = np.isfinite(samples).all(axis=0)
        samples = np.where(known, samples, 0.0).astype(np.float32)
        lost = np.concatenate([[0], np.cumsum(~known)])
        middles = reach + np.arange(n) * self.step
        values, valid = [], []
        for feature, length in zip(_FEATURES, self._lengths, strict=True):
            hertz = np.arange(length // 2 + 1) * (self.sample_rate / length)
            hertz = hertz[hertz < feature.top_hz]
            window = (hann(length, sym=False) * (4 / length)).astype(np.float32)
            power = np.zeros((n, len(hertz)), np.float32)
            for wave in samples:
                frames = np.lib.stride_tricks.sliding_window_view(wave, length)[reach - length // 2 :: self.step][:n]
                spectrum = np.asarray(rfft(frames * window, axis=1))[:, : len(hertz)]
                power += (np.real(spectrum) ** 2 + np.imag(spectrum) ** 2) / len(samples)
            values.append(feature.describe(power, hertz).astype(np.float32))
            near = round(_REACH * length)
            valid.append(lost[middles + near] == lost[middles - near])
        half = self.step // 2
        whole = lost[np.minimum(middles - half + self.step, len(lost) - 1)] == lost[middles - half]
        return values, valid, whole

    def find(self, span: Span, n_places: int = N_PLACES) -> Found:
        """Return the matches for a gap, the best first, apart from each other.

        Args:
            span: gap to fill.
            n_places: greatest number of matches.
        """
        lags, costs = self._costs(span)
        if not len(lags):
            return Found((), 0.0)
        taken: list[int] = []
        ruled_out = 2 * ceil(_APART_S * self.sample_rate * _PHASES / self.step) + 1  # lags that a match excludes
        last = min(n_places * ruled_out, len(costs) - 1)
        best = np.flatnonzero(costs <= np.partition(costs, last)[last])
        for number in best[np.lexsort((lags[best], costs[best]))]:
            if all(abs(lags[number] - lags[one]) > _APART_S * self.sample_rate for one in taken):
                taken.append(int(number))
                if len(taken) == n_places:
                    break
        places = tuple(Place(int(lags[one]), float(costs[one])) for one in taken)
        confidence = 1.0 - places[0].cost / max(float(np.median(costs)), _MIN_MEDIAN) ** 0.5
        return Found(places, max(0.0, round(confidence, _DIGITS)), self._is_like_speech(span))

    def rings_on(self, span: Span, lag: int) -> bool:
        """Return whether the sides of a gap have more tones in common with each other than with those a lag away."""
        beside, there = self._lengths[-1] // 2, round(lag / self.step)
        sides = np.array([(span.start - beside) // self.step, -(-(span.stop + beside) // self.step)])
        tones, both = self._values[-1], np.concatenate([sides, sides + there])
        if both.min() < 0 or both.max() >= len(tones) or not self._valid[-1][both].all():
            return False
        before, after, *places = tones[both].astype(np.float32)
        apart = np.mean((before - after) ** 2)
        return bool(apart < np.mean((np.stack(places) - np.stack([before, after])) ** 2))

    def _is_like_speech(self, span: Span) -> bool:
        """Return whether tones wander and levels jump around a gap, as in speech but seldom in music.

        Tones: distance of the semitones of one frame from those of the next that does not overlap it.
        """
        reach = round(_AROUND_S * self.sample_rate)
        around = slice(max(0, span.start - reach) // self.step, (span.stop + reach) // self.step)
        levels, tones = self._values[0][around].astype(np.float32), self._values[-1][around].astype(np.float32)
        level_db = 10 * np.log10(np.sum(10 ** (levels / 10), axis=1))
        known = self._valid[0][around] & self._valid[-1][around]
        later = -(-self._lengths[-1] // self.step)
        if known.sum() < _LEAST_MOMENTS:
            return False
        loud = known & (level_db > np.percentile(level_db[known], _LOUD) - _AUDIBLE_DB)
        both = loud[:-later] & loud[later:]
        if both.sum() < _LEAST_MOMENTS:
            return False
        apart = np.mean((tones[later:][both] - tones[:-later][both]) ** 2, axis=1) / _FEATURES[-1].scale
        jumps_db = np.abs(np.diff(level_db[known]))
        return bool(np.median(apart) >= WANDERING and np.mean(jumps_db) >= JUMPING_DB)

    def _costs(self, span: Span) -> tuple[np.ndarray, np.ndarray]:
        """Return every lag in samples that leads to known audio, with its cost."""
        longest_s = max(tau for feature in _FEATURES for tau in feature.taus_s) * -np.log(_LEAST_WEIGHT)
        before = -(-round(longest_s * self.sample_rate) // self.step)
        first = span.start - before * self.step
        n = 2 * before + -(-span.length // self.step)
        origins = [first + phase * self.step // _PHASES for phase in range(_PHASES)]
        asked: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in _FEATURES]  # of each, at each phase
        for origin in origins:
            middles = origin + np.arange(n) * self.step
            away = np.maximum(span.start - middles, middles - span.stop + 1)  # samples from the gap; inside it none
            values, valid, _ = self._described(origin, n)
            for number, feature in enumerate(_FEATURES):
                if number < len(self._floors_db):
                    np.maximum(values[number], self._floors_db[number], out=values[number])
                weights = self._weights(feature, middles < span.start, away, valid[number])
                asked[number].append((values[number], weights))
        totals = np.sum([self._costs_of(number, of_phases) for number, of_phases in enumerate(asked)], axis=0)
        lags, costs = [], []
        for origin, total in zip(origins, totals, strict=True):
            lag = (np.arange(len(total)) - n) * self.step + self.step // 2 - origin
            free = self._is_free(span, lag) & np.isfinite(total)
            lags.append(lag[free])
            costs.append(np.round(total[free], _DIGITS))
        return np.concatenate(lags), np.concatenate(costs)

    def _weights(self, feature: _Feature, is_before: np.ndarray, away: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return the weight of each frame around a gap; both sides have equal weight, if all of them is known."""
        weights = np.zeros(len(away))
        step_s, away_s = self.step / self.sample_rate, away / self.sample_rate
        for side in (is_before, ~is_before):
            for tau in feature.taus_s:
                own = np.where(side & valid & (away > 0), np.exp(-np.maximum(away_s, 0) / tau), 0.0)
                own[own < _LEAST_WEIGHT] = 0.0
                weights += 0.5 * (1 - np.exp(-step_s / tau)) * own
        return weights

    def _costs_of(self, number: int, asked: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Return the contribution of one feature to the cost of each lag from -n on, (phases, lags).

        Args:
            number: index of the feature.
            asked: for each phase features (n, d) around the gap, and their weights (n,).
        """
        values, valid = self._values[number], self._valid[number]
        n_frames, n = len(values), len(asked[0][1])
        # (w |f|^2 - 2 w f q + w |q|^2) summed over the frames, as one matrix product and sums of its diagonals.
        questions, where = [], []
        for phase, (described, weights) in enumerate(asked):
            used = np.flatnonzero(weights)
            squares = np.sum(described[used] ** 2, axis=1, keepdims=True)
            questions.append(weights[used, None] * np.hstack([-2 * described[used], np.ones_like(squares), squares]))
            where += [(phase, int(offset)) for offset in used]
        matrix = np.concatenate(questions).astype(np.float32)
        totals = np.zeros((len(asked), n_frames + n), np.float32)
        for start in range(0, n_frames + n if where else 0, _ROWS):
            stop = min(start + _ROWS, n_frames + n)
            rows = np.zeros((stop - start + n, values.shape[1] + 2), np.float32)
            low, high = max(0, start - n), min(n_frames, stop)
            part = rows[low - (start - n) : high - (start - n)]
            part[:, :-2] = values[low:high]
            part[:, -2] = np.einsum("nd,nd->n", part[:, :-2], part[:, :-2])
            part[:, -1] = 1.0
            part *= valid[low:high, None]
            for (phase, offset), along in zip(where, matrix @ rows.T, strict=True):
                totals[phase, start:stop] += along[offset : offset + stop - start]
        return np.stack([self._mean_cost(number, *one) for one in zip(totals, asked, strict=True)])

    def _mean_cost(self, number: int, total: np.ndarray, asked: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the mean costs (lags,) from sums of squares; infinite where too little of the query is covered."""
        (described, weights), valid, n = asked, self._valid[number], len(asked[1])
        if not weights.any():
            return np.full(len(total), np.inf)
        lost = np.pad(~valid, n, constant_values=True).astype(np.float64)  # what lies beyond the ends is, too
        norm = weights.sum() - np.correlate(lost, weights, "valid")[: len(total)]
        covered, feature = norm / weights.sum(), _FEATURES[number]
        mean = np.maximum(total, 0.0) / np.maximum(norm, 1e-9) / described.shape[1]
        cost = (mean / feature.scale + 3 * _UNCOVERED_COST * np.clip(1 - covered, 0, 1)) / len(_FEATURES)
        return np.where(covered < _COVERED, np.inf, cost)

    def _is_free(self, span: Span, lags: np.ndarray) -> np.ndarray:
        """Return whether the audio at each lag is completely known."""
        starts, stops = span.start + lags, span.stop + lags
        inside = (starts >= 0) & (stops <= self.n_samples) & (np.abs(lags) >= _MIN_LAG_S * self.sample_rate)
        steps = [np.clip(edges, 0, len(self._missing) - 1) for edges in (starts // self.step, -(-stops // self.step))]
        return inside & (self._missing[steps[1]] == self._missing[steps[0]])
