"""A small joint text-audio encoder: a description and a sound that match have similar embeddings.

The vocabulary is part of the state dict: a bundle needs no file but the weights.

The audio side is a convolutional network over the mel spectrogram. The text side has one vector for each word piece;
they are summed, or read by a small network, either of which was distilled from a sentence encoder. Both sides map to
one space of unit vectors. A text that was not in training is drawn to the texts that were and say nearly the same
(``TextMemory``). It replaces CLAP where a model must run offline, from one small file.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts, check_least, settle, shown
from masktools.core.configs import later, ranged
from masktools.core.errors import ParameterError
from masktools.core.shapes import Condition, Mel, Wave
from masktools.io import resample
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.conditioning.prompts import check_texts, check_wave
from masktools.networks.packing import quantise_rows, restored_rows

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
    """A vocabulary with greedy longest-match splitting; pieces inside a word are written ``##piece``.

    >>> WordPiece(["dog", "bark", "##ing"]).pieces("Dog barking?")
    ['dog', 'bark', '##ing']
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        self._ids = {piece: i for i, piece in enumerate(self.vocabulary)}

    def __len__(self) -> int:
        return len(self.vocabulary)

    def ids(self, text: str) -> list[int]:
        """Return the indices of the known pieces of a text; a word that they cannot spell is left out."""
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
    r"""Return the pieces as UTF-8 bytes, one per line: uint8, (n_bytes,).

    Raises:
        ParameterError: a piece is empty or holds a line break, or a piece occurs twice.
    """
    if any(not piece or "\n" in piece for piece in pieces):
        raise ParameterError("a piece of a vocabulary must be a text without line breaks, got an empty or a broken one")
    if len(set(pieces)) != len(pieces):
        raise ParameterError(f"the pieces of a vocabulary must differ, got {len(pieces) - len(set(pieces))} repeated")
    return torch.frombuffer(bytearray("\n".join(pieces).encode("utf-8")), dtype=torch.uint8)


def unpack_vocabulary(packed: Tensor) -> list[str]:
    """Return the pieces from the output of ``pack_vocabulary``.

    >>> unpack_vocabulary(pack_vocabulary(["dog", "##s"]))
    ['dog', '##s']
    """
    return bytes(packed.cpu().numpy()).decode("utf-8").split("\n")


class StaticText(nn.Module):
    """Mean vector of the word pieces. ``forward``: b texts -> (b, d) of unit norm.

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
        """The tokenizer with the loaded vocabulary.

        Raises:
            ParameterError: no vocabulary is loaded.
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
        """Return the pieces of each text as row indices of the table, (b, n), and which of them are no padding, (b, n).

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
        return restored_rows(self.codes[rows], self.scales[rows])

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return the unit vector of each text.

        Raises:
            ParameterError: None of the words of a text can be spelt by the vocabulary.
        """
        padded, known = self.pieces(texts)
        weights = self.scales[padded] * known
        summed = torch.einsum("bld,bl->bd", self.codes[padded].to(weights.dtype), weights)
        return nn.functional.normalize(summed, dim=-1)


def _forget_vocabulary(module: nn.Module, _incompatible: object) -> None:
    """Make the text side read its vocabulary again after weights were loaded."""
    module._wordpiece = None  # type: ignore[assignment]


MAX_PIECES = 48  # pieces of a text; longer ones are truncated
_HEAD_WIDTH = 32
_EXPANSION = 3


class _Layer(nn.Module):
    """Transformer layer over the pieces of a text. (b, n, w) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.n_heads = max(1, width // _HEAD_WIDTH)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.tell = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, _EXPANSION * width), nn.Linear(_EXPANSION * width, width)

    def forward(self, pieces: Tensor, known: Tensor) -> Tensor:
        """Return the output of the layer; ``known`` (b, n) is True for pieces that are no padding."""
        heads = self.ask(self.norm_1(pieces)).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        gathered = F.scaled_dot_product_attention(*heads, attn_mask=known[:, None, None, :])
        pieces = pieces + self.tell(gathered.transpose(1, 2).flatten(2))
        return pieces + self.narrow(F.gelu(self.widen(self.norm_2(pieces))))


class TextTower(nn.Module):
    """Network over word pieces. ``forward``: (b, n, d) and padding mask (b, n) -> (b, out) of unit norm."""

    def __init__(self, piece_dim: int, width: int, depth: int, out_dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(piece_dim, width)
        self.position = nn.Parameter(0.02 * torch.randn(MAX_PIECES, width))
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, out_dim)

    def forward(self, pieces: Tensor, known: Tensor) -> Tensor:
        """Return the unit vector of each text."""
        states = self.enter(pieces) + self.position[: pieces.shape[1]]
        for layer in self.layers:
            states = layer(states, known)
        share = known.to(states.dtype) / known.sum(dim=1, keepdim=True)
        pooled = torch.einsum("bnw,bn->bw", self.norm(states), share)
        return F.normalize(self.leave(pooled), dim=-1)


_NEARNESS, _TRUST = 0.03, 3.0  # temperature of the cosines; weight of the memory beside the text itself
_N_NEAR = 256  # remembered texts that are looked at; the shares of the others vanish
_SAME = 0.999  # cosine from which on two text vectors are one


class TextMemory(nn.Module):
    """Text vectors of the texts of training, in eight bits. ``forward``: (b, d) -> (b, k) and (b, k, d), the nearest.

    A map from text vectors to the joint space is only right where it was trained; the sentence encoder knows which
    trained text a new one is near.

    Source: the support memory of DeCap (arXiv:2303.03032), section 3.2, for texts in place of images.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, n_texts: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(n_texts, dim, dtype=torch.int8))
        self.register_buffer("scales", torch.ones(n_texts))

    @property
    def vectors(self) -> Tensor:
        """The vectors (n, d), of unit norm."""
        return F.normalize(restored_rows(self.codes, self.scales), dim=-1)

    def forward(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors nearest to those of texts, of unit norm, and before them the softmax of their cosines."""
        vectors = self.vectors
        cosines, places = (read @ vectors.T).topk(min(_N_NEAR, len(vectors)))
        return (cosines / _NEARNESS).softmax(dim=-1), vectors[places]


_STEM = 4  # stride of the stem in both directions
_SILENT = -0.9  # a frame whose loudest mel bin is below is silent; -75 dB where [-1, 1] spans [-80, 20] dB


class _Block(nn.Module):
    """Residual block: a depthwise 5 x 5 convolution and a two-layer mixing of channels. (b, c, h, w) -> the same."""

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, expansion * channels, 1)
        self.narrow = nn.Conv2d(expansion * channels, channels, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the output of the block."""
        return cells + self.narrow(F.relu(self.widen(self.norm(self.spread(cells)))))


class AudioTower(nn.Module):
    """The audio side of the joint encoder. ``forward``: (b, f, m) in [-1, 1] -> (b, d), any number of frames.

    Silent frames are left out of the pooling, so that a short sound in a long pause has its own embedding.
    """

    def __init__(self, n_mels: int, widths: tuple[int, ...], n_blocks: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.stride = _STEM * 2 ** (len(widths) - 1)
        self.n_mels = n_mels
        self.scale = nn.BatchNorm1d(n_mels)
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 7, stride=_STEM, padding=3, bias=False)]
        layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for width, deeper in zip(widths, (*widths[1:], None), strict=True):
            layers += [_Block(width) for _ in range(n_blocks)]
            if deeper is not None:
                layers += [nn.BatchNorm2d(width), nn.Conv2d(width, deeper, 2, stride=2)]
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * widths[-1] * (n_mels // self.stride), dim)

    def forward(self, mel: Mel) -> Condition:
        """Return one vector per clip, of any length.

        Raises:
            ParameterError: the mel spectrogram has another number of bands.
        """
        if mel.shape[1] != self.n_mels:
            raise ParameterError(f"the audio side reads mel spectrograms of {self.n_mels} bands, got {mel.shape[1]}")
        mel = F.pad(mel, (0, -mel.shape[-1] % self.stride), value=-1.0)  # silence, which the pooling leaves out
        stem = self.body[0](self.scale(mel).unsqueeze(1)).contiguous(memory_format=torch.channels_last)  # faster so
        maps = self.body[1:](stem).flatten(1, 2)  # (b, channels * rows, columns)
        columns = mel.amax(dim=1).unflatten(-1, (-1, self.stride)).amax(dim=-1) > _SILENT  # (b, columns)
        weights = torch.where(columns.any(dim=-1, keepdim=True), columns, True).to(maps.dtype).unsqueeze(1)
        total = weights.sum(dim=-1)
        mean = (maps * weights).sum(dim=-1) / total
        variance = ((maps - mean.unsqueeze(-1)).square() * weights).sum(dim=-1) / total
        return self.head(self.drop(torch.cat([mean, (variance + 1e-5).sqrt()], dim=-1)))


@dataclass(frozen=True)
class JointEncoderConfig:
    """Settings of the joint encoder; the defaults are those of the bundled model."""

    mel: MelConfig = field(default_factory=lambda: MelConfig(f_max=11_025.0))
    dim: int = 128
    token_dim: int = 128
    n_tokens: int = 1  # word pieces of the vocabulary
    n_vocabulary_bytes: int = 1  # the vocabulary as UTF-8, one piece a line
    text_hidden: int = 256
    widths: tuple[int, ...] = ranged((32, 96, 256), "[1, inf]")  # channels at 1/4, 1/8 and 1/16 of the resolution
    n_blocks: int = 1  # blocks per resolution
    dropout: float = ranged(0.2, "[0, 1)")
    text_depth: int = later(0)  # layers of the network over the pieces; 0: their sum
    text_width: int = later(192)  # of that network
    sentence_dim: int = later(384)  # dimensions of its output vectors
    n_remembered: int = later(0)  # texts of training that other texts are drawn to

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        check_least(0, text_depth=self.text_depth, n_remembered=self.n_remembered)
        check_counts(self, "dim", "token_dim", "n_tokens", "n_vocabulary_bytes", "text_hidden", "n_blocks")
        check_counts(self, "text_width", "sentence_dim")
        stride = 4 * 2 ** (len(self.widths) - 1)
        if self.mel.n_mels % stride:
            raise ParameterError(
                f"n_mels must be a multiple of {stride} for {len(self.widths)} widths, got {self.mel.n_mels}"
            )


class JointEncoder(nn.Module):
    """Encoder of text and audio to one space of unit vectors: ``embed_text`` and ``embed_audio``, both (b, dim)."""

    def __init__(self, config: JointEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = MelFrontEnd(config.mel)
        self.audio = AudioTower(config.mel.n_mels, config.widths, config.n_blocks, config.dim, config.dropout)
        self.tokens = StaticText(config.n_tokens, config.token_dim, config.n_vocabulary_bytes)
        self.reader: TextTower | None = None
        text_dim = config.token_dim
        if config.text_depth:
            text_dim = config.sentence_dim
            self.reader = TextTower(config.token_dim, config.text_width, config.text_depth, text_dim)
        self.memory = TextMemory(config.n_remembered, text_dim) if config.n_remembered else None
        self.straight = nn.Linear(text_dim, config.dim, bias=False)
        self.bent = nn.Sequential(
            nn.Linear(text_dim, config.text_hidden), nn.GELU(), nn.Linear(config.text_hidden, config.dim)
        )
        with torch.no_grad():  # the text side starts as the teacher's space, rotated or truncated at most
            self.straight.weight.zero_().fill_diagonal_(1.0)
            for parameter in self.bent[2].parameters():
                parameter.zero_()

    @classmethod
    def from_vectors(
        cls, pieces: Sequence[str], vectors: Tensor, config: JointEncoderConfig | None = None
    ) -> "JointEncoder":
        """Return an untrained encoder with the vocabulary ``pieces`` and one vector for each, (n, token_dim).

        Raises:
            ParameterError: pieces and vectors do not match in number.
        """
        if vectors.ndim != 2 or len(pieces) != len(vectors):
            raise ParameterError(f"vectors must be ({len(pieces)}, token_dim), got {tuple(vectors.shape)}")
        packed = pack_vocabulary(pieces)
        sizes = {"n_tokens": len(pieces), "token_dim": vectors.shape[1], "n_vocabulary_bytes": len(packed)}
        encoder = cls(replace(config or JointEncoderConfig(), **sizes))
        codes, scales = quantise_rows(vectors)
        scales = scales / scales.max()  # only directions matter, and small numbers underflow in half precision
        encoder.tokens.load_state_dict({"codes": codes, "scales": scales, "vocabulary": packed})
        return encoder

    @property
    def dim(self) -> int:
        """Size of an embedding."""
        return self.config.dim

    @property
    def sample_rate(self) -> int:
        """Sampling rate of the audio side in Hz; other rates are resampled."""
        return self.config.mel.sample_rate

    def encode_mel(self, mel: Mel) -> Condition:
        """Return the embedding of mel spectrograms made with ``config.mel``; differentiable."""
        return F.normalize(self.audio(mel), dim=-1)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Return the text vector of each text, (b, token_dim or more), of unit norm: an estimate of the teacher's."""
        if self.reader is None:
            return self.tokens(texts)
        rows, known = self.tokens.pieces(texts)
        rows, known = rows[:, :MAX_PIECES], known[:, :MAX_PIECES]
        return self.read_pieces(self.tokens.vectors(rows), known)

    def read_pieces(self, vectors: Tensor, known: Tensor) -> Tensor:
        """Return the text vectors for pieces (b, n, token_dim) with a padding mask (b, n)."""
        if self.reader is None:
            raise ParameterError("a text side without layers sums its pieces: give it a text_depth")
        return self.reader(vectors, known)

    def remember(self, vectors: Tensor) -> None:
        """Add text vectors (n, d) of ``read`` to the memory, but for those that it holds already."""
        if self.memory is not None:
            held = self.memory.vectors
            vectors = torch.cat([held, vectors[(vectors @ held.T).amax(dim=1) < _SAME]])
        self.config = replace(self.config, n_remembered=len(vectors))
        self.memory = TextMemory(*vectors.shape)
        codes, scales = quantise_rows(vectors)
        self.memory.load_state_dict({"codes": codes, "scales": scales})

    def encode_read(self, read: Tensor) -> Condition:
        """Return the embedding, of unit norm, of text vectors (b, d) from ``read``, drawn to the remembered ones."""
        own = self.encode_vectors(read)
        if self.memory is None:
            return own
        shares, near = self.memory(read)
        mapped = self.encode_vectors(near.flatten(0, 1)).unflatten(0, shares.shape)
        return F.normalize(own + _TRUST * torch.einsum("bk,bkd->bd", shares, mapped), dim=-1)

    def encode_vectors(self, vectors: Tensor) -> Condition:
        """Return the embedding, of unit norm, of text vectors (b, d) by the two maps alone; differentiable."""
        return F.normalize(self.straight(vectors) + self.bent(vectors), dim=-1)

    @torch.no_grad()
    def embed_audio(self, wave: Wave, sample_rate: int) -> Condition:
        """Return the embedding of each wave, of any rate and length.

        Args:
            wave: samples in [-1, 1]
            sample_rate: sampling rate in Hz

        Raises:
            ParameterError: there are no samples, or some are not finite.
        """
        check_wave(wave, sample_rate)
        wave = wave.to(self.front_end.window)
        if sample_rate != self.sample_rate:
            resampled = resample(wave.cpu().numpy(), sample_rate, self.sample_rate)
            wave = torch.from_numpy(resampled).to(wave)
        mel = self.config.mel
        shortest = mel.margin + 1 + mel.hop_length  # samples for one mel frame
        wave = F.pad(wave, (0, max(0, shortest - wave.shape[-1])))
        with _evaluating(self):
            return self.encode_mel(self.front_end(wave))

    @torch.no_grad()
    def embed_text(self, texts: list[str]) -> Condition:
        """Return the embedding of each text.

        Raises:
            ParameterError: there are no texts, one is empty, or none of its words can be spelt by the vocabulary.
        """
        check_texts(texts)
        with _evaluating(self):
            return self.encode_read(self.read(texts))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Switch off dropout and batch statistics, so that an embedding depends on its clip alone."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
