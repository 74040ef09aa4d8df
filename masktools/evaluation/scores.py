"""Distances between sets of recordings: what embedders hear of the clips of each method, set against the originals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.spatial.distance import cdist

from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Figure, Row, groups_of, summarise
from masktools.metrics import frechet_distance, principal_axes

__all__ = ["SetScores", "Statistics", "jackknife", "on_components", "paired_frechet", "paired_kernel"]

Pair = tuple[np.ndarray, np.ndarray]
"""What was heard of a clip: vectors (n, d) of its original, and (m, d) of an estimate."""

MIN_FOLDS = 4  # fewer tell nothing of the spread


@dataclass(frozen=True)
class Statistics:
    """How figures are computed from clips, and how sure they are."""

    n_resamples: int = 1000  # of the bootstrap of medians over clips
    n_folds: int = 10  # of the jackknife of set scores over clips; 0 leaves out their intervals
    level: float = 0.95  # of the intervals
    n_components: int = 32  # of the originals, on which Frechet distances are computed; 0: all, as published
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every range."""
        if self.n_resamples < 1:
            raise ParameterError(f"n_resamples must be at least 1, got {self.n_resamples}")
        if self.n_folds < 0 or self.n_folds == 1:
            raise ParameterError(f"n_folds must be 0 or at least 2, got {self.n_folds}")
        if not 0 < self.level < 1:
            raise ParameterError(f"level must lie in (0, 1), got {self.level:g}")
        if self.n_components < 0:
            raise ParameterError(f"n_components must be at least 0, got {self.n_components}")

    def summary(self, rows: Sequence[Row], means: Sequence[str] = ()) -> tuple[Figure, ...]:
        """Return the figures of rows; see ``summarise``."""
        return summarise(rows, means, self.n_resamples, self.seed, self.level)


class SetScores:
    """Collects what embedders hear of originals and of estimates, and tells how far apart the sets are."""

    def __init__(self, embedders: Sequence[Embedder], statistics: Statistics = Statistics()) -> None:
        self.embedders, self.statistics = tuple(embedders), statistics
        self._heard: dict[tuple[str, str], dict[int, list[np.ndarray]]] = {}  # (case, method) -> place -> by embedder
        self._against: dict[tuple[str, str], dict[int, list[np.ndarray]]] = {}  # where it is not the originals
        self._clips: dict[int, Clip] = {}

    ORIGINAL, ELSEWHERE = "", "elsewhere"
    """Stand for the originals among the methods, and for other places of them: what a stranger to a place reaches."""

    def add(self, place: int, clip: Clip, method: str, wave: np.ndarray, case: str = "") -> None:
        """Hear what a method made of a clip; ``ORIGINAL`` is the clip itself, or the part of it that matters.

        Args:
            place: the clip's own number.
            clip: which one.
            method: what made the wave.
            wave: (t,) at the clip's rate.
            case: what else was set.
        """
        if not self.embedders:
            return
        heard = [np.asarray(embedder.embed(wave, clip.sample_rate), np.float64) for embedder in self.embedders]
        self._clips[place] = clip
        self._heard.setdefault((case, method), {})[place] = heard

    def add_halves(self, place: int, case: str = "") -> None:
        """Set the second half of an original against its first: how far other places of the originals are."""
        heard = self._heard.get((case, self.ORIGINAL), {}).get(place, [])
        if heard and min(map(len, heard)) > 1:
            key = case, self.ELSEWHERE
            self._against.setdefault(key, {})[place] = [vectors[: len(vectors) // 2] for vectors in heard]
            self._heard.setdefault(key, {})[place] = [vectors[len(vectors) // 2 :] for vectors in heard]

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of the distances, where there are any."""
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
    pairs: Sequence[Pair],
    distance: Callable[[Sequence[Pair]], float],
    n_folds: int = 10,
    level: float = 0.95,
) -> tuple[float, float | None, float | None]:
    """Return a distance between two sets and its interval, by leaving out clips.

    Not the bootstrap: a set that holds some clips twice is further from any other than the set itself, so that its
    intervals need not hold the distance. Fewer clips than four have no interval.

    Args:
        pairs: for each clip the vectors (n_i, d) of its original and (m_i, d) of its estimate.
        distance: of the originals from the estimates.
        n_folds: groups of clips that are left out one after the other, at most; 0 for no interval.
        level: of the interval, in (0, 1).

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
    """Return pairs on the n principal components of originals (m, d); as they are where n is 0 or they have no more."""
    if not n or originals.shape[1] <= n:
        return pairs
    axes = principal_axes(originals, n)
    return [(one @ axes, other @ axes) for one, other in pairs]


def paired_frechet(pairs: Sequence[Pair]) -> float:
    """Return the Frechet distance of the originals of clips from their estimates, each side's vectors together."""
    return frechet_distance(*(np.concatenate(side) for side in zip(*pairs, strict=True)))


def paired_kernel(pairs: Sequence[Pair]) -> float:
    """Return the squared maximum mean discrepancy of originals from estimates under a Gaussian kernel, times 100.

    Vectors of one clip are not compared with each other, on either side nor across: the estimate of a clip is like
    its original, and counted so it would make the sets seem nearer than they are. Unbiased, and so perhaps a little
    below zero. The width of the kernel is the median distance between originals of different clips.

    Source: Chung et al., KAD: No More FAD! (arXiv:2502.15602), section 3; Gretton et al., A kernel two-sample test
        (2012), Lemma 6, with clips for samples.
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
