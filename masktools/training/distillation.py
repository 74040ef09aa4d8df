"""A sentence encoder -> one static vector a word piece, for texts without a language model.

Each piece of the vocabulary goes through the teacher alone; its vector is reduced by principal components and
weighted by how rare the piece is. The mean of such vectors stands for a text.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from masktools.arguments import check_positive, check_within
from masktools.errors import ParameterError

_BATCH = 512  # pieces at a time
HiddenStates = Callable[[Tensor], Tensor]  # (b, n) token indices -> (b, n, d)


def useful_pieces(vocabulary: Sequence[str]) -> list[int]:
    """Return the indices of the pieces worth keeping: those of printable ASCII, without special tokens.

    >>> useful_pieces(["[PAD]", "[unused1]", "dog", "##s", "犬", "["])
    [2, 3, 5]
    """
    return [
        i
        for i, piece in enumerate(vocabulary)
        if piece.isascii() and piece.isprintable() and piece and not (piece[0] == "[" and len(piece) > 1)
    ]


def rarity_weights(pieces: Sequence[str], smoothing: float = 1e-4) -> Tensor:
    """Return the weight smoothing / (smoothing + p) of each piece, (n,) in (0, 1).

    The probability p follows Zipf's law over the order of the vocabulary, which goes from frequent to rare. Single
    characters come first in BERT's vocabulary whatever their frequency; they count as the most frequent.

    Source: Arora et al., "A simple but tough-to-beat baseline for sentence embeddings" (ICLR 2017), Eq. 3.
    """
    check_positive(smoothing=smoothing)
    long = torch.tensor([len(piece.removeprefix("##")) > 1 for piece in pieces])
    rank = torch.where(long, long.cumsum(0), 1).double()
    probability = (1.0 / rank) / (1.0 / rank[long]).sum().clamp_min(1.0)
    return (smoothing / (smoothing + probability)).float()


def principal_components(vectors: Tensor, dim: int) -> Tensor:
    """Return the centred vectors in the basis of their ``dim`` strongest directions, (n, d) -> (n, dim).

    Raises:
        ParameterError: ``dim`` is larger than the vectors or their number.
    """
    check_within(f"[1, {min(vectors.shape)}]", dim=dim)
    centred = vectors.double() - vectors.double().mean(dim=0)
    _, axes = torch.linalg.eigh(centred.T @ centred)  # ascending
    axes = axes[:, -dim:].flip(1)
    signs = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()  # so that a rerun gives the same vectors
    return (centred @ (axes * signs)).float()


@torch.no_grad()
def distil_vectors(
    hidden_states: HiddenStates, pieces: Sequence[str], ids: Sequence[int], ends: tuple[int, int], dim: int = 128
) -> Tensor:
    """Return one vector a piece, weighted by its rarity, (n, dim).

    Args:
        hidden_states: the teacher, from token indices (b, n) to its last layer (b, n, d)
        pieces: the texts of the pieces, from frequent to rare
        ids: their indices in the teacher's vocabulary
        ends: the teacher's indices of the tokens that open and close a text
        dim: size of a vector

    Source: the idea of model2vec (Tulkens and van Dongen, 2024): static vectors from a sentence encoder.
    """
    if len(pieces) != len(ids):
        raise ParameterError(f"pieces and ids must be of one length, got {len(pieces)} and {len(ids)}")
    means = []
    for inner in torch.tensor(ids).split(_BATCH):
        framed = torch.stack([torch.full_like(inner, ends[0]), inner, torch.full_like(inner, ends[1])], dim=1)
        means.append(torch.nn.functional.normalize(hidden_states(framed).float().mean(dim=1), dim=-1))
    return principal_components(torch.cat(means), dim) * rarity_weights(pieces).unsqueeze(1)
