"""The checks of restoration by name: each with the recordings that it needs, and the report that it gives."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from masktools.errors import unknown_name
from masktools.evaluation.clips import Clips, read_clips
from masktools.evaluation.report import Report
from masktools.evaluation.restoration_checks.composition import measure_composition
from masktools.evaluation.restoration_checks.cutoffs import measure_cutoffs
from masktools.evaluation.restoration_checks.damage import measure_damage
from masktools.evaluation.restoration_checks.joins import measure_joins
from masktools.evaluation.restoration_checks.native import read_native
from masktools.evaluation.restoration_checks.quiet import measure_quiet
from masktools.evaluation.restoration_checks.seams import measure_gap_fills
from masktools.model import Model
from masktools.pipeline import Progress

__all__ = ["CHECKS", "Checking", "run_check"]

_LONG_S = 24.0  # of clips that have joins


@dataclass(frozen=True)
class Checking:
    """What the checks are run on."""

    source: str | os.PathLike[str]  # a manifest or a folder
    n: int = 8  # recordings, as many of each kind as can be
    split: str = "test"
    seed: int = 0
    octaves_up: int = 0  # by how many octaves recordings are taken for higher ones, where a cutoff is looked for
    progress: Progress | None = field(default=None, compare=False)

    def native(self, octaves_up: int = 0) -> Clips:
        """Return full-band recordings at their own rates."""
        return read_native(self.source, self.n, self.seed, split=self.split, octaves_up=octaves_up)

    def at_rate(self, model: Model, seconds: float = 10.0) -> Clips:
        """Return recordings at the model's rate, some of each kind."""
        return read_clips(
            self.source, model.sample_rate, self.split, seconds, n=self.n, seed=self.seed, min_seconds=seconds
        )


def _cutoffs(checking: Checking, model: Model) -> Report:
    return measure_cutoffs(checking.native(checking.octaves_up), seed=checking.seed, progress=checking.progress)


def _damage(checking: Checking, model: Model) -> Report:
    return measure_damage(checking.native(), checking.seed, progress=checking.progress)


def _gaps(checking: Checking, model: Model) -> Report:
    return measure_gap_fills(checking.native(), model=model, seed=checking.seed, progress=checking.progress)


def _composition(checking: Checking, model: Model) -> Report:
    return measure_composition(checking.at_rate(model), progress=checking.progress)


def _joins(checking: Checking, model: Model) -> Report:
    clips = checking.at_rate(model, _LONG_S)
    return measure_joins(model, clips, seed=checking.seed, progress=checking.progress)


def _quiet(checking: Checking, model: Model) -> Report:
    return measure_quiet(model, checking.at_rate(model), seed=checking.seed, progress=checking.progress)


CHECKS: Mapping[str, Callable[[Checking, Model], Report]] = {
    "cutoffs": _cutoffs,
    "damage": _damage,
    "gaps": _gaps,
    "composition": _composition,
    "joins": _joins,
    "quiet": _quiet,
}
"""What is looked for and what is repaired, each measured beside other rules or methods in the same run."""


def run_check(name: str, checking: Checking, model: Model) -> Report:
    """Return the report of a check.

    Raises:
        ParameterError: an unknown check, or no recordings that it could be run on.
    """
    if name not in CHECKS:
        raise unknown_name("check", name, CHECKS)
    return CHECKS[name](checking, model)
