"""What a probe found: scores over seeds with their intervals, the sweep of layers, and how it was done."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from probes.intervals import Interval


@dataclass(frozen=True)
class Score:
    """A score over seeds, as a share of 1."""

    mean: float
    std: float | None  # over seeds, with n - 1; None for one seed
    by_seed: tuple[float, ...]
    over_clips: Interval | None = None  # where clips of the test are resampled
    over_groups: Interval | None = None  # where groups of them are, if they are known

    @classmethod
    def of(cls, by_seed: Any, over_clips: Interval | None = None, over_groups: Interval | None = None) -> "Score":
        """Return the score of one number for each seed."""
        values = np.asarray(by_seed, np.float64)
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        return cls(float(values.mean()), std, tuple(map(float, values)), over_clips, over_groups)


@dataclass(frozen=True)
class LayerResult:
    """How one layer did: on the validation split, which chooses, and on the test, which is told only."""

    round: str
    layer: str
    valid: float  # what chooses: macro ROC-AUC, or accuracy where each clip has one label; mean over seeds
    test: dict[str, float]  # mean over seeds


@dataclass(frozen=True)
class LabelResult:
    """How one label was predicted, over rounds and seeds; NaN is written as null."""

    label: str
    n_positive: int  # clips of the test that have it
    roc_auc: float | None
    average_precision: float | None


@dataclass(frozen=True)
class ProbeResult:
    """One row of a table: what was probed, how, and what came out."""

    name: str
    data: str
    preset: str
    layers: tuple[str, ...]  # chosen on the validation split, one for each round
    scores: dict[str, Score]  # roc_auc, average_precision and, where each clip has one label, accuracy
    sweep: tuple[LayerResult, ...]
    labels: tuple[LabelResult, ...]
    n_train: int
    n_valid: int
    n_test: int  # of all rounds together
    n_scored: int  # labels that every round could score
    left_out: tuple[dict[str, str], ...]  # clips without vectors, and why
    protocol: dict[str, Any]  # how it was done

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return asdict(self)
