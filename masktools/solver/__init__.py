"""The general-mask solver: any mask of a token grid, filled by any predictor."""

from masktools.solver.choice import POLICIES, column_groups, span_groups
from masktools.solver.config import GUIDANCE_SCHEDULES, PRESETS, SCHEDULES, SPEEDS, SolverConfig, preset
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
from masktools.solver.noise import derive_seed, item_seeds
from masktools.solver.plan import Step, closed_counts, make_plan, remaining_counts
from masktools.solver.prediction import Predict, RecallingPredict, Rescore, forward_count, planned_slots, planned_work
from masktools.solver.request import Callback, SolveResult, StepTrace

__all__ = [
    "GUIDANCE_SCHEDULES", "POLICIES", "PRESETS", "SCHEDULES", "SPEEDS", "Callback", "Plan", "Predict",
    "RecallingPredict", "Rescore", "Session", "SolveResult", "SolverConfig", "StagesResult", "Step", "StepTrace",
    "closed_counts", "column_groups", "derive_seed", "forward_count", "item_seeds", "make_plan", "over_windows",
    "plan_value", "planned_slots", "planned_work", "preset", "remaining_counts", "solve", "solve_stages",
    "span_groups", "stage_forwards", "stage_plan",
]  # fmt: skip
