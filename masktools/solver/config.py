"""Settings of the general-mask solver, and its plan: masked tokens, guidance and temperatures of each step."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import pairwise
from operator import index
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from masktools.core.arguments import check_least, check_within, checked_name, checked_real, settle, shown
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError, unknown_name
from masktools.solver.choice import GROUP_SCORES, POLICIES


def _cosine(progress: float) -> float:
    return math.cos(math.pi * progress / 2)


def _arccos(progress: float) -> float:
    return 2 / math.pi * math.acos(progress)


SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "cosine": _cosine,  # MaskGIT, MAGE, SpecMaskGIT
        "arccos": _arccos,
        "linear": lambda progress: 1 - progress,
        "square": lambda progress: 1 - progress**2,
        "cubic": lambda progress: 1 - progress**3,
        "root": lambda progress: 1 - math.sqrt(progress),
    }
)
"""Schedules: share of the unknown tokens that is still masked at a progress in [0, 1]; falls from 1 to 0."""


def _linear_up(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance * progress


def _constant(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance


def _cosine_up(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance * (1 - math.cos(math.pi * progress)) / 2


def _linear_down(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance + (guidance_min - guidance) * progress


def _share_down(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance_min + (guidance - guidance_min) * _cosine(progress)


GUIDANCE_SCHEDULES: Mapping[str, Callable[[float, float, float], float]] = MappingProxyType(
    {
        "linear_up": _linear_up,  # SpecMaskGIT: from 0 to the guidance
        "constant": _constant,
        "cosine": _cosine_up,  # from 0 to the guidance, flat at both ends
        "linear_down": _linear_down,  # from the guidance to guidance_min
        "share_down": _share_down,  # MAGNeT: from the guidance to guidance_min, as the share of masked tokens falls
        "interval": _constant,  # the guidance inside guidance_interval, 1 outside
    }
)
"""Guidance schedules: scale at a progress in [0, 1], given the guidance and the least guidance."""


SCALINGS = ("relative", "resume")
PACES = ("share", "closed")
ANNEALINGS = ("none", "over_steps", "to_zero")
CONFIDENCES = ("drawn", "whole")
CACHE_SCOPES = ("masked", "chosen")
_ONE_BY_ONE = 1 << 20  # steps; more than any grid has positions: one token per step
_COUNT, _FROM_0 = f"[1, {_ONE_BY_ONE}]", "[0, inf)"


@dataclass(frozen=True)
class SolverConfig:
    """Settings of one decoding. The defaults are those of SpecMaskGIT for text-to-audio.

    Attributes:
        n_steps: decoding steps, at least 1. An item with fewer unknown tokens takes one step per token.
        schedule: curve of the number of masked tokens, a name in ``SCHEDULES``.
        pace: how the schedule is sampled. ``share`` (MaskGIT): step i of n leaves the share at (i + 1) / n. ``closed``
            (MAGNeT): step i starts from the share at i / (n - 1), at least one unit, where units are tokens or
            groups, and accepts all but those that the next one starts from; steps that would accept nothing are left
            out.
        temperature: scale of the Gumbel noise in the choice of positions at the start, 0 or more; it
            falls linearly to 0 at the last step.
        guidance: scale of classifier-free guidance, 0 or more: 0 is unconditional, 1 conditional.
        guidance_schedule: course of the guidance, a name in ``GUIDANCE_SCHEDULES``.
        guidance_interval: share of the decoding, (start, end) within [0, 1], outside which the
            guidance is 1; None guides everywhere.
        guidance_min: guidance at the last step of ``linear_down`` and ``share_down``, 0 or more.
        policy: rule that chooses which positions are accepted, a name in ``POLICIES``.
        token_temperature: divisor of the logits that tokens are drawn from, above 0. It changes the
            confidence too.
        token_annealing: course of the token temperature: ``none``; ``over_steps``, linearly to
            token_temperature / n_steps; or ``to_zero``, linearly to 0.01 at the last step. False stands for ``none``,
            True for ``over_steps``.
        top_k: number of most likely codes that a token is drawn from, at least 1; None takes all.
        top_p: share of probability that a token is drawn from, in (0, 1]; None takes all.
        revocation: share of the accepted tokens, in [0, 1), that every step but the last re-masks in
            exchange for as many others. Known tokens are never re-masked.
        confidence: probability that a drawn token is ranked by: ``drawn``, that of the truncated distribution that
            it was drawn from; or ``whole``, that before top_k and top_p.
        overlap: length of the spans that stay masked, in columns, each beginning at any column: the spans of least
            confidence, as many as their union needs to come near the count. 0 has no such spans. For grids of one row,
            without groups, and with the policy ``confidence``.
        rescore_weight: share in [0, 1] of an external model's probability in the confidence of a drawn token, where
            ``solve`` has such a model.
        prior_start: share in [0, 1) of a window that a causal model writes first, column by
            column, where nothing before it is known; for models with such a prior.
        scaling: ``relative`` spends all steps on the unknown tokens; ``resume`` enters the schedule of
            the whole grid at the point where as many tokens are left.
        counts: number of masked tokens left after each step, strictly falling to 0, instead of
            ``n_steps`` and ``schedule``. With ``resume`` it describes the whole grid.
        deterministic_batch: whether the predictor is asked for one item at a time, so that an item's
            logits cannot depend on the size of its batch.
        group_score: aggregation of the scores in a group: ``mean``, ``max`` or ``sum``.
        entropy_bound: bound in nats, 0 or more: a step accepts more than its count where the entropies of the
            accepted tokens, without the largest, sum up to no more than this, and superfluous steps are left
            out. None accepts the count. Not together with groups.
        cache_every: interval of the steps in which the predictor computes all positions; in the steps between it
            recalls known positions, and computes the others and those that have changed. 1 computes all positions in
            every step, which is exact; above 1 the predictor must have a cache, see ``RecallingPredict``.
        cache_scope: positions that the steps between compute: ``masked``, all that are still masked; or ``chosen``,
            only
            those that the last full step has chosen for them. ``chosen`` goes without groups, revocation and
            entropy_bound.

    Raises:
        ParameterError: a value lies outside its range, or a name is unknown.

    Source: SpecMaskGIT (arXiv:2406.17672), sections 3.4 and 4; MAGNeT (arXiv:2401.04577), sections 3.2 to 3.4, for
        pace, guidance, spans and rescoring; section 3.5 for the start by a causal model.
    """

    n_steps: int = ranged(16, _COUNT)
    schedule: str = ranged("cosine", SCHEDULES)
    pace: str = ranged("share", PACES)
    temperature: float = ranged(1.5, _FROM_0)
    guidance: float = ranged(3.0, _FROM_0)
    guidance_schedule: str = ranged("linear_up", GUIDANCE_SCHEDULES)
    guidance_interval: tuple[float, float] | None = None
    guidance_min: float = ranged(1.0, _FROM_0)
    policy: str = ranged("confidence", POLICIES)
    token_temperature: float = ranged(1.0, "(0, inf)")
    token_annealing: str | bool = ranged("none", ANNEALINGS)
    top_k: int | None = ranged(None, _COUNT)
    top_p: float | None = ranged(None, "(0, 1]")
    confidence: str = ranged("drawn", CONFIDENCES)
    overlap: int = ranged(0, _FROM_0)
    rescore_weight: float = ranged(0.7, "[0, 1]")
    prior_start: float = ranged(0.0, "[0, 1)")
    revocation: float = ranged(0.0, "[0, 1)")
    scaling: str = ranged("relative", SCALINGS)
    counts: tuple[int, ...] | None = None
    deterministic_batch: bool = False
    group_score: str = ranged("mean", GROUP_SCORES)
    entropy_bound: float | None = ranged(None, _FROM_0, "nats")
    cache_every: int = ranged(1, _COUNT)
    cache_scope: str = ranged("masked", CACHE_SCOPES)

    def __post_init__(self) -> None:
        if isinstance(self.token_annealing, bool):  # bundles of format 1
            object.__setattr__(self, "token_annealing", "over_steps" if self.token_annealing else "none")
        settle(self)
        self._settle_interval()
        self._settle_counts()
        if self.pace == "closed" and (self.counts is not None or self.scaling != "relative"):
            raise ParameterError(
                "pace 'closed' follows the schedule over the unknown tokens: it goes without counts and with scaling "
                f"'relative', got {self.counts} and {self.scaling!r}"
            )
        varies = self.revocation > 0 or self.entropy_bound is not None
        if self.overlap and (self.policy != "confidence" or varies or self.chooses_ahead):
            raise ParameterError(
                "overlap needs the policy 'confidence', and goes without revocation, entropy_bound and cache_scope "
                f"'chosen'; got {self.policy!r}, {self.revocation:g}, {self.entropy_bound} and {self.cache_scope!r}"
            )
        if self.chooses_ahead and varies:
            raise ParameterError(
                "cache_scope 'chosen' fixes ahead what is accepted, and goes without revocation and entropy_bound: "
                f"got {self.revocation:g} and {self.entropy_bound}; use cache_scope='masked'"
            )

    def _settle_interval(self) -> None:
        if self.guidance_interval is None:
            if self.guidance_schedule == "interval":
                raise ParameterError(
                    "guidance_schedule 'interval' needs guidance_interval, such as (0.2, 0.8); got None"
                )
            return
        edges = (
            self.guidance_interval if isinstance(self.guidance_interval, list | tuple) else (self.guidance_interval,)
        )
        interval = tuple(checked_real("guidance_interval", edge) for edge in edges)
        if len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1:
            raise ParameterError(f"guidance_interval must be (start, end) with 0 <= start <= end <= 1, got {interval}")
        object.__setattr__(self, "guidance_interval", interval)

    def _settle_counts(self) -> None:
        if self.counts is None:
            return
        try:
            counts = tuple(index(count) for count in self.counts)
        except TypeError:
            raise ParameterError(f"counts must be integers, got {shown(self.counts)}") from None
        falling = all(after < before for before, after in pairwise(counts))
        if not counts or counts[-1] != 0 or not falling:
            raise ParameterError(f"counts must fall strictly and end at 0, got {counts}")
        object.__setattr__(self, "counts", counts)

    @property
    def chooses_ahead(self) -> bool:
        """Whether full steps choose the positions that the steps between them accept."""
        return self.cache_every > 1 and self.cache_scope == "chosen"


PRESETS: Mapping[str, SolverConfig] = MappingProxyType(
    {
        "paper": SolverConfig(),
        "fast8": SolverConfig(n_steps=8),
        "quality32": SolverConfig(n_steps=32, policy="halton"),
        # One token per step in random order samples exactly from the predictor's distribution.
        "unbiased": SolverConfig(
            n_steps=_ONE_BY_ONE, policy="random", temperature=0.0, guidance=1.0, guidance_schedule="constant"
        ),
        "mage": SolverConfig(n_steps=20, temperature=6.0, guidance=1.0, guidance_schedule="constant"),
        # MAGNeT's settings for a stage of 20 steps; use them with ``span_groups``, as it accepts spans of three tokens.
        "magnet": SolverConfig(
            n_steps=20,
            pace="closed",
            temperature=0.0,
            guidance=10.0,
            guidance_schedule="share_down",
            token_temperature=3.0,
            token_annealing="to_zero",  # noqa: S106 - a name, no password
            top_p=0.9,
            confidence="whole",
            group_score="max",
        ),
    }
)
"""Presets: settings by name."""

SPEEDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "exact": MappingProxyType({}),
        "fast": MappingProxyType(dict(cache_every=4, cache_scope="chosen")),
        "draft": MappingProxyType(dict(n_steps=8, cache_every=4, cache_scope="chosen")),
    }
)
"""Speed presets: changes to a model's settings for a job, from the slowest to the fastest; none makes it slower."""

_PAPER = SolverConfig()


def preset(name: str, own: SolverConfig = _PAPER) -> SolverConfig:
    """Return the settings of that name.

    Args:
        name: one of ``PRESETS``, which are the same for all models, or of ``SPEEDS``, which change a model's own; or
            single settings, as ``policy=halton``; or several of these, separated by commas, of which the later ones are
            applied first.
        own: base of a name of ``SPEEDS``, or of a single setting.

    Raises:
        ParameterError: an unknown preset, in which case the message lists them; or an unknown setting.

    >>> preset("draft", SolverConfig(temperature=3.0)).temperature
    3.0
    >>> preset("fast,rescore_weight=0.35").rescore_weight
    0.35
    """
    if "," in name or "=" in name:
        for word in name.split(","):
            own = _changed(word, own) if "=" in word else preset(word.strip(), own)
        return own
    if name in SPEEDS:
        return replace(own, **_fitting(SPEEDS[name], own))
    if name not in PRESETS:
        raise unknown_name("preset", name, (*PRESETS, *SPEEDS))
    return PRESETS[name]


_WORDS: Mapping[str, Any] = MappingProxyType({"null": None, "none": None, "true": True, "false": False})


def _changed(pair: str, own: SolverConfig) -> SolverConfig:
    """Return settings with one change: ``name=value``, a number, null, true, false or a name."""
    key, _, text = (part.strip() for part in pair.partition("="))
    checked_name("setting of the decoding", key, [field.name for field in fields(SolverConfig)])
    value: Any = _WORDS.get(text.lower(), text)
    for kind in (float, int):
        with suppress(ValueError, TypeError):
            value = kind(text)
    return replace(own, **{key: value})


def _fitting(changes: Mapping[str, Any], own: SolverConfig) -> dict[str, Any]:
    """Return the changes that fit a model's own settings, and add no step to them."""
    fitting = dict(changes)
    if "n_steps" in fitting:
        if (own.n_steps if own.counts is None else len(own.counts)) <= fitting["n_steps"]:
            del fitting["n_steps"]
        else:
            fitting["counts"] = None  # they would override the number of steps
    if "cache_scope" in fitting and (own.revocation > 0 or own.entropy_bound is not None):
        fitting["cache_scope"] = "masked"  # with it the accepted positions are not known in advance
    return fitting


_COLDEST = 0.01  # token temperature instead of 0: nearly greedy


class Step(NamedTuple):
    """One decoding step of one item, in plain numbers."""

    n_before: int  # masked tokens at the start of the step; masked groups where pace "closed" counts groups
    n_after: int  # masked tokens or groups at its end
    guidance: float  # scale t of Eq. 2
    temperature: float  # scale t_gumbel of the noise in Eq. 3
    token_temperature: float  # divisor of the logits


def remaining_counts(n_unknown: int, n_steps: int, schedule: str = "cosine") -> tuple[int, ...]:
    """Return the number of masked tokens after each step: strictly falling, ending at 0.

    There are min(n_steps, n_unknown) steps, so that each of them accepts at least one token.

    Raises:
        ParameterError: a number is negative, or the schedule is unknown.

    Source: MaskGIT (arXiv:2202.04200), section 3.3; equal to the list of MAGE wherever both are defined.

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

    A unit is a token, or a group. Step i of n starts from the share of units at i / (n - 1), at least one.

    Raises:
        ParameterError: a number is negative, or the schedule is unknown.

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
    """Return the guidance scale at a progress in [0, 1], which is 0 at the first step and 1 at the last."""
    if config.guidance_interval is not None:
        start, end = config.guidance_interval
        if not start - 1e-9 <= progress <= end + 1e-9:
            return 1.0
    curve = GUIDANCE_SCHEDULES[config.guidance_schedule]
    return curve(progress, config.guidance, config.guidance_min)


@lru_cache(maxsize=4096)
def make_plan(n_unknown: int, n_slots: int, config: SolverConfig, n_units: int | None = None) -> tuple[Step, ...]:
    """Return the steps that decode ``n_unknown`` masked tokens of an item with ``n_slots`` positions.

    The temperature of step i of T is ``temperature * (1 - (i + 1) / T)``: the last step is without noise.

    Args:
        n_unknown: number of masked tokens at the start.
        n_slots: number of all tokens of the item, known or not.
        config: settings of the decoding.
        n_units: number of masked groups, where whole groups are accepted; it bounds the number of steps. With pace
            "closed" the counts of the plan are of groups then.

    Raises:
        ParameterError: ``config.counts`` does not fit the number of tokens.

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
    for i, after in ahead:  # guidance and temperature are those of the step's number, even where steps are left out
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
    """Return the number of masked tokens after each step: of the item, or of the whole grid with ``resume``."""
    resume = config.scaling == "resume"
    start = n_slots if resume else n_unknown
    if config.counts is None:
        return remaining_counts(start, config.n_steps if resume else min(config.n_steps, n_units), config.schedule)
    if config.counts[0] >= start:
        what = "slots of the grid" if resume else "unknown tokens of an item"
        raise ParameterError(f"counts must start below the {start} {what}, got {config.counts[0]}")
    return config.counts


def _progress(number: int, total: int, config: SolverConfig) -> float:
    """Return the progress of a step for the guidance; a single step is the end, or the start of a falling schedule."""
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
    """Return the number of tokens that are masked when the next step computes all positions."""
    return plan[min(number - number % every + every, len(plan)) - 1].n_after


def _token_temperature(number: int, total: int, config: SolverConfig) -> float:
    falls = {"none": 1.0, "over_steps": 1 - number / total, "to_zero": (total - 1 - number) / total}
    temperature = config.token_temperature * falls[str(config.token_annealing)]
    return temperature or _COLDEST
