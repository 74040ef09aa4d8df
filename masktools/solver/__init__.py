"""The general-mask solver: any mask of a token grid, filled by any predictor."""

from masktools.solver.choice import POLICIES
from masktools.solver.config import SolverConfig
from masktools.solver.cost import planned_slots, planned_work
from masktools.solver.decode import solve
from masktools.solver.groups import column_groups, span_groups
from masktools.solver.guidance import Predict, forward_count
from masktools.solver.noise import derive_seed, item_seeds
from masktools.solver.plan import Step, closed_counts, make_plan, remaining_counts
from masktools.solver.presets import PRESETS, SPEEDS, preset
from masktools.solver.recall import RecallingPredict
from masktools.solver.rescoring import Rescore
from masktools.solver.sampling import allow_codes, ban_codes
from masktools.solver.schedules import GUIDANCE_SCHEDULES, SCHEDULES
from masktools.solver.stages import Plan, Session, StagesResult, plan_value, solve_stages, stage_forwards, stage_plan
from masktools.solver.trace import Callback, SolveResult, StepTrace
from masktools.solver.windows import over_windows, solve_windows

__all__ = [
    "GUIDANCE_SCHEDULES",
    "POLICIES",
    "PRESETS",
    "SCHEDULES",
    "SPEEDS",
    "Callback",
    "Plan",
    "Predict",
    "RecallingPredict",
    "Rescore",
    "Session",
    "SolveResult",
    "SolverConfig",
    "StagesResult",
    "Step",
    "StepTrace",
    "allow_codes",
    "ban_codes",
    "closed_counts",
    "column_groups",
    "derive_seed",
    "forward_count",
    "item_seeds",
    "make_plan",
    "over_windows",
    "plan_value",
    "planned_slots",
    "planned_work",
    "preset",
    "remaining_counts",
    "solve",
    "solve_stages",
    "solve_windows",
    "span_groups",
    "stage_forwards",
    "stage_plan",
]
