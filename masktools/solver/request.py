"""Input and output of a decoding: checked arguments, calls of the predictor and their cost, tokens, trace."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from masktools.core.errors import MasktoolsError, ParameterError
from masktools.core.shapes import FlatMask, FlatTokens, flatten
from masktools.solver.choice import Groups, as_seeds
from masktools.solver.config import Step


@dataclass(frozen=True)
class Request:
    """Checked input of a decoding; it shares no tensors with the caller."""

    tokens: FlatTokens  # 0 under the mask
    mask: FlatMask
    dtype: torch.dtype  # type of the caller's tokens
    n_rows: int
    n_cols: int
    seeds: Int64[Tensor, " b"]  # on the CPU, as all noise is
    has_condition: tuple[bool, ...]
    groups: Groups | None
    logit_bias: Float[Tensor, "bias_b bias_n k"] | None  # axes of length 1 are broadcast

    def bias_of(self, items: Tensor, positions: Tensor) -> Tensor | None:
        """Return the logit bias of m positions as (m, k) or (1, k), or None."""
        if self.logit_bias is None:
            return None
        n_items, n_positions, _ = self.logit_bias.shape
        if n_items == 1 and n_positions == 1:
            return self.logit_bias[0]
        first = items if n_items > 1 else torch.zeros_like(items)
        second = positions if n_positions > 1 else torch.zeros_like(positions)
        return self.logit_bias[first, second]


def check_request(
    tokens: Tensor,
    mask: Tensor,
    seeds: Sequence[int] | Tensor,
    use_condition: Sequence[bool] | Tensor | None,
    groups: Tensor | None,
    group_score: str,
    logit_bias: Tensor | None,
) -> Request:
    """Return the request for the arguments of ``solve``.

    Raises:
        ParameterError: an argument has a wrong shape or type, or a known token is negative.
    """
    if tokens.ndim != 3 or tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        raise ParameterError(
            f"tokens must be integers of shape (b, r, w), got {tokens.dtype} of shape {tuple(tokens.shape)}"
        )
    shape = b, n_rows, n_cols = tuple(tokens.shape)
    if n_rows == 0 or n_cols == 0:
        raise ParameterError(f"tokens need at least one row and one column, got shape {shape}")
    if mask.dtype != torch.bool or tuple(mask.shape) != shape:
        raise ParameterError(
            f"mask must be boolean (True = predict) of the tokens' shape {shape}, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    flat_mask = flatten(mask.to(tokens.device)).clone()
    flat_tokens = flatten(tokens).to(torch.int64).masked_fill(flat_mask, 0)
    if b and int(flat_tokens.min()) < 0:
        raise ParameterError(f"known tokens must be 0 or more, got {int(flat_tokens.min())}; mask what is unknown")
    words = as_seeds(seeds)
    if len(words) != b:
        raise ParameterError(f"seeds must be one per item, {b} in all, got {len(words)}")
    return Request(
        tokens=flat_tokens,
        mask=flat_mask,
        dtype=tokens.dtype,
        n_rows=n_rows,
        n_cols=n_cols,
        seeds=words,
        has_condition=_check_condition(use_condition, b),
        groups=_check_groups(groups, shape, group_score, tokens.device),
        logit_bias=_check_bias(logit_bias, b, n_rows * n_cols, tokens.device),
    )


def _check_condition(use_condition: Sequence[bool] | Tensor | None, b: int) -> tuple[bool, ...]:
    if use_condition is None:
        return (True,) * b
    values = use_condition.tolist() if isinstance(use_condition, Tensor) else list(use_condition)
    if len(values) != b or not all(isinstance(value, bool) for value in values):
        raise ParameterError(f"use_condition must be one boolean per item, {b} in all, got {values}")
    return tuple(values)


def _check_groups(groups: Tensor | None, shape: tuple[int, ...], score: str, device: torch.device) -> Groups | None:
    if groups is None:
        return None
    if tuple(groups.shape) not in (shape, shape[1:]) or groups.is_floating_point() or groups.is_complex():
        raise ParameterError(
            f"groups must be integer labels of shape {shape[1:]} or {shape}, "
            f"got {groups.dtype} of shape {tuple(groups.shape)}"
        )
    labels, of_slot = flatten(groups.to(device)).unique(return_inverse=True)
    return Groups(of_slot.expand(shape[0], -1), len(labels), score)


def _check_bias(bias: Tensor | None, b: int, n: int, device: torch.device) -> Tensor | None:
    if bias is None:
        return None
    shape = tuple(bias.shape)
    fits = {1: True, 2: shape[:1] == (b,), 3: shape[:2] == (b, n)}.get(len(shape), False)
    if not fits or not bias.is_floating_point():
        raise ParameterError(
            f"logit_bias must be floating-point of shape (k,), ({b}, k) or ({b}, {n}, k), "
            f"got {bias.dtype} of shape {shape}"
        )
    if bias.isnan().any() or bias.isposinf().any():
        raise ParameterError("logit_bias must hold finite numbers or -inf, got NaN or +inf")
    if bias.isneginf().all(dim=-1).any():
        raise ParameterError("logit_bias must leave at least one code possible, got -inf for all of them")
    full = bias.reshape(shape if len(shape) == 3 else (shape[0] if len(shape) == 2 else 1, 1, shape[-1]))
    return full.to(device, torch.float32)


@dataclass(frozen=True)
class StepTrace:
    """The record of one step; tuples hold one entry per item that was still being decoded.

    Attributes:
        step: number of the step, from 0.
        items: index of the items in the batch.
        n_before: masked tokens of each item before the step.
        n_after: masked tokens of each item after it.
        n_revoked: accepted tokens that were re-masked.
        guidance: guidance scale; 0 for an item without a condition.
        temperature: scale of the Gumbel noise.
        mean_log_p: mean log probability of the tokens accepted in this step.
        min_log_p: lowest log probability among them.
        forwards: number of calls of the predictor.
        seconds: duration of the step.
        filled: whether the step filled all remaining positions because a callback had asked to stop.
        slots: positions that the predictor computed for each item, in all passes; 0 where none were counted.
    """

    step: int
    items: tuple[int, ...]
    n_before: tuple[int, ...]
    n_after: tuple[int, ...]
    n_revoked: tuple[int, ...]
    guidance: tuple[float, ...]
    temperature: tuple[float, ...]
    mean_log_p: tuple[float, ...]
    min_log_p: tuple[float, ...]
    forwards: int
    seconds: float
    filled: bool = False
    slots: tuple[int, ...] = ()


@dataclass(frozen=True)
class SolveResult:
    """Result of a decoding.

    Attributes:
        tokens: complete tokens (b, r, w), of the type and on the device of the input.
        trace: one record per step.
    """

    tokens: Tensor
    trace: tuple[StepTrace, ...]

    @property
    def n_forwards(self) -> int:
        """Number of calls of the predictor in all steps."""
        return sum(record.forwards for record in self.trace)

    @property
    def work(self) -> float:
        """Positions computed over the positions of an item, on average: the cost of an item in full forward passes."""
        n_items, n_slots = len(self.tokens), self.tokens[0].numel() if len(self.tokens) else 0
        return sum(sum(record.slots) for record in self.trace) / (n_items * n_slots) if n_items else 0.0

    @property
    def stopped(self) -> bool:
        """Whether a callback stopped the decoding early."""
        return any(record.filled for record in self.trace)


Callback = Callable[[int, int, Tensor, Tensor, StepTrace], object]
"""Called after each step with (step, total steps, tokens (b, r, w), mask (b, r, w), record).

The tensors are copies; tokens under the mask are 0. A return value of ``False``, and no other, makes the
solver fill the rest in one more step.
"""


@runtime_checkable
class RecallingPredict(Protocol):
    """A predictor with a cache, which can compute some positions and recall the others; for ``cache_every`` above 1.

    A call computes all positions of its items and caches the values that other positions read. ``recall`` computes the
    given positions, reads the others from the cache, and updates the cache with the new ones.
    Each item has a cache for each pass, conditional or not, and the last call counts.
    """

    def __call__(self, tokens: Tensor, mask: Tensor, items: Tensor, conditional: bool) -> Tensor:
        """Return logits (a, n, k) of all positions, and cache them."""
        ...

    def recall(self, tokens: Tensor, mask: Tensor, items: Tensor, conditional: bool, slots: Tensor) -> Tensor:
        """Return logits (a, n, k) that are valid for ``slots`` (a, n), True where needed."""
        ...


def check_remembers(predict: object, cache_every: int) -> None:
    """Raise where a predictor has no cache but the steps need one.

    Raises:
        ParameterError: it has no ``recall``, and cache_every is above 1.
    """
    if cache_every > 1 and not isinstance(predict, RecallingPredict):
        raise ParameterError(
            f"cache_every={cache_every} needs a predictor with a method recall, got {type(predict).__name__}: "
            "use cache_every=1, or a predictor that remembers"
        )


class Memory:
    """Positions that have changed since each pass computed them, for the items of a batch."""

    def __init__(self, mask: Bool[Tensor, "b n"]) -> None:
        self.stale = torch.zeros(2, *mask.shape, dtype=torch.bool, device=mask.device)  # unconditional, conditional
        self.chosen = torch.zeros_like(mask)  # positions that the last full step has chosen for the steps after it
        self._met: tuple[set[int], set[int]] = (set(), set())

    def has_met(self, which: int, item: int) -> bool:
        """Return whether a pass has an item in its cache."""
        return item in self._met[which]

    def take(self, which: int, items: Int64[Tensor, " a"], wanted: Bool[Tensor, "a n"]) -> Bool[Tensor, "a n"]:
        """Return the positions of cached items that a pass must compute, and mark them as computed."""
        slots = wanted | self.stale[which, items]
        self.stale[which, items] = False
        return slots

    def meet(self, which: int, items: Int64[Tensor, " a"]) -> None:
        """Mark all positions of items as computed by a pass."""
        self.stale[which, items] = False
        self._met[which].update(items.tolist())

    def change(self, items: Int64[Tensor, " a"], slots: Bool[Tensor, "a n"]) -> None:
        """Mark positions as changed since either pass read them."""
        self.stale[:, items] |= slots


class Recall(NamedTuple):
    """Positions that one step needs from the cache."""

    memory: Memory
    wanted: Bool[Tensor, "a n"]  # positions of the step's items whose logits are read
    full: bool  # whether all positions are computed in any case

    def parts(self, which: int, rows: Sequence[int], items: Sequence[int]) -> list[tuple[list[int], bool]]:
        """Return the rows that a pass computes whole, and those that it may recall; only lists that are not empty."""
        recalled = [row for row in rows if not self.full and self.memory.has_met(which, items[row])]
        whole = [row for row in rows if row not in set(recalled)]
        return [(part, kind) for part, kind in ((whole, False), (recalled, True)) if part]


Predict = Callable[[Tensor, Tensor, Tensor, bool], Tensor]
"""Any function of (tokens (a, n), mask (a, n), items (a,), conditional) to logits (a, n, k).

``items`` holds the index of each row in the batch of ``solve``; ``conditional`` selects
the pass with the items' conditions. The values of tokens under the mask are 0 and mean nothing.
"""

_TOLERANCE = 1e-6  # guidance within this distance of 0 or 1 is 0 or 1
_LOWEST = -1e30  # stands for minus infinity where two logits are subtracted


def needed_passes(guidance: float) -> tuple[bool, bool]:
    """Return whether a guidance scale needs the unconditional pass, and the conditional one.

    >>> [needed_passes(scale) for scale in (0.0, 1.0, 3.0)]
    [(True, False), (False, True), (True, True)]
    """
    return abs(guidance - 1) > _TOLERANCE, abs(guidance) > _TOLERANCE


def forward_count(plan: Iterable[Step], conditional: bool = True) -> int:
    """Return the number of calls of the predictor for one item, or for a batch that shares the plan.

    30 for the defaults of text-to-audio, 16 without conditions.
    """
    return sum(sum(needed_passes(step.guidance if conditional else 0.0)) for step in plan)


def combine(
    unconditional: Float[Tensor, "m k"], conditional: Float[Tensor, "m k"], guidance: Float[Tensor, "m 1"]
) -> Float[Tensor, "m k"]:
    """Return the guided logits, unconditional + guidance * (conditional - unconditional).

    Source: SpecMaskGIT (arXiv:2406.17672), Eq. 2.
    """
    return torch.lerp(unconditional.clamp_min(_LOWEST), conditional.clamp_min(_LOWEST), guidance)  # Eq. 2


@dataclass(frozen=True)
class GuidedLogits:
    """The logits of one step, combined on demand position by position."""

    unconditional: Float[Tensor, "u n k"]  # of the items that need this pass
    conditional: Float[Tensor, "c n k"]
    guidance: tuple[float, ...]  # one per item of the step
    n_forwards: int
    n_slots: tuple[int, ...]  # positions computed for each item, in both passes

    @property
    def n_codes(self) -> int:
        """Size of the codebook."""
        return self.conditional.shape[2]

    def rows(self, items: Int64[Tensor, " m"], positions: Int64[Tensor, " m"]) -> Float[Tensor, "m k"]:
        """Return the guided logits of m positions in single precision."""
        passes = [needed_passes(scale) for scale in self.guidance]
        rows_of_pass = [_places(passes, which, items.device) for which in (0, 1)]
        scale = torch.tensor(self.guidance, dtype=torch.float32, device=items.device)

        def read(which: int, items: Tensor, positions: Tensor) -> Tensor:
            logits = self.unconditional if which == 0 else self.conditional
            slots = rows_of_pass[which][items] * logits.shape[1] + positions
            return logits.flatten(0, 1).index_select(0, slots).float()

        def guided(kind: tuple[bool, bool], items: Tensor, positions: Tensor) -> Tensor:
            if kind != (True, True):
                return read(kind.index(True), items, positions)
            return combine(read(0, items, positions), read(1, items, positions), scale[items, None])

        kinds = sorted(set(passes))
        if len(kinds) == 1:
            return guided(kinds[0], items, positions)
        kind_of_item = torch.tensor([kinds.index(kind) for kind in passes], device=items.device)
        kind_of_slot = kind_of_item[items]
        result = torch.empty(len(items), self.n_codes, device=items.device)
        for number, kind in enumerate(kinds):
            of_kind = (kind_of_slot == number).nonzero(as_tuple=True)[0]
            result[of_kind] = guided(kind, items[of_kind], positions[of_kind])
        return result


def predict_guided(
    predict: Predict,
    tokens: FlatTokens,
    mask: FlatMask,
    items: Int64[Tensor, " b"],
    guidance: Sequence[float],
    one_by_one: bool = False,
    recall: Recall | None = None,
) -> GuidedLogits:
    """Return the logits of one step at the cost of the passes that its guidance needs.

    An item whose guidance is 0 is in the unconditional pass only, one whose guidance is 1 in the conditional
    pass only; a pass without items is not run. An item that a pass has not cached is computed whole.

    Args:
        predict: the predictor.
        tokens: tokens of the items that are still being decoded.
        mask: True where the predictor must predict.
        items: index of these items in the original batch.
        guidance: scale for each item; 0 for an item without a condition.
        one_by_one: whether each item is predicted in a call of its own.
        recall: positions that the predictor may recall; None computes all positions.

    Raises:
        ParameterError: the predictor returns something else than logits (a, n, k).
    """
    passes = [needed_passes(scale) for scale in guidance]
    logits: list[Tensor] = []
    n_forwards, n_slots = 0, [0] * len(passes)
    for which, conditional in enumerate((False, True)):
        wanted = [row for row, needs in enumerate(passes) if needs[which]]
        if not wanted:
            continue  # the other pass then serves every item
        parts = [(wanted, False)] if recall is None else recall.parts(which, wanted, items.tolist())
        answers: list[Tensor] = []
        for rows, recalled in parts:
            for part in ([row] for row in rows) if one_by_one else (rows,):
                place = torch.tensor(part, device=tokens.device)
                given = tokens[place], mask[place], items[place], conditional
                slots = recall.memory.take(which, given[2], recall.wanted[place]) if recall and recalled else None
                answers.append(_call(predict, *given, slots))
                counted = [tokens.shape[1]] * len(part) if slots is None else slots.sum(dim=1).tolist()
                for row, count in zip(part, counted, strict=True):
                    n_slots[row] += count
                if recall is not None and slots is None:
                    recall.memory.meet(which, given[2])
        n_forwards += len(answers)
        logits.append(_in_order(answers, [row for rows, _ in parts for row in rows]))
    first, last = logits[0], logits[-1]
    if first.shape[2] != last.shape[2]:
        sizes = f"{last.shape[2]} and {first.shape[2]}"
        raise ParameterError(f"predict must return as many codes with a condition as without, got {sizes}")
    # Where only one pass ran it stands for both; rows() reads the one that an item needs.
    return GuidedLogits(first, last, tuple(guidance), n_forwards, tuple(n_slots))


def _in_order(answers: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    """Return the outputs for some rows as one tensor, sorted by row."""
    joined = answers[0] if len(answers) == 1 else torch.cat(list(answers))
    if list(rows) == sorted(rows):
        return joined
    return joined[torch.tensor(rows, device=joined.device).argsort()]


def _call(
    predict: Predict, tokens: Tensor, mask: Tensor, items: Tensor, conditional: bool, slots: Tensor | None
) -> Tensor:
    if slots is not None and isinstance(predict, RecallingPredict):
        logits = predict.recall(tokens, mask, items, conditional, slots)
    else:
        logits = predict(tokens, mask, items, conditional)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise ParameterError(f"predict must return a tensor of floating-point logits, got {kind}")
    wanted = tuple(tokens.shape)
    if logits.ndim != 3 or tuple(logits.shape[:2]) != wanted or logits.shape[2] == 0:
        raise ParameterError(f"predict must return logits (a, n, k) with (a, n) = {wanted}, got {tuple(logits.shape)}")
    if logits.device != tokens.device:
        raise ParameterError(f"predict must return logits on {tokens.device}, got {logits.device}")
    return logits


def _places(passes: Sequence[tuple[bool, bool]], which: int, device: torch.device) -> Tensor:
    """Return the row of each item in one of the passes; undefined for items that are not in it."""
    taken = torch.tensor([needs[which] for needs in passes], device=device)
    return taken.cumsum(dim=0) - 1


Rescore = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Any function of (tokens (a, n), mask (a, n), items (a,)) to log probabilities (a, n) of the tokens.

The tokens are a complete candidate: known ones, and drawn ones under the mask. ``items`` is as in ``Predict``.
"""


def mixed_confidence(
    rescore: Rescore,
    tokens: FlatTokens,
    mask: Bool[Tensor, "a n"],
    items: Int64[Tensor, " a"],
    log_p: Float[Tensor, "a n"],
    weight: float,
) -> Float[Tensor, "a n"]:
    """Return the log of weight * external + (1 - weight) * own probability of each drawn token.

    Args:
        rescore: the external model.
        tokens: the candidate.
        mask: positions whose tokens were drawn.
        items: index of the rows in the original batch.
        log_p: log probabilities under the predictor.
        weight: share of the external model in [0, 1]; 0 does not call it.

    Raises:
        ParameterError: the external model returns something else than log probabilities (a, n).
        MasktoolsError: they hold NaN or plus infinity where a token was drawn.

    Source: MAGNeT (arXiv:2401.04577), section 3.4 and figure 4: the mixture decides what stays masked, after the draw.
        Differs: Eq. 5 of the text gives the predictor the weight, and speaks of drawing from the mixture.
    """
    if weight == 0:
        return log_p
    external = rescore(tokens, mask, items)
    if not isinstance(external, Tensor) or not external.is_floating_point() or external.shape != log_p.shape:
        got = tuple(external.shape) if isinstance(external, Tensor) else type(external).__name__
        raise ParameterError(f"rescore must return log probabilities of shape {tuple(log_p.shape)}, got {got}")
    external = external.to(log_p)
    if (external.isnan() | external.isposinf())[mask].any():
        raise MasktoolsError("rescore must return log probabilities without NaN or +inf for every drawn token")
    if weight == 1:
        return external
    shares = torch.log(log_p.new_tensor([weight, 1 - weight]))
    return torch.logaddexp(external + shares[0], log_p + shares[1])
