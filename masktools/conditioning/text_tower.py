"""Word pieces -> the vector of a sentence: a small transformer that was trained to say what a sentence encoder says."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MAX_PIECES", "TextTower"]

MAX_PIECES = 48  # of a text; what is longer is read as far as this
_HEAD_WIDTH = 32
_EXPANSION = 3


class _Layer(nn.Module):
    """Attention over the pieces of a text and a two-layer perceptron, each beside a skip. (b, n, w) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.n_heads = max(1, width // _HEAD_WIDTH)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.tell = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, _EXPANSION * width), nn.Linear(_EXPANSION * width, width)

    def forward(self, pieces: Tensor, known: Tensor) -> Tensor:
        """Return the pieces plus what each gathers from those that are known (b, n)."""
        heads = self.ask(self.norm_1(pieces)).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        gathered = F.scaled_dot_product_attention(*heads, attn_mask=known[:, None, None, :])
        pieces = pieces + self.tell(gathered.transpose(1, 2).flatten(2))
        return pieces + self.narrow(F.gelu(self.widen(self.norm_2(pieces))))


class TextTower(nn.Module):
    """The network over word pieces. ``forward``: (b, n, d) and which are known (b, n) -> (b, out) of unit norm."""

    def __init__(self, piece_dim: int, width: int, depth: int, out_dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(piece_dim, width)
        self.position = nn.Parameter(0.02 * torch.randn(MAX_PIECES, width))
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, out_dim)

    def forward(self, pieces: Tensor, known: Tensor) -> Tensor:
        """Return the direction of each text."""
        states = self.enter(pieces) + self.position[: pieces.shape[1]]
        for layer in self.layers:
            states = layer(states, known)
        share = known.to(states.dtype) / known.sum(dim=1, keepdim=True)
        pooled = torch.einsum("bnw,bn->bw", self.norm(states), share)
        return F.normalize(self.leave(pooled), dim=-1)
