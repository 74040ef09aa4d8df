"""The plan of a decoding: how many tokens each step leaves masked, how guided and how noisy it is."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch

from masktools.core.arguments import check_least, check_within, checked_name
from masktools.core.errors import ParameterError
from masktools.solver.config import GUIDANCE_SCHEDULES, SCHEDULES, SolverConfig

_COLDEST = 0.01  # token temperature in place of 0: little is left to chance


class Step(NamedTuple):
    """One decoding step of one item, in plain numbers."""

    n_before: int  # masked tokens at the start of the step; masked groups where pace "closed" counts in groups
    n_after: int  # masked ones at its end
    guidance: float  # scale t of Eq. 2
    temperature: float  # scale t_gumbel of the noise in Eq. 3
    token_temperature: float  # divisor of the logits


def remaining_counts(n_unknown: int, n_steps: int, schedule: str = "cosine") -> tuple[int, ...]:
    """Return how many of the unknown tokens stay masked after each step: strictly falling, ending at 0.

    There are min(n_steps, n_unknown) steps, so that each of them accepts at least one token.

    Raises:
        ParameterError: If a number is negative, or the schedule is unknown.

    Source: MaskGIT (arXiv:2202.04200), section 3.3; the list of MAGE wherever both are defined.

    >>> remaining_counts(265, 8)
    (259, 244, 220, 187, 147, 101, 51, 0)
    >>> remaining_counts(3, 16)
    (2, 1, 0)
    """
    curve, total = SCHEDULES[checked_name("schedule", schedule, SCHEDULES)], min(n_steps, n_unknown)
    check_least(0, n_unknown=n_unknown)
    check_least(1, n_steps=n_steps)
    counts, before = [], n_unknown
    for i in range(total):
        wanted = int(n_unknown * curve((i + 1) / total) + 1e-9)
        steps_left = total - 1 - i
        before = 0 if steps_left == 0 else max(steps_left, min(before - 1, wanted))
        counts.append(before)
    return tuple(counts)


def closed_counts(n_units: int, n_steps: int, schedule: str = "cosine") -> tuple[tuple[int, int], ...]:
    """Return (number of the step, units masked after it) of a closed pace; steps that accept nothing are left out.

    A unit is a token, or a group. Step i of n starts from the share of units at i / (n - 1), one at least.

    Raises:
        ParameterError: If a number is negative, or the schedule is unknown.

    Source: MAGNeT (arXiv:2401.04577), section 3.2, in the form of its code. Progress is in single precision there,
        which decides between two counts where the share is a half: 2 / 3 of the way.

    >>> closed_counts(8, 5)
    ((0, 7), (1, 5), (2, 3), (3, 1), (4, 0))
    >>> closed_counts(1, 5)
    ((4, 0),)
    """
    curve = SCHEDULES[checked_name("schedule", schedule, SCHEDULES)]
    check_least(0, n_units=n_units)
    check_least(1, n_steps=n_steps)
    shares = [curve(progress) for progress in torch.linspace(0, 1, n_steps).tolist()[1:]]
    counts = [n_units, *(min(n_units, max(1, int(n_units * share))) for share in shares), 0]
    return tuple((i, counts[i + 1]) for i in range(n_steps) if counts[i + 1] < counts[i])


def guidance_at(progress: float, config: SolverConfig) -> float:
    """Return the guidance scale at a progress in [0, 1]: 0 at the first step, 1 at the last."""
    if config.guidance_interval is not None:
        start, end = config.guidance_interval
        if not start - 1e-9 <= progress <= end + 1e-9:
            return 1.0
    curve = GUIDANCE_SCHEDULES[config.guidance_schedule]
    return curve(progress, config.guidance, config.guidance_min)


@lru_cache(maxsize=4096)
def make_plan(n_unknown: int, n_slots: int, config: SolverConfig, n_units: int | None = None) -> tuple[Step, ...]:
    """Return the steps that decode ``n_unknown`` masked tokens of an item with ``n_slots`` slots.

    The temperature of step i of T is ``temperature * (1 - (i + 1) / T)``: the last step is free of noise.

    Args:
        n_unknown: Masked tokens at the start.
        n_slots: All tokens of the item, known or not.
        config: Settings of the decoding.
        n_units: Number of masked groups, where whole groups are accepted; at most so many steps. With pace "closed"
            the counts of the plan are of groups then.

    Raises:
        ParameterError: If ``config.counts`` does not fit the number of tokens.

    Source: SpecMaskGIT (arXiv:2406.17672), section 3.4, Eq. 2 and 3.
    Differs: the paper writes that the noise is annealed "by a coefficient defined as iter/num_iter", which
        read literally makes it rise. It falls here, as in MAGE, whose code the paper builds on; with
        rising noise the first choices would be the greedy ones that the noise is there to prevent.

    >>> for step in make_plan(2, 2, SolverConfig()):
    ...     print(step)
    Step(n_before=2, n_after=1, guidance=0.0, temperature=0.75, token_temperature=1.0)
    Step(n_before=1, n_after=0, guidance=3.0, temperature=0.0, token_temperature=1.0)
    """
    check_within(f"[0, {n_slots}]", n_unknown=n_unknown)
    if n_unknown == 0:
        return ()
    n_units = n_unknown if n_units is None else n_units
    if config.pace == "closed":
        before, total = n_units, config.n_steps
        ahead = closed_counts(n_units, total, config.schedule)
    else:
        counts = _counts(n_unknown, n_slots, config, n_units)
        before, total = n_unknown, len(counts)
        ahead = [(i, after) for i, after in enumerate(counts) if after < n_unknown][-n_units:]
    plan = []
    for i, after in ahead:  # what is left out keeps its place in the course of guidance and temperature
        step = Step(
            n_before=before,
            n_after=after,
            guidance=guidance_at(_progress(i, total, config), config),
            temperature=config.temperature * (1 - (i + 1) / total),
            token_temperature=_token_temperature(i, total, config),
        )
        plan.append(step)
        before = after
    return tuple(plan)


def _counts(n_unknown: int, n_slots: int, config: SolverConfig, n_units: int) -> tuple[int, ...]:
    """Return how many tokens are masked after each step: of the item, or of the whole grid where it is resumed."""
    resume = config.scaling == "resume"
    start = n_slots if resume else n_unknown
    if config.counts is None:
        return remaining_counts(start, config.n_steps if resume else min(config.n_steps, n_units), config.schedule)
    if config.counts[0] >= start:
        what = "slots of the grid" if resume else "unknown tokens of an item"
        raise ParameterError(f"counts must start below the {start} {what}, got {config.counts[0]}")
    return config.counts


def _progress(number: int, total: int, config: SolverConfig) -> float:
    """Return how far a step is in the course of the guidance; a single step is the end, or the start of a fall."""
    if total > 1:
        return number / (total - 1)
    return 0.0 if config.guidance_schedule == "share_down" else 1.0


def next_step(plan: Sequence[Step], n_left: int) -> int:
    """Return the first step of a plan that leaves fewer tokens masked than there are now.

    >>> next_step(make_plan(10, 10, SolverConfig(n_steps=4)), 6)
    2
    """
    return next(number for number, step in enumerate(plan) if step.n_after < n_left)


def left_ahead(plan: Sequence[Step], number: int, every: int) -> int:
    """Return how many tokens a plan leaves masked before the next step that computes all slots."""
    return plan[min(number - number % every + every, len(plan)) - 1].n_after


def _token_temperature(number: int, total: int, config: SolverConfig) -> float:
    falls = {"none": 1.0, "over_steps": 1 - number / total, "to_zero": (total - 1 - number) / total}
    temperature = config.token_temperature * falls[str(config.token_annealing)]
    return temperature or _COLDEST
