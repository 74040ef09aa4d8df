"""The cost of a decoding by formula: positions that its plan computes, and full forwards."""

from collections.abc import Sequence

from masktools.solver import POLICIES, SolverConfig, Step, make_plan
from masktools.solver.config import left_ahead
from masktools.solver.request import needed_passes


def planned_slots(plan: Sequence[Step], n_slots: int, config: SolverConfig, conditional: bool = True) -> int:
    """Return how many slots the predictor computes for one item, in all passes of all steps.

    Without revocation, groups and entropy_bound it is exact; entropy_bound makes it fewer.

    Args:
        plan: Plan of the item.
        n_slots: All tokens of the item, known or not.
        config: Settings of the decoding.
        conditional: Whether the item has a condition.
    """
    total, changed, met = 0, [0, 0], [False, False]
    for number, step in enumerate(plan):
        full = number % config.cache_every == 0
        for which, needed in enumerate(needed_passes(step.guidance if conditional else 0.0)):
            if needed:
                recalled = met[which] and not full
                total += _wanted(plan, number, config) + changed[which] if recalled else n_slots
                changed[which], met[which] = 0, True
        changed = [count + step.n_before - step.n_after for count in changed]
    return total


def planned_work(n_unknown: int, n_slots: int, config: SolverConfig, conditional: bool = True) -> float:
    """Return how many full forwards the decoding of an item costs: slots computed over the slots that it has.

    >>> planned_work(265, 265, SolverConfig())
    30.0
    >>> round(planned_work(50, 265, SolverConfig(cache_every=4), conditional=False), 2)
    5.56
    """
    return planned_slots(make_plan(n_unknown, n_slots, config), n_slots, config, conditional) / n_slots


def _wanted(plan: Sequence[Step], number: int, config: SolverConfig) -> int:
    """Return how many masked slots a step between full ones computes."""
    step = plan[number]
    if not config.chooses_ahead:
        return step.n_before
    if POLICIES[config.policy].reads == "order":
        return step.n_before - step.n_after
    return step.n_before - left_ahead(plan, number, config.cache_every)
