"""Texts -> vectors without a language model: WordPiece, static vectors, and a small transformer trained beside them.

The vocabulary is part of the state: a bundle needs no other file than the weights.
"""

import unicodedata
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import shown
from masktools.core.errors import ParameterError

_MAX_WORD = 100  # characters; a longer word is unknown
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


def _stands_alone(character: str) -> bool:
    """Whether a character is a word of its own: punctuation, ASCII symbols and ideographs."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    is_ideograph = any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)
    return is_ideograph or unicodedata.category(character).startswith("P")


def _cleaned(text: str) -> Iterator[str]:
    for character in text:
        if character.isspace():
            yield " "
        elif character != "\ufffd" and not unicodedata.category(character).startswith("C"):
            yield character


def split_words(text: str) -> list[str]:
    """Return the words of a text: lower case, without accents, each punctuation mark a word of its own.

    Source: BERT (arXiv:1810.04805), its uncased basic tokenisation.

    >>> split_words("A café, at NIGHT!")
    ['a', 'cafe', ',', 'at', 'night', '!']
    """
    plain = unicodedata.normalize("NFD", "".join(_cleaned(text)))
    letters = "".join(c for c in plain if unicodedata.category(c) != "Mn").lower()
    return "".join(f" {c} " if _stands_alone(c) else c for c in letters).split()


class WordPiece:
    """A vocabulary and its greedy longest-match splitting; pieces inside a word are written ``##piece``.

    >>> WordPiece(["dog", "bark", "##ing"]).pieces("Dog barking?")
    ['dog', 'bark', '##ing']
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        self._ids = {piece: i for i, piece in enumerate(self.vocabulary)}

    def __len__(self) -> int:
        return len(self.vocabulary)

    def ids(self, text: str) -> list[int]:
        """Return the indices of the known pieces of a text; a word that cannot be spelt by them is left out."""
        return [i for word in split_words(text) for i in self._word_ids(word)]

    def pieces(self, text: str) -> list[str]:
        """Return the known pieces of a text."""
        return [self.vocabulary[i] for i in self.ids(text)]

    def _word_ids(self, word: str) -> list[int]:
        if len(word) > _MAX_WORD:
            return []
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            matches = (stop for stop in range(len(word), start, -1) if prefix + word[start:stop] in self._ids)
            stop = next(matches, None)
            if stop is None:
                return []
            found.append(self._ids[prefix + word[start:stop]])
            start = stop
        return found


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
