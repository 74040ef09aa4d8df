"""Scores of recordings: Frechet and kernel distances with a jackknife, retrieval, a probe, and onsets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax

from masktools.core.arguments import check_least
from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Figure, Row, groups_of, summarise
from masktools.io import resample
from masktools.mel import MelConfig, mel_filterbank
from masktools.metrics import frechet_distance, principal_axes

Pair = tuple[np.ndarray, np.ndarray]
"""Embeddings of a clip: vectors (n, d) of its original, and (m, d) of an estimate."""

MIN_FOLDS = 4  # with fewer the spread is unknown


@dataclass(frozen=True)
class Statistics:
    """Settings of the statistics over clips: bootstrap, jackknife, principal components."""

    n_resamples: int = 1000  # of the bootstrap of medians over clips
    n_folds: int = 10  # of the jackknife of set scores over clips; 0 for no intervals
    level: float = 0.95  # of the intervals
    n_components: int = 32  # principal components of the originals for Frechet distances; 0: all, as published
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every range."""
        check_least(1, n_resamples=self.n_resamples)
        check_least(0, n_components=self.n_components)
        if self.n_folds < 0 or self.n_folds == 1:
            raise ParameterError(f"n_folds must be 0 or at least 2, got {self.n_folds}")
        if not 0 < self.level < 1:
            raise ParameterError(f"level must lie in (0, 1), got {self.level:g}")

    def summary(self, rows: Sequence[Row], means: Sequence[str] = ()) -> tuple[Figure, ...]:
        """Return the figures of rows; see ``summarise``."""
        return summarise(rows, means, self.n_resamples, self.seed, self.level)


class SetScores:
    """Collects embeddings of originals and of estimates, and computes the distances between the sets."""

    def __init__(self, embedders: Sequence[Embedder], statistics: Statistics = Statistics()) -> None:
        self.embedders, self.statistics = tuple(embedders), statistics
        self._heard: dict[tuple[str, str], dict[int, list[np.ndarray]]] = {}  # (case, method) -> index -> by embedder
        self._against: dict[tuple[str, str], dict[int, list[np.ndarray]]] = {}  # if not compared with the originals
        self._clips: dict[int, Clip] = {}

    ORIGINAL, ELSEWHERE = "", "elsewhere"
    """Names of the originals among the methods, and of other parts of them, as a reference for chance."""

    def add(self, place: int, clip: Clip, method: str, wave: np.ndarray, case: str = "") -> None:
        """Embed a method's output for a clip; ``ORIGINAL`` is the clip itself, or the relevant part of it.

        Args:
            place: index of the clip.
            clip: clip of the output.
            method: method of the output.
            wave: (t,) output at the clip's rate.
            case: further settings.
        """
        if not self.embedders:
            return
        heard = [np.asarray(embedder.embed(wave, clip.sample_rate), np.float64) for embedder in self.embedders]
        self._clips[place] = clip
        self._heard.setdefault((case, method), {})[place] = heard

    def add_halves(self, place: int, case: str = "") -> None:
        """Compare the second half of an original with its first: the distance of other parts of the originals."""
        heard = self._heard.get((case, self.ORIGINAL), {}).get(place, [])
        if heard and min(map(len, heard)) > 1:
            key = case, self.ELSEWHERE
            self._against.setdefault(key, {})[place] = [vectors[: len(vectors) // 2] for vectors in heard]
            self._heard.setdefault(key, {})[place] = [vectors[len(vectors) // 2 :] for vectors in heard]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the distances, if there are any."""
        n = self.statistics.n_components
        what = f"on the {n} principal components of the originals" if n else "of all vectors as they are"
        return (
            (f"fad: Frechet distance {what} [95 % interval of a jackknife over recordings]",) if self.embedders else ()
        )

    def figures(self) -> tuple[Figure, ...]:
        """Return the Frechet and kernel distances of each method from the originals, by group, case and embedder.

        Groups of a single clip, and sets of fewer than three vectors, have none.
        """
        places = sorted(self._clips)
        clips = [self._clips[place] for place in places]
        groups = groups_of([(clip.kind, clip.origin) for clip in clips])
        figures = []
        for group, members in groups.items():
            for case, method in self._heard:
                if method != self.ORIGINAL:
                    figures += self._distances(group, [places[member] for member in members], case, method)
        return tuple(figures)

    def _distances(self, group: str, members: Sequence[int], case: str, method: str) -> list[Figure]:
        originals, estimates = self._heard[case, self.ORIGINAL], self._heard[case, method]
        against = self._against.get((case, method), originals)
        both = [place for place in members if place in against and place in estimates]
        figures: list[Figure] = []
        spread = self.statistics
        for number, embedder in enumerate(self.embedders):
            pairs = [(against[place][number], estimates[place][number]) for place in both]
            if len(pairs) < 2 or min(sum(len(pair[side]) for pair in pairs) for side in (0, 1)) < 3:
                continue
            heard = np.concatenate([originals[place][number] for place in both])
            for metric, distance, some in (
                ("fad", paired_frechet, on_components(pairs, heard, spread.n_components)),
                ("kad", paired_kernel, pairs),
            ):
                value, low, high = jackknife(some, distance, spread.n_folds, spread.level)
                if not np.isfinite(value):
                    continue
                figures.append(Figure(group, method, metric, value, low, high, len(pairs), embedder.name, case, "set"))
        return figures


def jackknife(
    pairs: Sequence[Pair], distance: Callable[[Sequence[Pair]], float], n_folds: int = 10, level: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Return a distance between two sets with its jackknife interval over clips.

    The bootstrap is not used: a set with duplicates of clips is further from any other than the set itself, so that its
    intervals need not contain the distance. Fewer clips than four have no interval.

    Args:
        pairs: for each clip the vectors (n_i, d) of its original and (m_i, d) of its estimate.
        distance: function of pairs to the distance of the originals from the estimates.
        n_folds: most groups of clips that are left out in turn; 0 for no interval.
        level: level of the interval, in (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 11.2, with groups of clips.
    """
    value = distance(pairs)
    n_folds = min(n_folds, len(pairs))
    if n_folds < MIN_FOLDS:
        return value, None, None
    without = [
        distance([pair for place, pair in enumerate(pairs) if place % n_folds != fold]) for fold in range(n_folds)
    ]
    error = float(np.sqrt((n_folds - 1) * np.var(without)))
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return value, value - reach, value + reach


def on_components(pairs: Sequence[Pair], originals: np.ndarray, n: int) -> Sequence[Pair]:
    """Return pairs projected on the n principal components of originals (m, d); unchanged if n is 0 or too large."""
    if not n or originals.shape[1] <= n:
        return pairs
    axes = principal_axes(originals, n)
    return [(one @ axes, other @ axes) for one, other in pairs]


def paired_frechet(pairs: Sequence[Pair]) -> float:
    """Return the Frechet distance of the originals of clips from their estimates, vectors of all clips pooled."""
    return frechet_distance(*(np.concatenate(side) for side in zip(*pairs, strict=True)))


def paired_kernel(pairs: Sequence[Pair]) -> float:
    """Return the squared maximum mean discrepancy of originals from estimates under a Gaussian kernel, times 100.

    Vectors of one clip are not compared with each other, on either side nor across: the estimate of a clip is similar
    to
    its original, and would make the sets seem nearer than they are. Unbiased, and so possibly slightly
    negative. The width of the kernel is the median distance between originals of different clips.

    Source: Chung et al., KAD: No More FAD! (arXiv:2502.15602), section 3; Gretton et al., A kernel two-sample test
        (2012), Lemma 6, with clips as samples.
    """
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    own, others = (np.repeat(np.arange(len(pairs)), [len(pair[side]) for pair in pairs]) for side in (0, 1))
    apart = own[:, None] != own
    squared = cdist(one, one, "sqeuclidean")
    width = float(np.median(squared[apart]))
    if width == 0:
        return float("nan")
    means = [
        float(np.exp(-distances / (2 * width))[different].mean())
        for distances, different in (
            (squared, apart),
            (cdist(other, other, "sqeuclidean"), others[:, None] != others),
            (cdist(one, other, "sqeuclidean"), own[:, None] != others),
        )
    ]
    return 100 * (means[0] + means[1] - 2 * means[2])


RECALLS = (1, 5, 10)


class RankScores(NamedTuple):
    """Scores of each query (n,), shares in [0, 1]."""

    average_precision: np.ndarray
    r1: np.ndarray  # the first one is right
    r5: np.ndarray  # one of the first five is right
    r10: np.ndarray


def rank_scores(similarity: np.ndarray, relevant: np.ndarray) -> RankScores:
    """Return how well each query retrieves its answers; of equally similar candidates the wrong ones come first.

    Args:
        similarity: (n, m) similarity of n queries to m candidates.
        relevant: (n, m) bool, the right answers.

    Raises:
        ParameterError: shapes that differ, values that are not finite, or a query without a right answer.

    Source: average precision as in Manning et al., Introduction to Information Retrieval (2008), section 8.4.
    """
    table = _checked(similarity, relevant)
    order = np.lexsort((relevant, -table), axis=-1)
    found = np.take_along_axis(relevant, order, axis=1)
    precision = found.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)
    average = (precision * found).sum(axis=1) / found.sum(axis=1)
    return RankScores(average, *(found[:, :k].max(axis=1) * 1.0 for k in RECALLS))


def blind_scores(relevant: np.ndarray) -> RankScores:
    """Return the expected scores of candidates in random order.

    Args:
        relevant: (n, m) bool, the right answers of n queries.

    Raises:
        ParameterError: a query without a right answer.
    """
    _checked(np.zeros(relevant.shape), relevant)
    m, counts = relevant.shape[1], relevant.sum(axis=1)
    places = np.arange(1, m + 1)
    # A right answer is at rank i, with (i - 1) (r - 1) / (m - 1) others before it on average.
    before = (counts[:, None] - 1) * (places - 1) / max(1, m - 1)
    average = ((1 + before) / places).mean(axis=1)
    recalls = [[1 - comb(m - int(r), min(k, m)) / comb(m, min(k, m)) for r in counts] for k in RECALLS]
    return RankScores(average, *(np.array(one) for one in recalls))


def _checked(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    table = np.asarray(similarity, np.float64)
    if table.ndim != 2 or table.shape != relevant.shape or not table.size or not np.isfinite(table).all():
        raise ParameterError(
            f"similarities must be finite and of the truth's shape (n, m), got {table.shape} and {relevant.shape}"
        )
    if relevant.dtype != bool or not relevant.any(axis=1).all():
        raise ParameterError("each query must have a right answer among the candidates, and the truth must be bool")
    return table


DECAYS = (0.3, 0.03, 0.003)  # weights of the squared weights, tried from the strongest on
_HELD_OUT = 5  # every fifth clip of a class selects among them
_MAX_STEPS = 200


@dataclass(frozen=True, eq=False)
class Classifier:
    """Classes, and the linear map from standardised vectors (n, d) to their logits."""

    classes: tuple[str, ...]
    weights: np.ndarray  # (d, k)
    bias: np.ndarray  # (k,)
    mean: np.ndarray  # (d,)
    scale: np.ndarray  # (d,)

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: Sequence[str], seed: int = 0) -> "Classifier":
        """Fit a classifier of labelled vectors; every class has the same weight, whatever its number of vectors.

        The regularisation is selected on a fifth of the vectors; then all of them are fitted.

        Args:
            vectors: (n, d) vectors.
            labels: class of each vector.
            seed: random seed of that fifth.

        Raises:
            ParameterError: fewer than two classes, not one label per vector, or values that are not finite.
        """
        rows = np.asarray(vectors, np.float64)
        if rows.ndim != 2 or len(rows) != len(labels) or not np.isfinite(rows).all():
            raise ParameterError(f"vectors must be finite and ({len(labels)}, d), one a label, got {rows.shape}")
        classes = tuple(sorted(set(labels)))
        if len(classes) < 2:
            raise ParameterError(f"a classifier needs at least 2 classes, got {len(classes)}")
        numbers = np.array([classes.index(label) for label in labels])
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        scale[scale < 1e-9 * max(1.0, float(scale.max()))] = 1.0
        rows = (rows - mean) / scale
        held_out = _fifth(numbers, seed)
        decay = DECAYS[0]
        if held_out.any():
            losses = []
            for one in DECAYS:
                fitted = _fit(rows[~held_out], numbers[~held_out], len(classes), one)
                losses.append(_loss(*fitted, rows[held_out], numbers[held_out]))
            decay = DECAYS[int(np.argmin(losses))]
        weights, bias = _fit(rows, numbers, len(classes), decay)
        return cls(classes, weights, bias, mean, scale)

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probability of each of k classes for each of n vectors, (n, k)."""
        rows = (np.asarray(vectors, np.float64) - self.mean) / self.scale
        return softmax(rows @ self.weights + self.bias, axis=1)


def _fifth(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return the mask of held-out vectors: a fifth of each class that is large enough."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(numbers), bool)
    for number in np.unique(numbers):
        places = rng.permutation(np.flatnonzero(numbers == number))
        chosen[places[: len(places) // _HELD_OUT]] = True
    return chosen


def _shares(numbers: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the weight of each vector: all classes together have weight 1, each the same."""
    counts = np.bincount(numbers, minlength=n_classes)
    return 1.0 / (counts[numbers] * np.count_nonzero(counts))


def _fit(rows: np.ndarray, numbers: np.ndarray, n_classes: int, decay: float) -> tuple[np.ndarray, np.ndarray]:
    d, shares = rows.shape[1], _shares(numbers, n_classes)
    true = np.eye(n_classes)[numbers]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[: d * n_classes].reshape(d, n_classes), flat[d * n_classes :]
        log_probability = log_softmax(rows @ weights + bias, axis=1)
        error = shares[:, None] * (np.exp(log_probability) - true)
        loss = -float(shares @ (log_probability * true).sum(axis=1)) + 0.5 * decay * float((weights**2).sum())
        return loss, np.concatenate([(rows.T @ error + decay * weights).ravel(), error.sum(axis=0)])

    start = np.zeros((d + 1) * n_classes)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_STEPS})
    return found.x[: d * n_classes].reshape(d, n_classes), found.x[d * n_classes :]


def _loss(weights: np.ndarray, bias: np.ndarray, rows: np.ndarray, numbers: np.ndarray) -> float:
    log_probability = log_softmax(rows @ weights + bias, axis=1)
    return -float(_shares(numbers, len(bias)) @ log_probability[np.arange(len(numbers)), numbers])


_RATE, _HOP = 22_050, 256
_FRONT_END = MelConfig(_RATE, 2048, _HOP, 2048, 128, 0.0, _RATE / 2)
_RANGE_DB = 80.0  # below the loudest
_BEFORE_S, _AROUND_S = 0.03, 0.1  # windows in which an onset is the greatest rise, and above the mean rise
_ABOVE_MEAN = 0.07  # of the greatest rise
_TOLERANCE_S = 0.05
_AROUND_SPAN_S = 1.0  # context on either side of a span


@torch.inference_mode()
def onset_times(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the onsets of a wave (t,) of any rate in seconds, (n,), by spectral flux.

    Source: Boeck, Krebs and Schedl, Evaluating the online capabilities of onset detection methods (ISMIR 2012), with
        the bands and thresholds of librosa.
    """
    samples = torch.from_numpy(resample(np.asarray(wave, np.float32), sample_rate, _RATE))
    n_fft = _FRONT_END.n_fft
    window = torch.hann_window(n_fft)
    padded = torch.nn.functional.pad(samples, (n_fft // 2, n_fft // 2))
    spectrum = torch.stft(padded, n_fft, _HOP, window=window, center=False, return_complex=True)
    power = (mel_filterbank(_FRONT_END) @ spectrum.abs().square()).clamp_min(1e-10)
    level = 10 * power.log10()
    level = level.clamp_min(float(level.max()) - _RANGE_DB)
    rise = level.diff(dim=1).clamp_min(0).mean(dim=0).numpy()
    late = 1 + n_fft // (2 * _HOP)  # a frame contains a stroke half its length before it
    strength = np.pad(rise, (late, 0))[: level.shape[1]]
    return _peaks(strength) * (_HOP / _RATE)


def _peaks(strength: np.ndarray) -> np.ndarray:
    """Return the frames of the greatest rises that stand out, at least 30 ms apart."""
    scaled = strength - strength.min()
    scaled = scaled / (scaled.max() + np.finfo(np.float32).tiny)
    before, around = (int(seconds * _RATE // _HOP) for seconds in (_BEFORE_S, _AROUND_S))
    peaks: list[int] = []
    for frame, value in enumerate(scaled):
        if value == 0 or (peaks and frame - peaks[-1] <= before):
            continue
        near = scaled[max(0, frame - before) : frame + 1]
        mean = scaled[max(0, frame - around) : frame + around + 1].mean()
        if value == near.max() and value >= mean + _ABOVE_MEAN:
            peaks.append(frame)
    return np.array(peaks, int)


def onset_f(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, span_s: tuple[float, float] | None = None
) -> float:
    """Return the F-measure of the onsets of an estimate (t,), matched within 50 ms; NaN where neither has any.

    A second of context on either side of a span is included, so that sound that begins at its edge is no onset.

    Args:
        reference: the true wave.
        estimate: a wave of the same length.
        sample_rate: sampling rate in Hz.
        span_s: (start, end) in seconds; all of it where it is None.

    Source: the matching of onsets of MIREX, with a tolerance of 50 ms.
    """
    start, stop = (0.0, len(reference) / sample_rate) if span_s is None else span_s
    first = max(0, round((start - _AROUND_SPAN_S) * sample_rate))
    last = round((stop + _AROUND_SPAN_S) * sample_rate)
    found = []
    for wave in (reference, estimate):
        times = onset_times(wave[first:last], sample_rate) + first / sample_rate
        found.append(times[(times >= start) & (times < stop)])
    n = sum(map(len, found))
    return 2 * _n_matched(*found) / n if n else float("nan")


def _n_matched(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many of two rising series of times can be matched within the tolerance, each once."""
    n = place = 0
    for time in one:
        while place < len(other) and other[place] < time - _TOLERANCE_S:
            place += 1
        if place < len(other) and other[place] <= time + _TOLERANCE_S:
            n, place = n + 1, place + 1
    return n
