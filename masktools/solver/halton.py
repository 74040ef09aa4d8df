"""A low-discrepancy order of the cells of a token grid: any first few of them are spread over the whole."""

from functools import lru_cache

import torch
from jaxtyping import Int64
from torch import Tensor

from masktools.errors import ParameterError
from masktools.solver.noise import Stream, uniform

__all__ = ["halton_order", "halton_ranks"]


def _radical_inverse(number: int, base: int) -> float:
    """Return the digits of a number mirrored at the point: 6 = 110 in base 2 becomes 0.011 = 0.375."""
    mirrored, weight = 0.0, 1.0
    while number:
        weight /= base
        number, digit = divmod(number, base)
        mirrored += digit * weight
    return mirrored


@lru_cache(maxsize=64)
def halton_order(n_rows: int, n_cols: int) -> tuple[int, ...]:
    """Return all flat positions of a grid in Halton order: base 2 over time, base 3 over frequency.

    Points that fall into a cell seen before are passed over.

    Source: Besnier et al. (arXiv:2503.17076), on a grid that need not be square.

    >>> halton_order(1, 4)
    (2, 1, 3, 0)
    """
    if n_rows < 1 or n_cols < 1:
        raise ParameterError(f"a grid needs at least one row and one column, got {n_rows} x {n_cols}")
    order: dict[int, None] = {}
    point = 0
    while len(order) < n_rows * n_cols:
        point += 1
        row = int(_radical_inverse(point, 3) * n_rows)
        col = int(_radical_inverse(point, 2) * n_cols)
        order.setdefault(col * n_rows + row)
    return tuple(order)


def halton_ranks(n_rows: int, n_cols: int, seeds: Int64[Tensor, "b"]) -> Int64[Tensor, "b n"]:
    """Return the place of each position in Halton's order, rolled around the grid by each item's seed."""
    order = torch.tensor(halton_order(n_rows, n_cols))
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    draws = uniform(seeds, 0, Stream.ROLL, 2)
    col_roll, row_roll = (draws * torch.tensor([n_cols, n_rows])).long().unbind(1)
    cols = (torch.arange(n_cols) - col_roll[:, None]) % n_cols  # (b, w)
    rows = (torch.arange(n_rows) - row_roll[:, None]) % n_rows  # (b, r)
    return rank[(cols[:, :, None] * n_rows + rows[:, None, :]).flatten(1)]
