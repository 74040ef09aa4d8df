"""Arguments of ``solve``, checked and flattened, and its results: tokens and a record of every step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.core.shapes import FlatMask, FlatTokens, flatten
from masktools.solver.choice import Groups
from masktools.solver.noise import as_seeds


@dataclass(frozen=True)
class Request:
    """Everything a decoding starts from; the tensors of the caller are not shared."""

    tokens: FlatTokens  # 0 under the mask
    mask: FlatMask
    dtype: torch.dtype  # of the caller's tokens
    n_rows: int
    n_cols: int
    seeds: Int64[Tensor, " b"]  # on the CPU, as all noise is
    has_condition: tuple[bool, ...]
    groups: Groups | None
    logit_bias: Float[Tensor, "bias_b bias_n k"] | None  # axes of length 1 stand for all

    def bias_of(self, items: Tensor, positions: Tensor) -> Tensor | None:
        """Return the logit bias of m slots as (m, k) or (1, k), or None."""
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
    """Return the request behind the arguments of ``solve``.

    Raises:
        ParameterError: If an argument has a wrong shape or type, or a known token is negative.
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
        step: Number of the step, from 0.
        items: Index of the items in the batch.
        n_before: Masked tokens of each item before the step.
        n_after: Masked tokens of each item after it.
        n_revoked: Accepted tokens that were taken back.
        guidance: Guidance scale; 0 for an item without a condition.
        temperature: Scale of the Gumbel noise.
        mean_log_p: Mean log probability of the tokens accepted in this step.
        min_log_p: Least log probability among them.
        forwards: Calls of the predictor.
        seconds: Time that the step took.
        filled: Whether the step filled all that was left because a callback had asked to stop.
        slots: Slots that the predictor computed for each item, in all passes; 0 where none were counted.
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
    """The outcome of a decoding.

    Attributes:
        tokens: Complete tokens (b, r, w), of the type and on the device of the given ones.
        trace: One record per step.
    """

    tokens: Tensor
    trace: tuple[StepTrace, ...]

    @property
    def n_forwards(self) -> int:
        """Calls of the predictor in all steps."""
        return sum(record.forwards for record in self.trace)

    @property
    def work(self) -> float:
        """Slots computed for an item over the slots that it has, on average: full forwards that one item cost."""
        n_items, n_slots = len(self.tokens), self.tokens[0].numel() if len(self.tokens) else 0
        return sum(sum(record.slots) for record in self.trace) / (n_items * n_slots) if n_items else 0.0

    @property
    def stopped(self) -> bool:
        """Whether a callback cut the decoding short."""
        return any(record.filled for record in self.trace)


Callback = Callable[[int, int, Tensor, Tensor, StepTrace], object]
"""Called after each step with (step, total steps, tokens (b, r, w), mask (b, r, w), record).

The tensors are copies; tokens under the mask are 0. A return value of ``False``, and no other, asks the
solver to fill what is left in one more step.
"""
