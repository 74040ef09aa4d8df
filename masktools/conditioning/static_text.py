"""Texts -> vectors by static word-piece vectors: their weighted sum, without a language model.

The vocabulary is part of the state: a bundle needs no other file than the weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from masktools.arguments import shown
from masktools.conditioning.wordpiece import WordPiece
from masktools.errors import ParameterError

__all__ = ["StaticText", "pack_vocabulary", "quantise_rows", "unpack_vocabulary"]


def pack_vocabulary(pieces: Sequence[str]) -> Tensor:
    r"""Return the pieces as UTF-8 bytes, one a line: uint8, (n_bytes,).

    Raises:
        ParameterError: A piece is empty or holds a line break, or a piece occurs twice.
    """
    if any(not piece or "\n" in piece for piece in pieces):
        raise ParameterError("a piece of a vocabulary must be a text without line breaks, got an empty or a broken one")
    if len(set(pieces)) != len(pieces):
        raise ParameterError(f"the pieces of a vocabulary must differ, got {len(pieces) - len(set(pieces))} repeated")
    return torch.frombuffer(bytearray("\n".join(pieces).encode("utf-8")), dtype=torch.uint8)


def unpack_vocabulary(packed: Tensor) -> list[str]:
    """Return the pieces that ``pack_vocabulary`` packed.

    >>> unpack_vocabulary(pack_vocabulary(["dog", "##s"]))
    ['dog', '##s']
    """
    return bytes(packed.cpu().numpy()).decode("utf-8").split("\n")


def quantise_rows(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 codes (n, d) and scales (n,) with codes * scales close to the vectors."""
    scales = vectors.abs().amax(dim=1).clamp_min(1e-8) / 127.0
    return (vectors / scales.unsqueeze(1)).round().to(torch.int8), scales


class StaticText(nn.Module):
    """The vectors of the word pieces. ``forward``: b texts -> (b, d) of unit norm.

    Source: the static embeddings of model2vec (Tulkens and van Dongen, 2024).
    """

    codes: Tensor
    scales: Tensor
    vocabulary: Tensor

    def __init__(self, n_tokens: int, dim: int, n_vocabulary_bytes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(n_tokens, dim, dtype=torch.int8))
        self.register_buffer("scales", torch.ones(n_tokens))
        self.register_buffer("vocabulary", torch.zeros(n_vocabulary_bytes, dtype=torch.uint8))
        self._wordpiece: WordPiece | None = None
        self.register_load_state_dict_post_hook(_forget_vocabulary)

    @property
    def wordpiece(self) -> WordPiece:
        """The splitting by the vocabulary that is loaded.

        Raises:
            ParameterError: No vocabulary is loaded.
        """
        if self._wordpiece is None:
            pieces = unpack_vocabulary(self.vocabulary) if self.vocabulary.any() else []
            if len(pieces) != len(self.codes):
                raise ParameterError(
                    f"the text side needs a vocabulary of {len(self.codes)} pieces, got {len(pieces)}: load its weights"
                )
            self._wordpiece = WordPiece(pieces)
        return self._wordpiece

    def pieces(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the pieces of each text as rows of the table, (b, n), and which of them there are, (b, n).

        Raises:
            ParameterError: None of the words of a text can be spelt by the vocabulary.
        """
        rows = [self.wordpiece.ids(text) for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if not row:
                raise ParameterError(f"a prompt must be in English words, but none of {shown(text)} can be spelt")
        longest = max(len(row) for row in rows)
        device = self.codes.device
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        return padded, torch.tensor([[i < len(row) for i in range(longest)] for row in rows], device=device)

    def vectors(self, rows: Tensor) -> Tensor:
        """Return the vectors (b, n, d) of pieces (b, n)."""
        return self.codes[rows].to(self.scales.dtype) * self.scales[rows].unsqueeze(-1)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return the direction of each text.

        Raises:
            ParameterError: None of the words of a text can be spelt by the vocabulary.
        """
        padded, known = self.pieces(texts)
        weights = self.scales[padded] * known
        summed = torch.einsum("bld,bl->bd", self.codes[padded].to(weights.dtype), weights)
        return nn.functional.normalize(summed, dim=-1)


def _forget_vocabulary(module: nn.Module, _incompatible: object) -> None:
    """Make the text side read its vocabulary anew after weights were loaded."""
    module._wordpiece = None  # type: ignore[assignment]
