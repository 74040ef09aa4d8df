"""The residual quantiser: K codebooks, each for what those before it have left."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from masktools.errors import ParameterError
from masktools.tokenizer.codebook import Codebook

__all__ = ["ResidualQuantised", "ResidualQuantiser"]


class ResidualQuantised(NamedTuple):
    """What quantising a map of vectors stream by stream gives."""

    vectors: Tensor  # (b, d, w), straight-through: its gradient goes to the encoder
    tokens: Tensor  # (b, K, w) int64, of the streams in use
    loss: Tensor  # scalar, the sum of the codebooks' own


class ResidualQuantiser(nn.Module):
    """K codebooks of ``n_codes`` vectors. ``encode``: (b, d, w) -> (b, K, w); ``decode`` the other way.

    Source: SoundStream (arXiv:2107.03312), section III-C, with its dropout of streams.
    """

    def __init__(self, n_streams: int, n_codes: int, dim: int) -> None:
        super().__init__()
        if n_streams < 1:
            raise ParameterError(f"n_streams must be at least 1, got {n_streams}")
        self.codebooks = nn.ModuleList(Codebook(n_codes, dim) for _ in range(n_streams))

    def encode(self, z: Tensor) -> Tensor:
        """Return the tokens of each stream."""
        residual, tokens = z.float(), list[Tensor]()
        for codebook in self.codebooks:
            tokens.append(codebook.nearest(residual))  # pyright: ignore[reportCallIssue]
            residual = residual - codebook.lookup(tokens[-1])  # pyright: ignore[reportCallIssue]
        return torch.stack(tokens, dim=1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return the vectors (b, d, w) of the first streams (b, k, w): as many as are given, one at least.

        Raises:
            ParameterError: More streams than there are codebooks, or none.
        """
        if not 1 <= tokens.shape[1] <= len(self.codebooks):
            raise ParameterError(f"tokens must be of 1 to {len(self.codebooks)} streams, got {tokens.shape[1]}")
        rows = zip(self.codebooks, tokens.unbind(1), strict=False)
        return torch.stack([codebook.lookup(row) for codebook, row in rows]).sum(dim=0)  # pyright: ignore

    def forward(self, z: Tensor, n_streams: int | None = None) -> ResidualQuantised:
        """Quantise by the first ``n_streams`` codebooks, by default all; in training mode those also move.

        Args:
            z: Vectors (b, d, w).
            n_streams: Streams in use, from 1 to K: dropout of streams draws it for each step.

        Raises:
            ParameterError: Another number of streams.
        """
        n_used = len(self.codebooks) if n_streams is None else n_streams
        if not 1 <= n_used <= len(self.codebooks):
            raise ParameterError(f"n_streams must lie in [1, {len(self.codebooks)}], got {n_streams}")
        z = z.float()
        total, tokens = torch.zeros_like(z), list[Tensor]()
        loss = z.new_zeros(())
        for codebook in self.codebooks[:n_used]:
            given = z - total  # as the residual is, but with the gradient of z
            quantised = codebook(given)
            entries = codebook.lookup(quantised.tokens).detach()  # pyright: ignore[reportCallIssue]
            total = total + entries
            tokens.append(quantised.tokens)
            loss = loss + quantised.loss
        return ResidualQuantised(z + (total - z).detach(), torch.stack(tokens, dim=1), loss)
