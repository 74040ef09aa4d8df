"""Scores of tagging: ROC-AUC and average precision by label, their macro averages, accuracy.

The macro rule is our own. A label that no clip of the test has, or that all have, has neither score: it is left out
of both averages, and the number of labels that were scored is told beside them. (scikit-learn 1.9 makes one average
NaN by it and counts it as 0 in the other.) Where every label is scored, both are scikit-learn's to 1e-12.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from masktools.core.errors import ParameterError

_UNSCORED = "no label can be scored: each is absent from these clips, or is that of every one of them"


@dataclass(frozen=True, eq=False)
class TagScores:
    """How well labels were predicted; NaN by label stands for one that cannot be scored."""

    roc_auc: float  # macro, in [0, 1]
    average_precision: float  # macro, in [0, 1]
    by_label_roc_auc: np.ndarray  # (k,)
    by_label_average_precision: np.ndarray  # (k,)
    n_positive: np.ndarray  # (k,) clips that have the label

    @property
    def n_labels(self) -> int:
        """Labels in all."""
        return len(self.n_positive)

    @property
    def n_scored(self) -> int:
        """Labels that some clips have and some have not."""
        return int(np.isfinite(self.by_label_roc_auc).sum())


def score_tags(targets: np.ndarray, predicted: np.ndarray) -> TagScores:
    """Return the scores of predictions, by label and macro.

    Args:
        targets: bool (n, k).
        predicted: (n, k), higher where the label is more likely; any scale.

    Raises:
        ParameterError: shapes that differ, predictions that are not finite, or not one label that can be scored.
    """
    wanted, given = _checked(targets, predicted)
    clips = np.ones((1, len(wanted)), np.float64)
    scores = [LabelRanking(wanted[:, k], given[:, k]).scores(clips) for k in range(wanted.shape[1])]
    roc_auc, precision = (np.array([float(score[which][0]) for score in scores]) for which in (0, 1))
    if not np.isfinite(roc_auc).any():
        raise ParameterError(_UNSCORED)
    return TagScores(float(np.nanmean(roc_auc)), float(np.nanmean(precision)), roc_auc, precision, wanted.sum(axis=0))


def macro_roc_auc(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Return the macro ROC-AUC of ``score_tags`` alone, for those who look often.

    Raises:
        ParameterError: as ``score_tags``.
    """
    wanted, given = _checked(targets, predicted)
    n_positive = wanted.sum(axis=0)
    n_negative = len(wanted) - n_positive
    scored = (n_positive > 0) & (n_negative > 0)
    if not scored.any():
        raise ParameterError(_UNSCORED)
    ranks = rankdata(given[:, scored], axis=0)
    of_positive = np.where(wanted[:, scored], ranks, 0).sum(axis=0)
    above = of_positive - n_positive[scored] * (n_positive[scored] + 1) / 2  # the Mann-Whitney statistic
    return float((above / (n_positive * n_negative)[scored]).mean())


class LabelRanking:
    """The clips ordered by how likely one label was said to be; scores of any weighting of them follow quickly.

    Clips of one prediction are of one rank: neither stands before the other.
    """

    def __init__(self, targets: np.ndarray, predicted: np.ndarray) -> None:
        order = np.argsort(-predicted, kind="stable")
        ranked, self.order = predicted[order], order
        is_last = np.append(ranked[1:] != ranked[:-1], True)
        last = np.flatnonzero(is_last)
        rank = np.cumsum(is_last) - is_last  # 0 for all clips of the highest prediction
        positive = np.flatnonzero(targets[order])
        self.ends = last[rank[positive]]  # the last place of each positive clip's rank
        self.starts = np.append(-1, last)[rank[positive]]  # the place before its first
        self.positive = positive
        self.after_ends = np.searchsorted(positive, self.ends, side="right")  # positive clips up to there
        self.after_starts = np.searchsorted(positive, self.starts, side="right")

    def scores(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ROC-AUC and the average precision, each (r,), for r weightings of the clips, (r, n).

        A weight counts a clip so many times. NaN where no clip, or every clip, has the label.

        Source: the Mann-Whitney statistic with ties as halves; average precision as the sum over thresholds of
        precision times the step of recall.
        """
        ranked = weights[:, self.order]
        everyone = _running(ranked)
        positives = _running(ranked[:, self.positive])
        n_positive = positives[:, -1]
        n_negative = everyone[:, -1] - n_positive
        own = ranked[:, self.positive]
        upto, before = everyone[:, self.ends + 1], everyone[:, self.starts + 1]
        right, right_before = positives[:, self.after_ends], positives[:, self.after_starts]
        wrong, wrong_before = upto - right, before - right_before
        # Negatives below each positive clip, and half of those of its own rank.
        beaten = n_negative[:, None] - (wrong + wrong_before) / 2
        possible = (n_positive > 0) & (n_negative > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            roc_auc = (own * beaten).sum(axis=1) / (n_positive * n_negative)
            precision = np.where(own > 0, own * right / np.maximum(upto, 1e-300), 0).sum(axis=1) / n_positive
        return np.where(possible, roc_auc, np.nan), np.where(possible, precision, np.nan)


def _running(weights: np.ndarray) -> np.ndarray:
    """Return sums (r, n + 1) of the first 0, 1, ... n weights."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1, dtype=np.float64)], axis=1)


def accuracy(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of clips whose likeliest label is their own.

    Args:
        targets: int (n,).
        predicted: (n, k).

    Raises:
        ParameterError: shapes that do not fit, or predictions that are not finite.
    """
    wanted, given = _checked(as_indicators(targets, np.shape(predicted)[-1]), predicted)
    return float(wanted[np.arange(len(given)), given.argmax(axis=1)].mean())


def as_indicators(targets: np.ndarray, n_labels: int) -> np.ndarray:
    """Return targets as bool (n, labels), whether they are that already or one label for each clip, (n,)."""
    targets = np.asarray(targets)
    return targets.astype(bool) if targets.ndim == 2 else targets[:, None] == np.arange(n_labels)


def _checked(targets: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wanted, given = np.asarray(targets), np.asarray(predicted)
    if wanted.ndim != 2 or wanted.shape != given.shape or not len(wanted):
        raise ParameterError(
            f"targets and predictions must both have the shape (clips, labels), got {wanted.shape} and {given.shape}"
        )
    if not np.isfinite(given).all():
        raise ParameterError("predictions must be finite, got NaN or infinity: the training diverged")
    return wanted.astype(bool), given
