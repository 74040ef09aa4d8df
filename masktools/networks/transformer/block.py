"""The block of the transformer: attention of all slots to all or to near ones, then a perceptron, pre-normalised.

Its parts carry timm's names, so that weights of other transformers of this kind fit, and its numbers are timm's.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import DeviceError
from masktools.core.runtime import has_fast_bf16
from masktools.networks.packing import Int8Linear, PackedLinear, can_compute_int8, fill_rest, swap_linear

_EPSILON = 1e-6

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function of queries, keys and values, each (b, h, n, d), to what the queries gather (b, h, n, d)."""


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return what queries (b, h, q, d) gather from the values (b, h, n, d) of keys (b, h, n, d): (b, h, q, d).

    In bf16 on a CPU the two products are made one after the other, which takes torch about half as long as its
    fused form where oneDNN multiplies bf16 and the other library does not.
    """
    if queries.device.type != "cpu" or queries.dtype != torch.bfloat16 or torch.is_grad_enabled():
        return F.scaled_dot_product_attention(queries, keys, values)
    flat = [part.flatten(0, 1) for part in (queries, keys, values)]
    likeness = torch.bmm(flat[0], flat[1].transpose(1, 2)).mul_(queries.shape[-1] ** -0.5)
    return torch.bmm(likeness.softmax(dim=-1), flat[2]).view_as(queries)


class Attention(nn.Module):
    """Attention of every slot to every slot, or to those that are given. ``forward``: (b, n, d) -> the same."""

    def __init__(self, width: int, n_heads: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.head_dim = n_heads, width // n_heads
        self.qkv = nn.Linear(width, 3 * width, bias)
        self.proj = nn.Linear(width, width, bias)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, slots: Tensor, attend: Attend = attend) -> Tensor:
        """Return what each slot gathers; ``attend`` says from where."""
        mixed = self.qkv(slots).unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        gathered = attend(*mixed.unbind(0))
        return self.proj_drop(self.proj(gathered.transpose(1, 2).flatten(2)))


class Perceptron(nn.Module):
    """Two layers with a smooth rectifier between them, on each slot by itself. ``forward``: (b, n, d) -> the same."""

    def __init__(self, width: int, hidden: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias)
        self.act: nn.Module = nn.GELU()
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, width, bias)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, slots: Tensor) -> Tensor:
        """Return what the two layers make of each slot."""
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(slots)))))


class Block(nn.Module):
    """Attention and a perceptron, each beside a skip. ``forward``: (b, n, d) -> the same.

    Source: Dosovitskiy et al., An image is worth 16x16 words (arXiv:2010.11929), section 3.1.
    """

    def __init__(self, width: int, n_heads: int, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = Attention(width, n_heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = Perceptron(width, int(width * mlp_ratio), dropout)

    def forward(self, slots: Tensor) -> Tensor:
        """Return the slots after attention and perceptron."""
        slots = slots + self.attn(self.norm1(slots))
        return slots + self.mlp(self.norm2(slots))


def pack_blocks(
    network: nn.Module,
    names: Sequence[str],
    precision: torch.dtype,
    weights: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Exchange linear layers of a network's blocks for packed ones, and fill the rest of the network.

    Args:
        network: with ``blocks``, whose perceptrons are called ``mlp``.
        names: of the layers in each block.
        precision: float32, bfloat16, float16 or int8: that of their products.
        weights: of the network by name, read one after the other; None where it has them.
        device: where weights that are read go to.

    Raises:
        DeviceError: int8 on a processor, or with a torch, that does not compute in it.
    """
    blocks: Any = network.get_submodule("blocks")
    place = next(network.parameters()).device if weights is None else torch.device(device)
    whole = precision == torch.int8
    if whole and place.type != "cpu":
        raise DeviceError(f"int8 needs a CPU, the device is {place}: use --precision bf16 or fp32")
    if whole and not can_compute_int8():
        raise DeviceError("this CPU does not compute in int8 (VNNI is missing): use --precision fp32 or bf16")
    between = torch.bfloat16 if whole and has_fast_bf16() else torch.float32  # in which slots attend

    def packed(name: str, linear: nn.Linear) -> nn.Module:
        gelu = name == "mlp.fc1"
        if whole:
            return Int8Linear(linear, gelu, between if name in ("attn.qkv", "cross.q") else torch.float32)
        return PackedLinear(linear, precision, gelu)

    for number, block in enumerate(blocks):
        for name in names:
            swap_linear(network, f"blocks.{number}.{name}", partial(packed, name), weights, device)
        block.mlp.act = nn.Identity()
    if weights is not None:
        fill_rest(network, weights, device)


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
