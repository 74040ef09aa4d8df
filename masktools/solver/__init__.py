"""The general-mask solver: any mask of a token grid, filled by any predictor."""

from masktools.solver.choice import (
    POLICIES,
    candidate_seeds,
    column_groups,
    derive_seed,
    item_seeds,
    span_groups,
)
from masktools.solver.config import (
    GUIDANCE_SCHEDULES,
    PRESETS,
    SCHEDULES,
    SPEEDS,
    SolverConfig,
    Step,
    closed_counts,
    make_plan,
    preset,
    remaining_counts,
)
from masktools.solver.decode import (
    Plan,
    Session,
    StagesResult,
    over_windows,
    plan_value,
    solve,
    solve_stages,
    stage_forwards,
    stage_plan,
)
from masktools.solver.request import Callback, Predict, RecallingPredict, Rescore, SolveResult, StepTrace, forward_count

__all__ = [
    "GUIDANCE_SCHEDULES", "POLICIES", "PRESETS", "SCHEDULES", "SPEEDS", "Callback", "Plan", "Predict",
    "RecallingPredict", "Rescore", "Session", "SolveResult", "SolverConfig", "StagesResult", "Step", "StepTrace",
    "candidate_seeds", "closed_counts", "column_groups", "derive_seed", "forward_count", "item_seeds", "make_plan",
    "over_windows", "plan_value", "preset", "remaining_counts", "solve", "solve_stages", "span_groups",
    "stage_forwards", "stage_plan",
]  # fmt: skip
