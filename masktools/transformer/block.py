"""The block of the transformer: attention of all slots to all, then a perceptron, each normalised first and added.

Its parts carry timm's names, so that weights of other transformers of this kind fit, and its numbers are timm's.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Attend", "Attention", "Block", "Perceptron", "attend"]

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
