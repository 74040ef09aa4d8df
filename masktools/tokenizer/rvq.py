"""The residual quantiser: K codebooks, each for what those before it have left."""

import torch
from torch import Tensor, nn

from masktools.errors import ParameterError
from masktools.tokenizer.codebook import Codebook

__all__ = ["ResidualQuantiser"]


class ResidualQuantiser(nn.Module):
    """K codebooks of ``n_codes`` vectors. ``encode``: (b, d, w) -> (b, K, w); ``decode`` the other way.

    It is trained stream by stream, by ``masktools.training.token_streams``.

    Source: SoundStream (arXiv:2107.03312), section III-C.
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
