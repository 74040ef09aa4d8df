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

from masktools.conditioning.audio_tower import AudioTower
from masktools.conditioning.checks import check_texts, check_wave
from masktools.conditioning.static_text import StaticText, pack_vocabulary, quantise_rows
from masktools.conditioning.text_tower import MAX_PIECES, TextTower
from masktools.configs import later
from masktools.errors import ParameterError
from masktools.io import resample
from masktools.mel import MelConfig, MelFrontEnd
from masktools.shapes import Condition, Mel, Wave

__all__ = ["JointEncoder", "JointEncoderConfig"]


@dataclass(frozen=True)
class JointEncoderConfig:
    """Settings of the joint encoder; the defaults are those of the bundled model."""

    mel: MelConfig = field(default_factory=lambda: MelConfig(f_max=11_025.0))
    dim: int = 128
    token_dim: int = 128
    n_tokens: int = 1  # pieces of the vocabulary
    n_vocabulary_bytes: int = 1  # the vocabulary as UTF-8, one piece a line
    text_hidden: int = 256
    widths: tuple[int, ...] = (32, 96, 256)  # channels at 1/4, 1/8 and 1/16 of the resolution
    n_blocks: int = 1  # blocks a resolution
    dropout: float = 0.2
    text_depth: int = later(0)  # layers of the network over the pieces; 0: their sum
    text_width: int = later(192)  # of that network
    sentence_dim: int = later(384)  # of the vectors that it gives

    def __post_init__(self) -> None:
        """Check every range."""
        for name in ("dim", "token_dim", "n_tokens", "n_vocabulary_bytes", "text_hidden", "n_blocks"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.widths or min(self.widths) < 1:
            raise ParameterError(f"widths must be positive channel counts, got {self.widths}")
        stride = 4 * 2 ** (len(self.widths) - 1)
        if self.mel.n_mels % stride:
            raise ParameterError(
                f"n_mels must be a multiple of {stride} for {len(self.widths)} widths, got {self.mel.n_mels}"
            )
        if self.text_depth < 0 or self.text_width < 1 or self.sentence_dim < 1:
            raise ParameterError(
                f"text_depth must not be negative and text_width and sentence_dim at least 1, got {self.text_depth}, "
                f"{self.text_width} and {self.sentence_dim}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ParameterError(f"dropout must lie in [0, 1), got {self.dropout:g}")


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
