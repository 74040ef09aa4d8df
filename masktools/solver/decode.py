"""The general-mask solver: fill any mask of a token grid by any predictor, step by step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from masktools.errors import ParameterError
from masktools.shapes import unflatten
from masktools.solver.config import SolverConfig
from masktools.solver.guidance import Predict
from masktools.solver.plan import Step, left_ahead, make_plan, next_step
from masktools.solver.recall import Memory, check_remembers
from masktools.solver.request import Request, check_request
from masktools.solver.rescoring import Rescore
from masktools.solver.step import Canvas, Job, reading_order, take_step
from masktools.solver.trace import Callback, SolveResult, StepTrace

__all__ = ["solve"]

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
    """Fill the masked slots of a batch of token grids; known tokens come back as they are.

    Text-to-audio, gap filling and bandwidth extension are this one call with a full mask, masked columns
    and masked rows. Each item has its own mask, number of steps and seed; an item that is complete is no
    longer predicted, and an item without masked slots never is.

    Args:
        predict: Function of (tokens (a, n), mask (a, n), items (a,), conditional) to logits (a, n, k), with
            n time-major and ``items`` the rows' places in this batch. The solver knows no network. It must be a
            ``RecallingPredict`` where ``config.cache_every`` is above 1.
        tokens: Integers (b, r, w). Values under the mask are never read.
        mask: Booleans (b, r, w), True where a token must be predicted.
        seeds: One integer per item. The same seed gives the same result in any batch and on any device, as
            far as the predictor does; see ``item_seeds``.
        config: Settings of the decoding.
        use_condition: One boolean per item, False for an item that has no condition and costs no conditional
            pass; None stands for True throughout.
        groups: Integer labels (r, w) or (b, r, w); slots of the same label are accepted together. The counts
            of the plan are then met to the nearest group; those of pace "closed" are of groups, and met exactly.
        logit_bias: Added to the guided logits: (k,), (b, k) or (b, n, k); -inf bans a code.
        callback: Called after each step; it may return False to have the rest filled in one step.
        rescore: An external model with a share in the confidence of what was drawn, called once in every step but
            the last; with the policy ``confidence`` alone.

    Returns:
        The complete tokens (b, r, w) and one record per step.

    Raises:
        ParameterError: If an argument has a wrong shape, type or range, or the predictor returns something
            else than logits.
        MasktoolsError: If logits hold NaN or plus infinity.

    Source: SpecMaskGIT (arXiv:2406.17672), section 3.4; MaskGIT (arXiv:2202.04200), section 3.3.

    >>> tokens, mask = torch.tensor([[[3, 0, 1]]]), torch.tensor([[[False, True, False]]])
    >>> def predict(tokens, mask, items, conditional):
    ...     return 50.0 * torch.nn.functional.one_hot(torch.full_like(tokens, 2), 4)
    >>> solve(predict, tokens, mask, seeds=[0]).tokens
    tensor([[[3, 2, 1]]])
    """
    request = check_request(tokens, mask, seeds, use_condition, groups, config.group_score, logit_bias)
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
    """Return the plan of each item; items with as many unknown tokens share theirs."""
    n_slots = request.mask.shape[1]
    n_units: list[int | None] = [None] * len(request.mask)
    if request.groups is not None:
        n_units = (request.groups.sizes(request.mask) > 0).sum(dim=1).tolist()
    counts = request.mask.sum(dim=1).tolist()
    return [make_plan(count, n_slots, config, units) for count, units in zip(counts, n_units, strict=True)]


def _asks_to_stop(callback: Callback, total: int, canvas: Canvas, request: Request, record: StepTrace) -> bool:
    """Return whether the callback, shown copies of the tokens and masks, wants no further step."""
    tokens = unflatten(canvas.tokens, request.n_rows).to(request.dtype).clone()
    mask = unflatten(canvas.mask, request.n_rows).clone()
    return callback(record.step, total, tokens, mask, record) is False
