"""Slots that are accepted together or not at all: columns, spans in time, or any partition of the grid."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from masktools.errors import ParameterError
from masktools.solver.choice import finite

__all__ = ["GROUP_SCORES", "Groups", "at_most", "column_groups", "nearest", "span_groups"]

GROUP_SCORES = ("mean", "max", "sum")


def column_groups(n_rows: int, n_cols: int) -> Int64[Tensor, "r w"]:
    """Return labels that tie together the rows of each column.

    >>> column_groups(2, 3).tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    return torch.arange(n_cols).expand(n_rows, n_cols).clone()


def span_groups(n_rows: int, n_cols: int, n_span_cols: int = 3) -> Int64[Tensor, "r w"]:
    """Return labels that tie together spans of columns within each row, as MAGNeT does with 3.

    >>> span_groups(2, 4, 3).tolist()
    [[0, 0, 0, 1], [2, 2, 2, 3]]
    """
    if n_span_cols < 1:
        raise ParameterError(f"a span needs at least one column, got {n_span_cols}")
    spans = torch.arange(n_cols) // n_span_cols
    per_row = -(-n_cols // n_span_cols)
    return torch.arange(n_rows)[:, None] * per_row + spans


@dataclass(frozen=True)
class Groups:
    """A partition of the slots of every item, and how the slots of a group vote."""

    of_slot: Int64[Tensor, "b n"]
    n_groups: int
    score: str = "mean"

    def select(self, items: Int64[Tensor, "a"]) -> "Groups":
        """Return the partition of some of the items."""
        return Groups(self.of_slot[items], self.n_groups, self.score)

    def sizes(self, eligible: Bool[Tensor, "b n"]) -> Int64[Tensor, "b g"]:
        """Return how many eligible slots each group has."""
        empty = self.of_slot.new_zeros(len(self.of_slot), self.n_groups)
        return empty.scatter_add(1, self.of_slot, eligible.long())

    def scores(
        self, values: Float[Tensor, "b n"], eligible: Bool[Tensor, "b n"], score: str | None = None
    ) -> Float[Tensor, "b g"]:
        """Return the score of each group over its eligible slots; 0 or less than any where there are none."""
        score = score or self.score
        shape = (len(values), self.n_groups)
        if score == "max":
            values = finite(values).masked_fill(~eligible, -torch.inf)
            return values.new_full(shape, -torch.inf).scatter_reduce(1, self.of_slot, values, "amax")
        total = values.new_zeros(shape).scatter_add(1, self.of_slot, finite(values).masked_fill(~eligible, 0))
        return total if score == "sum" else total / self.sizes(eligible).clamp_min(1)

    def spread(self, chosen: Bool[Tensor, "b g"], eligible: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
        """Return the eligible slots of the chosen groups."""
        return chosen.gather(1, self.of_slot) & eligible


def nearest(
    scores: Float[Tensor, "b g"],
    sizes: Int64[Tensor, "b g"],
    count: Int64[Tensor, "b"],
    above: Int64[Tensor, "b"],
    n_later: Int64[Tensor, "b"],
) -> Bool[Tensor, "b g"]:
    """Return the best groups of each item whose slots come nearest to a count.

    Args:
        scores: Preference for each group; empty groups are never taken.
        sizes: Eligible slots in each group.
        count: Slots wanted.
        above: More slots than this are taken, so that a step makes progress.
        n_later: Groups to leave for the steps to come, one each, as far as ``above`` allows.
    """
    order, running = _ranked(scores, sizes)
    rank = torch.arange(sizes.shape[1], device=sizes.device)
    first = (running <= above[:, None]).sum(dim=1)
    last = torch.maximum(first, (sizes > 0).sum(dim=1) - 1 - n_later)
    allowed = (rank >= first[:, None]) & (rank <= last[:, None])
    distance = (running - count[:, None]).abs() * len(rank) + rank  # of two as near, the fewer groups
    stop = distance.masked_fill(~allowed, torch.iinfo(torch.int64).max).argmin(dim=1)
    return torch.zeros_like(sizes, dtype=torch.bool).scatter(1, order, rank <= stop[:, None])


def at_most(
    scores: Float[Tensor, "b g"], sizes: Int64[Tensor, "b g"], count: Int64[Tensor, "b"]
) -> Bool[Tensor, "b g"]:
    """Return the best groups of each item that hold no more than ``count`` slots together."""
    order, running = _ranked(scores, sizes)
    return torch.zeros_like(sizes, dtype=torch.bool).scatter(1, order, running <= count[:, None])


def _ranked(
    scores: Float[Tensor, "b g"], sizes: Int64[Tensor, "b g"]
) -> tuple[Int64[Tensor, "b g"], Int64[Tensor, "b g"]]:
    """Return the groups from best to worst, empty ones last, and their sizes added up in that order."""
    scores = finite(scores).masked_fill(sizes == 0, -torch.inf)
    order = scores.argsort(dim=1, descending=True, stable=True)
    return order, sizes.gather(1, order).cumsum(dim=1)
