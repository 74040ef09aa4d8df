"""What a decoding is asked for: the arguments of ``solve``, checked and brought into the solver's order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from masktools.errors import ParameterError
from masktools.shapes import FlatMask, FlatTokens, flatten
from masktools.solver.groups import Groups
from masktools.solver.noise import as_seeds

__all__ = ["Request", "check_request"]


@dataclass(frozen=True)
class Request:
    """Everything a decoding starts from; the tensors of the caller are not shared."""

    tokens: FlatTokens  # 0 under the mask
    mask: FlatMask
    dtype: torch.dtype  # of the caller's tokens
    n_rows: int
    n_cols: int
    seeds: Int64[Tensor, "b"]  # on the CPU, as all noise is
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
