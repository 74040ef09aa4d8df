"""The small tokenizer whose tokens are local: mel <-> tokens without attention and without clip statistics.

Each 16 x 16 patch of the mel spectrogram becomes one token. The encoder normalises over channels only, so a
token depends on its neighbourhood alone: erasing a gap leaves the tokens a few columns away as they were, and
any length of audio is legal.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from masktools.core.arguments import check_counts, check_least
from masktools.core.configs import later
from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel, Tokens
from masktools.mel import check_patches
from masktools.networks.packing import KeepsLayers
from masktools.networks.tokenizer.codebook import Codebook

_STEM = 4  # the pixel-unshuffle that spares the cost of the full resolution


@dataclass(frozen=True)
class LocalTokenizerConfig:
    """Settings of the local tokenizer; the defaults are those of the bundled model."""

    n_mels: int = 80
    n_codes: int = 1024
    code_dim: int = 256
    widths: tuple[int, ...] = (48, 96, 192)  # channels at 1/4, 1/8 and 1/16 of the resolution
    n_encoder_blocks: int = 1
    n_decoder_blocks: int = 1
    n_deep_blocks: int = later(0)  # of the decoder at 1/16 of the resolution, beside those of every level

    def __post_init__(self) -> None:
        """Check every range."""
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise ParameterError(f"widths must be three positive channel counts, got {self.widths}")
        if self.n_mels % 16 or self.n_mels < 16:
            raise ParameterError(f"n_mels must be a multiple of 16, got {self.n_mels}")
        check_counts(self, "n_codes", "code_dim", "n_encoder_blocks", "n_decoder_blocks")
        check_least(0, n_deep_blocks=self.n_deep_blocks)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each cell. ``forward``: (b, c, h, w) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells with zero mean and unit variance over their channels, scaled and shifted."""
        return self.norm(cells.movedim(1, -1)).movedim(-1, 1)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a skip. ``forward``: (b, c, h, w) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ChannelNorm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            ChannelNorm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells plus what the two convolutions add."""
        return cells + self.body(cells)


def _encoder(config: LocalTokenizerConfig) -> nn.Sequential:
    layers: list[nn.Module] = [nn.PixelUnshuffle(_STEM), nn.Conv2d(_STEM**2, config.widths[0], 3, padding=1)]
    for width, deeper in zip(config.widths, (*config.widths[1:], None), strict=True):
        layers += [ResidualBlock(width) for _ in range(config.n_encoder_blocks)]
        if deeper is not None:
            layers.append(nn.Conv2d(width, deeper, 2, stride=2))
    return nn.Sequential(
        *layers, ChannelNorm(config.widths[-1]), nn.SiLU(), nn.Conv2d(config.widths[-1], config.code_dim, 1)
    )


def _decoder(config: LocalTokenizerConfig) -> nn.Sequential:
    widths = config.widths[::-1]
    layers: list[nn.Module] = [nn.Conv2d(config.code_dim, widths[0], 3, padding=1)]
    layers += [ResidualBlock(widths[0]) for _ in range(config.n_deep_blocks)]
    for width, shallower in zip(widths, (*widths[1:], None), strict=True):
        layers += [ResidualBlock(width) for _ in range(config.n_decoder_blocks + 1)]
        if shallower is not None:
            layers += [nn.Conv2d(width, 4 * shallower, 3, padding=1), nn.PixelShuffle(2)]
    head = nn.Conv2d(widths[-1], _STEM**2, 3, padding=1)
    return nn.Sequential(*layers, ChannelNorm(widths[-1]), nn.SiLU(), head, nn.PixelShuffle(_STEM))


class LocalTokenizer(KeepsLayers):
    """Mel spectrogram <-> tokens. ``encode``: (b, f, m) -> (b, f // 16, m // 16); ``decode`` the other way."""

    patch = 16

    def __init__(self, config: LocalTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config)
        self.decoder = _decoder(config)
        self.codebook = Codebook(config.n_codes, config.code_dim)

    @property
    def n_codes(self) -> int:
        """Size of the codebook."""
        return self.config.n_codes

    @property
    def n_rows(self) -> int:
        """Token rows of a column."""
        return self.config.n_mels // self.patch

    def to_latents(self, mel: Mel) -> Tensor:
        """Return the vectors (b, d, r, w) before quantisation."""
        check_patches(mel, self.config.n_mels, self.patch)
        return self.encoder(mel.unsqueeze(1))

    def from_latents(self, vectors: Tensor) -> Mel:
        """Return the mel spectrogram of vectors (b, d, r, w); it may leave [-1, 1] a little in training."""
        return self.decoder(vectors).squeeze(1)

    def encode(self, mel: Mel) -> Tokens:
        """Return the token of each patch."""
        return self.codebook.nearest(self.to_latents(mel))

    def decode(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram in [-1, 1] that the tokens stand for."""
        return self.from_latents(self.codebook.lookup(tokens)).clamp(-1.0, 1.0)
