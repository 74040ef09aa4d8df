"""Fill any mask of a token grid with any predictor: long grids window by window, several grids stage by stage.

Token streams of a residual quantiser are stages, and so are scales; a single grid is one stage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from masktools.core.arguments import check_within
from masktools.core.errors import ParameterError
from masktools.core.shapes import unflatten
from masktools.solver.choice import as_seeds, derive_seed
from masktools.solver.config import SolverConfig, Step, left_ahead, make_plan, next_step
from masktools.solver.request import (
    Callback,
    Memory,
    Predict,
    Request,
    Rescore,
    SolveResult,
    StepTrace,
    check_remembers,
    check_request,
    forward_count,
)
from masktools.solver.step import Canvas, Job, reading_order, take_step

_PAPER = SolverConfig()


@torch.no_grad()
def solve(
    predict: Predict,
    tokens: Tensor,
    mask: Tensor,
    seeds: Sequence[int] | Tensor,
    config: SolverConfig = _PAPER,
    use_condition: Sequence[bool] | Tensor | None = None,
    groups: Tensor | None = None,
    logit_bias: Tensor | None = None,
    callback: Callback | None = None,
    rescore: Rescore | None = None,
) -> SolveResult:
    """Fill the masked positions of a batch of token grids; known tokens are returned unchanged.

    Text-to-audio, gap filling and bandwidth extension are this one call with a full mask, masked columns
    and masked rows. Each item has its own mask, number of steps and seed; a completed item is no
    longer predicted, and an item without masked positions never is.

    Args:
        predict: function of (tokens (a, n), mask (a, n), items (a,), conditional) to logits (a, n, k), with
            n time-major and ``items`` the index of each row in this batch. It must be a
            ``RecallingPredict`` where ``config.cache_every`` is above 1.
        tokens: integers (b, r, w). Values under the mask are not read.
        mask: booleans (b, r, w), True where a token must be predicted.
        seeds: one integer per item. The same seed gives the same result in any batch and on any device, as
            far as the predictor does; see ``item_seeds``.
        config: settings of the decoding.
        use_condition: one boolean per item, False for an item that has no condition and costs no conditional
            pass; None stands for True throughout.
        groups: integer labels (r, w) or (b, r, w); positions with the same label are accepted together. The counts
            of the plan are then met to the nearest group; those of pace "closed" are of groups, and met exactly.
        logit_bias: added to the guided logits: (k,), (b, k) or (b, n, k); -inf bans a code.
        callback: called after each step; if it returns False the rest is filled in one step.
        rescore: an external model whose probabilities are mixed into the confidence of drawn tokens, called once in
            every step but the last, unless its weight is 0; with the policy ``confidence`` only.

    Returns:
        The complete tokens (b, r, w) and one record per step.

    Raises:
        ParameterError: an argument has a wrong shape, type or range, or the predictor returns something
            else than logits.
        MasktoolsError: logits hold NaN or plus infinity.

    Source: SpecMaskGIT (arXiv:2406.17672), section 3.4; MaskGIT (arXiv:2202.04200), section 3.3.

    >>> tokens, mask = torch.tensor([[[3, 0, 1]]]), torch.tensor([[[False, True, False]]])
    >>> def predict(tokens, mask, items, conditional):
    ...     return 50.0 * torch.nn.functional.one_hot(torch.full_like(tokens, 2), 4)
    >>> solve(predict, tokens, mask, seeds=[0]).tokens
    tensor([[[3, 2, 1]]])
    """
    request = check_request(tokens, mask, seeds, use_condition, groups, config.group_score, logit_bias)
    if config.rescore_weight == 0:
        rescore = None
    _check_together(predict, request, config, rescore)
    memory = Memory(request.mask) if config.cache_every > 1 else None
    log_p = torch.zeros(request.mask.shape, device=tokens.device)
    canvas = Canvas(request.tokens.clone(), request.mask.clone(), log_p, memory)
    job = Job(predict, config, request, reading_order(config.policy, request), rescore)
    plans = _plans(request, config)
    total = max(map(len, plans), default=0)
    left = request.mask.sum(dim=1).tolist()
    trace: list[StepTrace] = []
    for number in range(total):
        active = [item for item, n_left in enumerate(left) if n_left]
        if not active:
            break
        places = [number if config.entropy_bound is None else next_step(plans[item], left[item]) for item in active]
        steps = [plans[item][place] for item, place in zip(active, places, strict=True)]
        n_later = [len(plans[item]) - 1 - place for item, place in zip(active, places, strict=True)]
        n_ahead = [left_ahead(plans[item], number, config.cache_every) for item in active]
        record = take_step(job, canvas, number, active, steps, n_later, n_ahead)
        trace.append(record)
        for item, n_left in zip(record.items, record.n_after, strict=True):
            left[item] = n_left
        if callback is not None and _asks_to_stop(callback, total, canvas, request, record):
            rest = [item for item, n_left in enumerate(left) if n_left]
            if rest:
                steps, none = [plans[item][-1] for item in rest], [0] * len(rest)
                trace.append(take_step(job, canvas, number + 1, rest, steps, none, none, filled=True))
            break
    complete = unflatten(canvas.tokens, request.n_rows).to(tokens.dtype)
    return SolveResult(complete.contiguous(), tuple(trace))


def _check_together(predict: Predict, request: Request, config: SolverConfig, rescore: Rescore | None) -> None:
    check_remembers(predict, config.cache_every)
    if config.prior_start:
        raise ParameterError(f"prior_start needs a model with a causal prior, got {config.prior_start:g} without one")
    if request.groups is not None and (config.chooses_ahead or config.entropy_bound is not None):
        raise ParameterError(
            "groups must go without entropy_bound and without cache_scope 'chosen', which count slots; "
            f"got {config.entropy_bound} and {config.cache_scope!r}"
        )
    if request.groups is not None and config.pace == "closed" and config.revocation > 0:
        raise ParameterError(
            f"groups must go without revocation where pace 'closed' counts them, got {config.revocation:g}"
        )
    if config.overlap and (request.groups is not None or request.n_rows != 1):
        what = "groups" if request.groups is not None else f"{request.n_rows} rows"
        raise ParameterError(f"overlap needs grids of one row and no groups, got {what}: use overlap=0")
    if rescore is not None and (config.policy != "confidence" or config.chooses_ahead):
        raise ParameterError(
            "rescore needs the policy 'confidence' and no cache_scope 'chosen', "
            f"got {config.policy!r} and {config.cache_scope!r}"
        )


def _plans(request: Request, config: SolverConfig) -> list[tuple[Step, ...]]:
    """Return the plan of each item; items with as many unknown tokens share a plan."""
    n_slots = request.mask.shape[1]
    n_units: list[int | None] = [None] * len(request.mask)
    if request.groups is not None:
        n_units = (request.groups.sizes(request.mask) > 0).sum(dim=1).tolist()
    counts = request.mask.sum(dim=1).tolist()
    return [make_plan(count, n_slots, config, units) for count, units in zip(counts, n_units, strict=True)]


def _asks_to_stop(callback: Callback, total: int, canvas: Canvas, request: Request, record: StepTrace) -> bool:
    """Return whether the callback, called with copies of the tokens and masks, asks for an early stop."""
    tokens = unflatten(canvas.tokens, request.n_rows).to(request.dtype).clone()
    mask = unflatten(canvas.mask, request.n_rows).clone()
    return callback(record.step, total, tokens, mask, record) is False


Fill = Callable[[slice, Tensor, Tensor, list[int]], tuple[Tensor, Sequence[StepTrace]]]
"""Function of (columns, tokens (b, r, w), mask (b, r, w), seeds) to complete tokens (b, r, w) and their trace."""


def window_starts(n_cols: int, window_cols: int, overlap_cols: int) -> tuple[int, ...]:
    """Return the first columns of windows that cover a grid; the last one ends at the end of the grid.

    Raises:
        ParameterError: the overlap does not lie in [0, window_cols).

    >>> window_starts(100, 53, 8)
    (0, 45, 47)
    """
    check_within(f"[0, {window_cols})", overlap_cols=overlap_cols)
    last = max(0, n_cols - window_cols)
    return (*range(0, last, window_cols - overlap_cols), last)


def over_windows(
    fill: Fill,
    tokens: Tensor,
    mask: Tensor,
    seeds: Sequence[int] | Tensor,
    window_cols: int,
    overlap_cols: int,
) -> SolveResult:
    """Fill a mask of any width with a function that fills windows, from left to right.

    No token is decided twice: the tokens that a window has filled are known in the next one.

    Args:
        fill: function that fills a window; the first window has the seeds as given, others seeds derived from them.
        tokens: integers (b, r, w) of any width.
        mask: booleans (b, r, w), True where a token must be predicted.
        seeds: one integer per item.
        window_cols: columns of a window; a narrower grid is one window.
        overlap_cols: columns that adjacent windows share, in [0, window_cols).

    Raises:
        ParameterError: windows that do not overlap as needed.
    """
    starts = window_starts(tokens.shape[-1], window_cols, overlap_cols)
    filled, left = tokens.clone(), mask.clone()
    words = as_seeds(seeds).tolist()
    trace: list[StepTrace] = []
    for start in starts:
        stop = min(start + window_cols, tokens.shape[-1])
        own = left[..., start:stop].clone()
        derived = words if start == 0 else [derive_seed(word, start) for word in words]
        done, records = fill(slice(start, stop), filled[..., start:stop], own, derived)
        filled[..., start:stop] = done
        left[..., start:stop] = False
        trace += records
    return SolveResult(torch.where(mask, filled, tokens), tuple(trace))


Plan = SolverConfig | tuple[SolverConfig, ...]
"""Settings of a decoding: one for all stages, or one for each."""


@runtime_checkable
class Session(Protocol):
    """One decoding of one batch by a model: it holds the state, which the modules of the model do not."""

    def predictor(self, stage: int, decided: Sequence[Tensor]) -> Predict:
        """Return the predictor of a stage.

        Args:
            stage: number of the stage, from 0.
            decided: complete tokens (b, r, w) of every stage before it.
        """
        ...

    def rescorer(self, stage: int, decided: Sequence[Tensor]) -> Rescore | None:
        """Return the external model for a stage, None for none."""
        ...


@dataclass(frozen=True)
class StagesResult:
    """Result of all stages.

    Attributes:
        stages: the result of each stage.
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
    """Return a setting of a decoding: the value, if all stages have the same, or else a list, one for each.

    >>> plan_value((SolverConfig(n_steps=20), SolverConfig(n_steps=10)), "n_steps")
    [20, 10]
    """
    values = [getattr(config, name) for config in stage_plan(plan, 1 if isinstance(plan, SolverConfig) else len(plan))]
    return values[0] if all(value == values[0] for value in values) else values


def stage_plan(plan: SolverConfig | Sequence[SolverConfig], n_stages: int) -> tuple[SolverConfig, ...]:
    """Return the settings of each stage: one for all, or one for each.

    Raises:
        ParameterError: settings for another number of stages.
    """
    configs = (plan,) * n_stages if isinstance(plan, SolverConfig) else tuple(plan)
    if len(configs) != n_stages:
        raise ParameterError(f"settings must be one for all stages or one for each of {n_stages}, got {len(configs)}")
    return configs


def stage_forwards(plan: Sequence[SolverConfig], n_units: int, conditional: bool = True) -> int:
    """Return the number of calls of the predictors where every stage is a row of ``n_units`` unknown units.

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
    """Fill the grids of all stages in order; known tokens are returned unchanged.

    Stage 0 has the seeds as given, so that one stage equals ``solve``, bit for bit; stage k has seeds derived from
    them.

    Args:
        session: source of the predictor of each stage.
        grids: integers (b, r, w) of each stage. Values under the mask are not read.
        masks: booleans (b, r, w) of each stage, True where a token must be predicted.
        seeds: one integer per item.
        plan: settings of the decoding, one for all stages or one for each.
        use_condition: see ``solve``.
        groups: see ``solve``, for each stage.

    Raises:
        ParameterError: see ``solve``, or other numbers of grids, masks, groups and settings.
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
