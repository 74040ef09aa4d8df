"""Overlapping spans: which masked columns stay masked, so that they lie in spans that begin at any column."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from masktools.solver.choice import finite

__all__ = ["keep_spans"]

_NEVER = 1e4  # log probability of a column that is known: no span of less confidence holds it


def keep_spans(
    values: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"], n_after: Int64[Tensor, "b"], span: int
) -> Bool[Tensor, "b n"]:
    """Return the masked columns that stay masked: a union of the spans of least confidence, near a count.

    The number of spans is found by halving, and the last one that was tried is taken, so that the count is met to
    within a span. Known columns are never masked again.

    Args:
        values: Confidence of each column, such as a log probability; only masked ones are read.
        mask: Masked columns.
        n_after: Columns wanted; 0 leaves none, else a span at least stays.
        span: Columns of a span, at least 1.

    Source: MAGNeT (arXiv:2401.04577), section 3.1, in the form of its later code ("stride1").
    """
    b, n = values.shape
    span = min(span, n)
    doubt = (-finite(values)).masked_fill(~mask, -_NEVER)
    order = doubt.unfold(1, span, 1).sum(dim=2).argsort(dim=1, descending=True, stable=True)
    kept = torch.zeros_like(mask)
    for item in range(b):
        wanted = int(n_after[item])
        if wanted:
            kept[item] = _union(order[item], max(wanted, span), span, n)
    return kept & mask


def _union(order: Int64[Tensor, "s"], wanted: int, span: int, n: int) -> Bool[Tensor, "n"]:
    """Return the columns of the first few spans, of so many that they are about as many as wanted."""
    low, high = wanted // span, wanted - span + 1
    while True:
        tried = round((low + high) / 2)
        columns = _columns(order[:tried], span, n)
        if int(columns.sum()) > wanted:
            high = tried
        else:
            low = tried
        if not low < round((low + high) / 2) < high:
            return columns


def _columns(starts: Int64[Tensor, "u"], span: int, n: int) -> Bool[Tensor, "n"]:
    """Return True in the columns of the spans that begin at the given ones."""
    offsets = torch.arange(span, device=starts.device)
    columns = torch.zeros(n, dtype=torch.bool, device=starts.device)
    columns[(starts[:, None] + offsets).flatten()] = True
    return columns
