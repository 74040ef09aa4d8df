"""Stages: several grids of tokens, decoded one after the other, each by a predictor that knows those before.

Token streams of a residual quantiser are stages, and so are scales; a single grid is one stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from masktools.errors import ParameterError
from masktools.solver.config import SolverConfig
from masktools.solver.decode import solve
from masktools.solver.guidance import Predict, forward_count
from masktools.solver.noise import as_seeds, derive_seed
from masktools.solver.plan import make_plan
from masktools.solver.rescoring import Rescore
from masktools.solver.trace import SolveResult, StepTrace

__all__ = ["Plan", "Session", "StagesResult", "plan_value", "solve_stages", "stage_forwards", "stage_plan"]

Plan = SolverConfig | tuple[SolverConfig, ...]
"""Settings of a decoding: one for all stages, or one for each."""


@runtime_checkable
class Session(Protocol):
    """One decoding of one batch by a model: what it keeps lives here, and never in its modules."""

    def predictor(self, stage: int, decided: Sequence[Tensor]) -> Predict:
        """Return the predictor of a stage.

        Args:
            stage: Number of the stage, from 0.
            decided: Complete tokens (b, r, w) of every stage before it.
        """
        ...

    def rescorer(self, stage: int, decided: Sequence[Tensor]) -> Rescore | None:
        """Return the external model of a stage, None for none."""
        ...


@dataclass(frozen=True)
class StagesResult:
    """The outcome of all stages.

    Attributes:
        stages: The result of each stage.
    """

    stages: tuple[SolveResult, ...]

    @property
    def tokens(self) -> tuple[Tensor, ...]:
        """Complete tokens (b, r, w) of each stage."""
        return tuple(result.tokens for result in self.stages)

    @property
    def trace(self) -> tuple[StepTrace, ...]:
        """The records of all steps, in order."""
        return tuple(record for result in self.stages for record in result.trace)

    @property
    def n_forwards(self) -> int:
        """Calls of the predictors in all steps of all stages."""
        return sum(result.n_forwards for result in self.stages)


def plan_value(plan: Plan, name: str) -> Any:
    """Return a setting of a decoding: the value, where all stages have the same, or else a list, one for each.

    >>> plan_value((SolverConfig(n_steps=20), SolverConfig(n_steps=10)), "n_steps")
    [20, 10]
    """
    values = [getattr(config, name) for config in stage_plan(plan, 1 if isinstance(plan, SolverConfig) else len(plan))]
    return values[0] if all(value == values[0] for value in values) else values


def stage_plan(plan: SolverConfig | Sequence[SolverConfig], n_stages: int) -> tuple[SolverConfig, ...]:
    """Return the settings of each stage: one for all, or one for each.

    Raises:
        ParameterError: If there are settings for another number of stages.
    """
    configs = (plan,) * n_stages if isinstance(plan, SolverConfig) else tuple(plan)
    if len(configs) != n_stages:
        raise ParameterError(f"settings must be one for all stages or one for each of {n_stages}, got {len(configs)}")
    return configs


def stage_forwards(plan: Sequence[SolverConfig], n_units: int, conditional: bool = True) -> int:
    """Return how often the predictors are called where every stage is a row of so many unknown units.

    >>> base = dict(pace="closed", guidance=10.0, guidance_schedule="share_down")
    >>> stage_forwards([SolverConfig(n_steps=n, **base) for n in (20, 10, 10, 10)], 166)
    96
    """
    return sum(forward_count(make_plan(n_units, n_units, config), conditional) for config in plan)


def solve_stages(
    session: Session,
    grids: Sequence[Tensor],
    masks: Sequence[Tensor],
    seeds: Sequence[int] | Tensor,
    plan: SolverConfig | Sequence[SolverConfig],
    use_condition: Sequence[bool] | Tensor | None = None,
    groups: Sequence[Tensor | None] | None = None,
) -> StagesResult:
    """Fill the grids of all stages in order; known tokens come back as they are.

    Stage 0 has the seeds as they are, so that one stage is ``solve``, bit for bit; stage k has seeds derived from them.

    Args:
        session: Gives the predictor of each stage.
        grids: Integers (b, r, w) of each stage. Values under the mask are never read.
        masks: Booleans (b, r, w) of each stage, True where a token must be predicted.
        seeds: One integer per item.
        plan: Settings of the decoding, one for all stages or one for each.
        use_condition: As for ``solve``.
        groups: As for ``solve``, for each stage.

    Raises:
        ParameterError: As ``solve``, or if there are other numbers of grids, masks, groups and settings.
    """
    configs = stage_plan(plan, len(grids))
    if len(masks) != len(grids) or (groups is not None and len(groups) != len(grids)):
        n_groups = "" if groups is None else f" and {len(groups)} groups"
        raise ParameterError(f"each stage needs its mask, got {len(grids)} grids, {len(masks)} masks{n_groups}")
    words = as_seeds(seeds).tolist()
    results: list[SolveResult] = []
    for stage, (grid, mask, config) in enumerate(zip(grids, masks, configs, strict=True)):
        decided = [result.tokens for result in results]
        result = solve(
            session.predictor(stage, decided),
            grid,
            mask,
            words if stage == 0 else [derive_seed(word, stage) for word in words],
            config,
            use_condition=use_condition,
            groups=None if groups is None else groups[stage],
            rescore=session.rescorer(stage, decided),
        )
        results.append(result)
    return StagesResult(tuple(results))
