"""Attention within a few slots on either side, exact: by a boolean mask, or over blocks where that is faster."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.transformer.block import Attend, attend

__all__ = ["attend_causally", "attend_near", "attention_of", "near_mask"]

_BLOCK = 32  # queries that share a stretch of keys
_WORTH = 4  # from so many stretches on, blocks are faster than a mask


def near_mask(n: int, context: int, device: torch.device | str | None = None) -> Tensor:
    """Return (n, n) booleans, True where a query (row) may attend a key: at most ``context`` slots away.

    >>> near_mask(3, 1).int().tolist()
    [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    """
    slots = torch.arange(n, device=device)
    return (slots[:, None] - slots).abs() <= context


def attend_near(queries: Tensor, keys: Tensor, values: Tensor, context: int) -> Tensor:
    """Return what queries (b, h, n, d) gather from the values of keys at most ``context`` slots away: (b, h, n, d)."""
    n = queries.shape[2]
    if n < _WORTH * (_BLOCK + 2 * context):
        mask = near_mask(n, context, queries.device)
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return _by_blocks(queries, keys, values, context)


def _by_blocks(queries: Tensor, keys: Tensor, values: Tensor, context: int) -> Tensor:
    """Return the same by blocks of queries, each beside the stretch of keys that any of them may attend."""
    b, h, n, d = queries.shape
    n_blocks = -(-n // _BLOCK)
    missing = n_blocks * _BLOCK - n
    asked = F.pad(queries, (0, 0, 0, missing)).view(b, h, n_blocks, _BLOCK, d)
    stretch = _BLOCK + 2 * context
    near_keys, near_values = (
        F.pad(part, (0, 0, context, context + missing)).unfold(2, stretch, _BLOCK).transpose(3, 4)
        for part in (keys, values)
    )
    slots = torch.arange(_BLOCK, device=queries.device)[:, None]
    places = torch.arange(stretch, device=queries.device) - context
    first = (torch.arange(n_blocks, device=queries.device) * _BLOCK)[:, None, None]
    within = ((places - slots).abs() <= context) & (first + places >= 0) & (first + places < n)
    own = first + slots >= n  # slots that only fill the last block up attend anything, and are cut off
    gathered = F.scaled_dot_product_attention(asked, near_keys, near_values, attn_mask=within | own)
    return gathered.reshape(b, h, n_blocks * _BLOCK, d)[:, :, :n]


def attend_causally(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return what queries gather from the values of keys at their own slot and before it."""
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)


def attention_of(context: int | None, causal: bool = False) -> Attend:
    """Return attention to all slots (None), to those within a context, or to those before."""
    if causal:
        return attend_causally
    return attend if context is None else partial(attend_near, context=context)
