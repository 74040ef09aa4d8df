"""The toolkit's own small text-audio encoder: a description and a sound of it point the same way.

The audio side is a convolutional network over the mel spectrogram. The text side has one vector a word piece; they are
summed, or read by a small network, either of which was distilled from a sentence encoder. Both sides end in one space
of unit vectors. It takes the place of CLAP where a model must run offline, from one small file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts, check_least, settle
from masktools.core.configs import later, ranged
from masktools.core.errors import ParameterError
from masktools.core.shapes import Condition, Mel, Wave
from masktools.io import resample
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.conditioning.prompts import check_texts, check_wave
from masktools.networks.conditioning.text_encoder import MAX_PIECES, StaticText, TextTower, pack_vocabulary
from masktools.networks.packing import quantise_rows

_STEM = 4  # stride of the stem in both directions
_SILENT = -0.9  # a frame whose loudest mel cell lies below is silent; -75 dB where [-1, 1] spans [-80, 20] dB


class _Block(nn.Module):
    """A depthwise 5 x 5 convolution and a two-layer mixing of channels beside a skip. (b, c, h, w) -> the same."""

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, expansion * channels, 1)
        self.narrow = nn.Conv2d(expansion * channels, channels, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells plus what the block adds."""
        return cells + self.narrow(F.relu(self.widen(self.norm(self.spread(cells)))))


class AudioTower(nn.Module):
    """The audio side of the joint encoder. ``forward``: (b, f, m) in [-1, 1] -> (b, d), any number of frames.

    Frames of silence take no part in the pooling, so that a short sound in a long pause stays what it is.
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
        """Return one vector a clip, of any length.

        Raises:
            ParameterError: The mel spectrogram has another number of bands.
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
    n_tokens: int = 1  # pieces of the vocabulary
    n_vocabulary_bytes: int = 1  # the vocabulary as UTF-8, one piece a line
    text_hidden: int = 256
    widths: tuple[int, ...] = ranged((32, 96, 256), "[1, inf]")  # channels at 1/4, 1/8 and 1/16 of the resolution
    n_blocks: int = 1  # blocks a resolution
    dropout: float = ranged(0.2, "[0, 1)")
    text_depth: int = later(0)  # layers of the network over the pieces; 0: their sum
    text_width: int = later(192)  # of that network
    sentence_dim: int = later(384)  # of the vectors that it gives

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        check_least(0, text_depth=self.text_depth)
        check_counts(self, "dim", "token_dim", "n_tokens", "n_vocabulary_bytes", "text_hidden", "n_blocks")
        check_counts(self, "text_width", "sentence_dim")
        stride = 4 * 2 ** (len(self.widths) - 1)
        if self.mel.n_mels % stride:
            raise ParameterError(
                f"n_mels must be a multiple of {stride} for {len(self.widths)} widths, got {self.mel.n_mels}"
            )


class JointEncoder(nn.Module):
    """Text and audio -> one space of unit vectors: ``embed_text`` and ``embed_audio``, both (b, dim)."""

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
        self.straight = nn.Linear(text_dim, config.dim, bias=False)
        self.bent = nn.Sequential(
            nn.Linear(text_dim, config.text_hidden), nn.GELU(), nn.Linear(config.text_hidden, config.dim)
        )
        with torch.no_grad():  # the text side starts as the teacher's space, turned or cut at most
            self.straight.weight.zero_().fill_diagonal_(1.0)
            for parameter in self.bent[2].parameters():
                parameter.zero_()

    @classmethod
    def from_vectors(
        cls, pieces: Sequence[str], vectors: Tensor, config: JointEncoderConfig | None = None
    ) -> "JointEncoder":
        """Return an untrained encoder with the vocabulary ``pieces`` and one vector a piece, (n, token_dim).

        Raises:
            ParameterError: Pieces and vectors do not match in number.
        """
        if vectors.ndim != 2 or len(pieces) != len(vectors):
            raise ParameterError(f"vectors must be ({len(pieces)}, token_dim), got {tuple(vectors.shape)}")
        packed = pack_vocabulary(pieces)
        sizes = {"n_tokens": len(pieces), "token_dim": vectors.shape[1], "n_vocabulary_bytes": len(packed)}
        encoder = cls(replace(config or JointEncoderConfig(), **sizes))
        codes, scales = quantise_rows(vectors)
        scales = scales / scales.max()  # only directions matter, and small numbers do not survive half precision
        encoder.tokens.load_state_dict({"codes": codes, "scales": scales, "vocabulary": packed})
        return encoder

    @property
    def dim(self) -> int:
        """Size of an embedding."""
        return self.config.dim

    @property
    def sample_rate(self) -> int:
        """The rate in Hz at which the audio side listens; other rates are resampled."""
        return self.config.mel.sample_rate

    def encode_mel(self, mel: Mel) -> Condition:
        """Return the embedding of mel spectrograms made with ``config.mel``; carries gradients."""
        return F.normalize(self.audio(mel), dim=-1)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Return the vector of each text, of unit norm: what the sentence encoder would say. (b, token_dim or more)."""
        if self.reader is None:
            return self.tokens(texts)
        rows, known = self.tokens.pieces(texts)
        rows, known = rows[:, :MAX_PIECES], known[:, :MAX_PIECES]
        return self.read_pieces(self.tokens.vectors(rows), known)

    def read_pieces(self, vectors: Tensor, known: Tensor) -> Tensor:
        """Return the vectors of texts whose pieces (b, n, token_dim) are those that are known (b, n)."""
        if self.reader is None:
            raise ParameterError("a text side without layers sums its pieces: give it a text_depth")
        return self.reader(vectors, known)

    def encode_vectors(self, vectors: Tensor) -> Condition:
        """Return the embedding of vectors of texts, of unit norm, (b, d) as ``read`` gives them; carries gradients."""
        return F.normalize(self.straight(vectors) + self.bent(vectors), dim=-1)

    @torch.no_grad()
    def embed_audio(self, wave: Wave, sample_rate: int) -> Condition:
        """Return the embedding of each wave, whatever its rate and length.

        Args:
            wave: samples in [-1, 1]
            sample_rate: their rate in Hz

        Raises:
            ParameterError: There are no samples, or some are not finite.
        """
        check_wave(wave, sample_rate)
        wave = wave.to(self.front_end.window)
        if sample_rate != self.sample_rate:
            resampled = resample(wave.cpu().numpy(), sample_rate, self.sample_rate)
            wave = torch.from_numpy(resampled).to(wave)
        mel = self.config.mel
        shortest = mel.margin + 1 + mel.hop_length  # what one frame of the front end takes
        wave = F.pad(wave, (0, max(0, shortest - wave.shape[-1])))
        with _evaluating(self):
            return self.encode_mel(self.front_end(wave))

    @torch.no_grad()
    def embed_text(self, texts: list[str]) -> Condition:
        """Return the embedding of each text.

        Raises:
            ParameterError: There are no texts, one is empty, or none of its words can be spelt by the vocabulary.
        """
        check_texts(texts)
        with _evaluating(self):
            return self.encode_vectors(self.read(texts))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Switch off dropout and the statistics of the batch, so that a clip's embedding is its own."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
