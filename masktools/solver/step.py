"""One step of the general-mask solver: predict, draw, accept, and re-mask."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.core.shapes import FlatMask, FlatTokens
from masktools.solver import choice
from masktools.solver.choice import Stream, gumbel, sample, to_log_probs, uniform
from masktools.solver.config import SolverConfig, Step
from masktools.solver.request import (
    GuidedLogits,
    Memory,
    Predict,
    Recall,
    Request,
    Rescore,
    StepTrace,
    mixed_confidence,
    predict_guided,
)


@dataclass(frozen=True)
class Job:
    """Arguments of a decoding, the same in all steps."""

    predict: Predict
    config: SolverConfig
    request: Request
    order: Float[Tensor, "b n"]  # preference for each position; 0 where the policy has no order
    rescore: Rescore | None = None


@dataclass
class Canvas:
    """Tokens and mask of the whole batch, changed by the steps."""

    tokens: FlatTokens  # 0 under the mask
    mask: FlatMask
    log_p: Float[Tensor, "b n"]  # of each token at the time of its acceptance
    memory: Memory | None = None  # for predictors with a cache


def reading_order(policy: str, request: Request) -> Float[Tensor, "b n"]:
    """Return the preference for each position before any logits are known: 0 unless the policy is a fixed order."""
    b, n = request.tokens.shape
    if policy == "halton":
        ranks = choice.halton_ranks(request.n_rows, request.n_cols, request.seeds)
    elif policy == "raster":
        ranks = torch.arange(n).expand(b, n)
    else:
        ranks = torch.zeros(b, n, dtype=torch.int64)
    return -ranks.float().to(request.tokens.device)


def take_step(
    job: Job,
    canvas: Canvas,
    number: int,
    active: Sequence[int],
    steps: Sequence[Step],
    n_later: Sequence[int],
    n_ahead: Sequence[int],
    filled: bool = False,
) -> StepTrace:
    """Carry out one step on the canvas and return its record.

    Args:
        job: arguments of the decoding.
        canvas: tokens and masks of the whole batch; only the rows of active items change.
        number: number of the step, from 0; it selects the noise.
        active: items that still have masked tokens.
        steps: entries of the active items' plans for this step.
        n_later: number of steps after this one, in the plan of each active item.
        n_ahead: masked tokens of each active item when the predictor next computes all positions.
        filled: value for the record: whether a callback had asked to stop.
    """
    start = time.perf_counter()
    request = job.request
    items = torch.tensor(active, device=canvas.tokens.device)
    tokens, mask = canvas.tokens[items], canvas.mask[items]
    guidance = tuple(
        step.guidance if request.has_condition[item] else 0.0 for step, item in zip(steps, active, strict=True)
    )
    view = _View(job, canvas, items, number, steps, n_later, n_ahead)
    ours = request.mask[items] & ~mask
    revoked, n_revoked = _revoke(view, ours, canvas.log_p[items])
    early = _accept_early(view, n_revoked)
    recall = None if canvas.memory is None else Recall(canvas.memory, view.wanted(early), view.is_full)
    logits = predict_guided(job.predict, tokens, mask, items, guidance, job.config.deterministic_batch, recall)
    if number == 0:
        _check_codes(logits.n_codes, tokens, request)
    view.logits = logits
    accepted, drawn, log_p = _accept(view, early, n_revoked)

    canvas.tokens[items] = torch.where(accepted, drawn, tokens).masked_fill(revoked, 0)
    canvas.mask[items] = after = (mask & ~accepted) | revoked
    canvas.log_p[items] = torch.where(accepted, log_p, canvas.log_p[items])
    if canvas.memory is not None:
        canvas.memory.change(items, accepted | revoked)
    n_accepted = accepted.sum(dim=1)
    return StepTrace(
        step=number,
        items=tuple(active),
        n_before=tuple(mask.sum(dim=1).tolist()),
        n_after=tuple(after.sum(dim=1).tolist()),
        n_revoked=tuple(n_revoked.tolist()),
        guidance=guidance,
        temperature=tuple(step.temperature for step in steps),
        mean_log_p=tuple((log_p.masked_fill(~accepted, 0).sum(dim=1) / n_accepted).tolist()),
        min_log_p=tuple(log_p.masked_fill(~accepted, torch.inf).amin(dim=1).tolist()),
        forwards=logits.n_forwards,
        seconds=time.perf_counter() - start,
        filled=filled,
        slots=logits.n_slots,
    )


class _View:
    """The active items of one step, and the numbers of their plans for it."""

    logits: GuidedLogits

    def __init__(
        self,
        job: Job,
        canvas: Canvas,
        items: Tensor,
        number: int,
        steps: Sequence[Step],
        n_later: Sequence[int],
        n_ahead: Sequence[int],
    ) -> None:
        self.job, self.items, self.number = job, items, number
        self.tokens, self.mask = canvas.tokens[items], (mask := canvas.mask[items])
        device = mask.device
        self.n_after = torch.tensor([step.n_after for step in steps], device=device)
        self.n_later = torch.tensor(list(n_later), device=device)
        self.n_ahead = torch.tensor(list(n_ahead), device=device)
        self.temperature = torch.tensor([step.temperature for step in steps], dtype=torch.float32, device=device)
        self.warmth = torch.tensor([step.token_temperature for step in steps], device=device)
        self.is_warm = any(step.token_temperature != 1.0 for step in steps)
        self.is_last = self.n_after == 0
        self.all_last = all(step.n_after == 0 for step in steps)
        self.is_full = number % job.config.cache_every == 0
        self.memory = canvas.memory
        groups = job.request.groups
        self.groups = None if groups is None else groups.select(items)
        self.seeds = job.request.seeds[items.cpu()]

    @property
    def judges_whole(self) -> bool:
        """Whether tokens are ranked by another distribution than the one that they are drawn from."""
        config = self.job.config
        return config.confidence == "whole" and (config.top_k is not None or config.top_p is not None)

    @property
    def follows(self) -> bool:
        """Whether the step accepts positions that the last full step has chosen."""
        return self.job.config.chooses_ahead and not self.is_full

    def eligible(self) -> Bool[Tensor, "b n"]:
        """Return the masked positions that the step may accept."""
        if self.memory is None or not self.follows or choice.POLICIES[self.job.config.policy].reads == "order":
            return self.mask
        return self.mask & (self.memory.chosen[self.items] | self.is_last[:, None])

    def wanted(self, early: Tensor | None) -> Bool[Tensor, "b n"]:
        """Return the positions whose logits the step reads; all masked ones where they are computed anyway."""
        if not self.job.config.chooses_ahead:
            return self.mask
        return self.eligible() if early is None else early

    def log_probs(self, slots: tuple[Tensor, ...], whole: bool = False) -> Float[Tensor, "m k"]:
        """Return the log probabilities at given (rows of the step, positions); ``whole``: before truncation."""
        rows, positions = slots
        config = self.job.config
        top_k, top_p = (None, None) if whole else (config.top_k, config.top_p)
        logits = self.logits.rows(rows, positions)
        bias = self.job.request.bias_of(self.items[rows], positions)
        if bias is not None:
            logits = logits + bias
        warmth = self.warmth[rows][:, None] if self.is_warm else None
        return to_log_probs(logits, warmth, top_k, top_p)

    def uniforms(self) -> Float64[Tensor, "b n"]:
        """Return one uniform number per position for the draw of its token, on the CPU."""
        return uniform(self.seeds, self.number, Stream.TOKEN, self.mask.shape[1])

    def entropies(self, slots: tuple[Tensor, ...], log_probs: Tensor) -> Float[Tensor, "b n"] | None:
        """Return the entropy of each position in nats if there is an entropy bound, else None."""
        if self.job.config.entropy_bound is None:
            return None
        return self.dense(slots, torch.special.entr(log_probs.exp()).sum(dim=1))

    def noise(self, stream: Stream) -> Float[Tensor, "b u"]:
        """Return Gumbel noise for each unit, a position or a group."""
        n = self.mask.shape[1] if self.groups is None else self.groups.n_groups
        return gumbel(self.seeds, self.number, stream, n).float().to(self.mask.device)

    def dense(self, slots: tuple[Tensor, ...], values: Tensor) -> Tensor:
        """Return values of some positions as (b, n), 0 elsewhere."""
        return values.new_zeros(self.mask.shape).index_put(slots, values)


def _revoke(view: _View, ours: Tensor, log_p: Tensor) -> tuple[Bool[Tensor, "b n"], Int64[Tensor, " b"]]:
    """Return the accepted positions to re-mask, and their number for each item."""
    share = view.job.config.revocation
    if share == 0 or view.all_last:
        return torch.zeros_like(ours), torch.zeros_like(view.n_after)
    count = choice.remaskable_count(share, ours, view.mask, view.n_after)
    noise = view.temperature[:, None] * view.noise(Stream.REVOCATION)
    revoked = choice.choose_remasked(log_p, ours, count, noise, view.groups)
    return revoked, revoked.sum(dim=1)


def _accept_early(view: _View, n_revoked: Tensor) -> Bool[Tensor, "b n"] | None:
    """Return the accepted positions if no logits are needed to choose them, else None."""
    if view.all_last:
        return view.mask
    config = view.job.config
    if choice.POLICIES[config.policy].reads == "order" and config.entropy_bound is None:
        return _choose(view, view.job.order[view.items], n_revoked)
    return None


def _accept(
    view: _View, early: Tensor | None, n_revoked: Tensor
) -> tuple[Bool[Tensor, "b n"], Int64[Tensor, "b n"], Float[Tensor, "b n"]]:
    """Return the accepted positions, the tokens drawn there, and their log probabilities."""
    name = view.job.config.policy
    reads = choice.POLICIES[name].reads
    accepted = early
    slots = (view.eligible() if accepted is None else accepted).nonzero(as_tuple=True)
    log_probs = view.log_probs(slots)
    source = log_probs
    if accepted is None and reads != "sample":
        sharpness = choice.moment_sharpness(view.temperature, view.is_last)[slots[0]]
        if reads == "order":
            values = view.job.order[view.items]
        else:
            values = view.dense(slots, choice.distribution_values(name, log_probs, sharpness))
        accepted = _choose(view, values, n_revoked, view.entropies(slots, log_probs))
        kept = accepted[slots].nonzero()[:, 0]
        slots = (slots[0][kept], slots[1][kept])
        source = log_probs = log_probs.index_select(0, kept)
        if name == "moment":
            sharp = (log_probs * sharpness[kept][:, None]).log_softmax(dim=1)
            source = torch.where(view.is_last[slots[0]][:, None], log_probs, sharp)
    tokens = sample(source, _pick(view.uniforms(), slots))
    if view.judges_whole:
        log_probs = view.log_probs(slots, whole=True)
    log_p = view.dense(slots, log_probs.gather(1, tokens[:, None])[:, 0])
    drawn = view.dense(slots, tokens)
    if accepted is None:
        values = log_p if view.job.rescore is None else _rescored(view, drawn, log_p, view.job.rescore)
        accepted = _choose(view, values, n_revoked, view.entropies(slots, log_probs))
    return accepted, drawn, log_p


def _rescored(view: _View, drawn: Tensor, log_p: Tensor, rescore: Rescore) -> Float[Tensor, "b n"]:
    """Return log probabilities of drawn tokens, mixed with those of an external model."""
    candidate = torch.where(view.mask, drawn, view.tokens)
    return mixed_confidence(rescore, candidate, view.mask, view.items, log_p, view.job.config.rescore_weight)


def _pick(uniforms: Tensor, slots: tuple[Tensor, ...]) -> Tensor:
    """Return the numbers of the positions, in double precision where the device supports it."""
    device = slots[0].device
    if device.type == "mps":
        return uniforms.float().to(device)[slots]
    return uniforms.to(device)[slots]


def _choose(view: _View, values: Tensor, n_revoked: Tensor, entropies: Tensor | None = None) -> Bool[Tensor, "b n"]:
    """Return the masked positions that the policy accepts, given its preference for each."""
    config = view.job.config
    policy = choice.POLICIES[config.policy]
    eligible = view.eligible()
    count = view.mask.sum(dim=1) - view.n_after + n_revoked
    noise = None
    if policy.noise == "unit":
        noise = view.noise(Stream.CHOICE)
    elif policy.noise == "annealed":
        noise = view.temperature[:, None] * view.noise(Stream.CHOICE)
    if config.overlap:
        values = values if noise is None else values + noise
        return view.mask & ~choice.keep_spans(values, view.mask, view.n_after, config.overlap)
    if view.groups is None:
        if entropies is not None and config.entropy_bound is not None:
            bounded = choice.bounded_count(values, eligible, entropies, config.entropy_bound, noise)
            count = torch.maximum(count, bounded)
        if config.chooses_ahead and view.is_full and view.memory is not None:
            ahead = torch.maximum(count, view.mask.sum(dim=1) - view.n_ahead)
            view.memory.chosen[view.items] = choice.choose(values, eligible, ahead, noise)
        return choice.choose(values, eligible, count, noise)
    sizes = view.groups.sizes(view.mask)
    scores = view.groups.scores(values, view.mask, "max" if policy.reads == "order" else None)
    scores = scores if noise is None else scores + noise
    if config.pace == "closed":  # counts are of groups
        masked = sizes > 0
        return view.groups.spread(choice.choose(scores, masked, masked.sum(dim=1) - view.n_after), view.mask)
    return view.groups.spread(choice.nearest(scores, sizes, count, n_revoked, view.n_later), view.mask)


def _check_codes(n_codes: int, tokens: Tensor, request: Request) -> None:
    highest = int(tokens.max())
    if highest >= n_codes:
        raise ParameterError(f"known tokens must lie below the {n_codes} codes of the logits, got {highest}")
    if n_codes - 1 > torch.iinfo(request.dtype).max:
        raise ParameterError(f"tokens of type {request.dtype} cannot hold {n_codes} codes: pass torch.int64")
    bias = request.logit_bias
    if bias is not None and bias.shape[2] != n_codes:
        raise ParameterError(f"logit_bias must have the {n_codes} codes of the logits, got {bias.shape[2]}")
