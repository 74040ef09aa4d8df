"""The codec over mel spectrograms: whole frames -> a few dimensions -> K streams of tokens, and back.

It normalises over channels only, so that a token depends on its neighbourhood alone, and any length is legal. The wave
is a vocoder's business.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from masktools.core.arguments import check_counts
from masktools.core.shapes import Mel
from masktools.mel import check_patches
from masktools.networks.packing import KeepsLayers
from masktools.networks.tokenizer.local import ResidualQuantiser


@dataclass(frozen=True)
class MelRvqConfig:
    """Settings of the codec; the defaults are those of the bundled streams model."""

    n_mels: int = 80
    n_streams: int = 4
    n_codes: int = 512
    code_dim: int = 64
    width: int = 192  # channels
    n_blocks: int = 3  # at either side
    stride: int = 4  # mel frames of a column

    def __post_init__(self) -> None:
        """Check every range."""
        check_counts(self, "n_mels", "n_streams", "n_codes", "code_dim", "width", "n_blocks", "stride")


class _Norm(nn.Module):
    """Layer norm over the channels of each frame. ``forward``: (b, c, m) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, frames: Tensor) -> Tensor:
        """Return frames with zero mean and unit variance over their channels, scaled and shifted."""
        return self.norm(frames.transpose(1, 2)).transpose(1, 2)


class _Block(nn.Module):
    """Two convolutions beside a skip, the first one wide in time. ``forward``: (b, c, m) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _Norm(channels),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 5, padding=2),
            _Norm(channels),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return the frames plus what the convolutions add."""
        return frames + self.body(frames)


class MelRvq(KeepsLayers):
    """Mel spectrogram <-> token streams. ``encode``: (b, f, m) -> (b, K, m // stride); ``decode`` the other way."""

    reads_waves = False

    def __init__(self, config: MelRvqConfig) -> None:
        super().__init__()
        self.config = config
        width, stride = config.width, config.stride
        blocks = [[_Block(width) for _ in range(config.n_blocks)] for _ in range(2)]
        self.encoder = nn.Sequential(
            nn.Conv1d(config.n_mels, width, 3, padding=1),
            *blocks[0],
            nn.Conv1d(width, width, stride, stride=stride),
            _Norm(width),
            nn.SiLU(),
            nn.Conv1d(width, config.code_dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(config.code_dim, width, 3, padding=1),
            nn.ConvTranspose1d(width, width, stride, stride=stride),
            *blocks[1],
            _Norm(width),
            nn.SiLU(),
            nn.Conv1d(width, config.n_mels, 3, padding=1),
        )
        self.quantiser = ResidualQuantiser(config.n_streams, config.n_codes, config.code_dim)

    @property
    def n_codes(self) -> int:
        """Size of each codebook."""
        return self.config.n_codes

    @property
    def n_rows(self) -> int:
        """Tokens of a column: its streams."""
        return self.config.n_streams

    @property
    def reach_cols(self) -> int:
        """Columns beside a stretch of frames whose tokens depend on it, frames of a front end's overlap among them."""
        return -(-(1 + 2 * self.config.n_blocks + 3) // self.config.stride)

    @property
    def patch(self) -> int:
        """Mel frames of a column."""
        return self.config.stride

    def to_latents(self, mel: Mel) -> Tensor:
        """Return the vectors (b, d, w) before quantisation.

        Raises:
            ParameterError: Another number of bands, or frames that are no whole columns.
        """
        check_patches(mel, self.config.n_mels, self.patch)
        return self.encoder(mel)

    def from_latents(self, vectors: Tensor) -> Mel:
        """Return the mel spectrogram of vectors (b, d, w); it may leave [-1, 1] a little in training."""
        return self.decoder(vectors)

    def encode(self, mel: Mel) -> Tensor:
        """Return the tokens (b, K, w) of each stream and column."""
        return self.quantiser.encode(self.to_latents(mel))

    def decode(self, tokens: Tensor) -> Mel:
        """Return the mel spectrogram in [-1, 1] that the first streams (b, k, w), all or fewer, stand for."""
        return self.from_latents(self.quantiser.decode(tokens)).clamp(-1.0, 1.0)
