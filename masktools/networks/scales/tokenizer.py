"""The tokenizer over scales: spectrogram -> channels multiplexed -> latents -> a token for each cell of each scale.

It normalises over channels only, so that clips do not depend on each other, nor on their loudest moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts
from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel
from masktools.mel import MelConfig
from masktools.networks.packing import KeepsLayers
from masktools.networks.scales.multiplex import LAYOUTS, ChannelMultiplex, Truncation
from masktools.networks.scales.pyramid import ScalePyramid, keep_in_checkpoint
from masktools.networks.scales.quantiser import MultiScaleQuantiser, ScaleQuantised
from masktools.networks.tokenizer.local import ChannelNorm, ResidualBlock

__all__ = ["LINEAR", "ScaleTokenizer", "ScaleTokenizerConfig"]

LINEAR = MelConfig(sample_rate=16_000, n_mels=512, f_max=8_000.0, db_min=-52.0, db_max=48.0, linear=True)
"""The front end of MARS: 512 bins of the short-time spectrum at 16 kHz; 48 dB is a sine of full scale."""

_SILENCE = -1.0


@dataclass(frozen=True)
class ScaleTokenizerConfig:
    """Settings of the tokenizer over scales; the defaults are for notes of 2.4 s with the mel settings of the house.

    Attributes:
        n_mels: bins of the spectrogram.
        scales: rows and columns of each scale, from coarse to fine.
        multiplex: factors of channel multiplexing, in frequency and in time.
        layout: that of ``ChannelMultiplex``.
        truncate: bins and frames that are kept, for the baseline of channel multiplexing; null keeps all.
        widths: channels at each resolution; each is half the one before, from that after multiplexing on.
        n_blocks: residual blocks at each resolution, on either side.
        n_codes: size of a codebook.
        code_dim: dimensions of a latent.
        phi: as for ``MultiScaleQuantiser``, as are the others that follow.
    """

    n_mels: int = 80
    scales: tuple[tuple[int, int], ...] = ((5, 1), (5, 3), (5, 6), (5, 13))
    multiplex: tuple[int, int] = (2, 2)
    layout: Literal["polyphase", "block"] = "polyphase"
    truncate: tuple[int, int] | None = None
    widths: tuple[int, ...] = (48, 64, 96, 128)
    n_blocks: int = 1
    n_codes: int = 512
    code_dim: int = 32
    phi: Literal["shared", "per_scale", "none"] = "shared"
    n_phi: int = 4
    rho: float = 0.5
    up: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    shared_codebook: bool = True
    commitment: float = 0.25

    def __post_init__(self) -> None:
        """Check every range, and that the finest scale is the grid of the latents."""
        check_counts(self, "n_mels", "n_blocks", "n_codes", "code_dim", "n_phi")
        if not self.widths or min(self.widths) < 1:
            raise ParameterError(f"widths must be positive channel counts, got {self.widths}")
        if not 0 <= self.rho <= 1:
            raise ParameterError(f"rho must lie in [0, 1], got {self.rho:g}")
        if min(self.multiplex) < 1 or (self.truncate is not None and min(self.truncate) < 1):
            raise ParameterError(
                f"multiplex and truncate must be at least 1 in each axis, got {self.multiplex} and {self.truncate}"
            )
        rows, cols = self.pyramid.grid
        wanted = -(-self.kept_mels // self.cell[0])
        if rows != wanted:
            raise ParameterError(
                f"the finest scale must have {wanted} rows, one for each {self.cell[0]} of {self.kept_mels} bins, "
                f"got {rows}"
            )
        if self.truncate is not None and not 0 <= cols * self.cell[1] - self.truncate[1] < self.cell[1]:
            raise ParameterError(
                f"the finest scale must have {-(-self.truncate[1] // self.cell[1])} columns for the "
                f"{self.truncate[1]} frames that are kept, got {cols}"
            )

    @property
    def pyramid(self) -> ScalePyramid:
        """The scales."""
        return ScalePyramid(self.scales)

    @property
    def kept_mels(self) -> int:
        """Bins that the network sees."""
        return self.n_mels if self.truncate is None else min(self.n_mels, self.truncate[0])

    @property
    def cell(self) -> tuple[int, int]:
        """Bins and frames of one cell of the finest scale."""
        stride = 2 ** (len(self.widths) - 1)
        return self.multiplex[0] * stride, self.multiplex[1] * stride


class ScaleTokenizer(KeepsLayers):
    """Spectrogram <-> tokens of all scales. ``encode``: (b, f, m) -> a grid (b, h_k, w_k) for each; ``decode`` back."""

    def __init__(self, config: ScaleTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.multiplex = ChannelMultiplex(*config.multiplex, config.layout, _SILENCE)
        self.truncation = Truncation(*(config.truncate or (None, None)), _SILENCE)
        self.encoder = _encoder(config)
        self.decoder = _decoder(config)
        self.quantiser = MultiScaleQuantiser(
            config.pyramid,
            config.n_codes,
            config.code_dim,
            config.phi,
            config.n_phi,
            config.rho,
            config.up,
            config.shared_codebook,
            commitment=config.commitment,
        )
        keep_in_checkpoint(
            self,
            multiplexing=config.multiplex,
            layout=(LAYOUTS.index(config.layout),),
            truncation_sizes=config.truncate or (),
            codebook_size=(config.n_codes,),
        )

    @property
    def n_codes(self) -> int:
        """Size of each codebook."""
        return self.config.n_codes

    @property
    def pyramid(self) -> ScalePyramid:
        """The scales."""
        return self.quantiser.pyramid

    @property
    def n_frames(self) -> int:
        """Frames of the longest clip."""
        return self.pyramid.grid[1] * self.config.cell[1]

    def to_latents(self, mel: Mel) -> Tensor:
        """Return the vectors (b, d, h, w) before quantisation; a clip that is shorter is followed by silence.

        Raises:
            ParameterError: another number of bins, no frames, or more than the scales reach.
        """
        n_bins, n_frames = mel.shape[1:]
        longest = self.n_frames if self.config.truncate is None else n_frames
        if n_bins != self.config.n_mels or not 0 < n_frames <= longest:
            raise ParameterError(
                f"mel must have {self.config.n_mels} bins and 1 to {self.n_frames} frames, got {n_bins} and {n_frames}"
            )
        cells = self.truncation(mel.unsqueeze(1))
        height = self.pyramid.grid[0] * self.config.cell[0]
        cells = F.pad(cells, (0, self.n_frames - cells.shape[3], 0, height - cells.shape[2]), value=_SILENCE)
        return self.encoder(self.multiplex(cells))

    def from_latents(self, vectors: Tensor, n_frames: int | None = None) -> Mel:
        """Return the spectrogram of vectors (b, d, h, w); it may leave [-1, 1] a little in training."""
        config = self.config
        kept = self.n_frames if config.truncate is None else config.truncate[1]
        cells = self.multiplex.inverse(self.decoder(vectors), (config.kept_mels, kept))
        n_frames = kept if n_frames is None else n_frames
        cells = cells[..., :n_frames]
        if config.truncate is not None:
            cells = self.truncation.inverse(cells, (config.n_mels, n_frames))
        return cells.squeeze(1)

    def encode(self, mel: Mel) -> list[Tensor]:
        """Return the tokens (b, h_k, w_k) of each scale."""
        return self.quantiser.encode(self.to_latents(mel))

    def decode(self, tokens: Sequence[Tensor], n_frames: int | None = None) -> Mel:
        """Return the spectrogram in [-1, 1] of the tokens of the first scales, as many as are given.

        Raises:
            ParameterError: grids of other sizes.
        """
        return self.from_latents(self.quantiser.decode(tokens), n_frames).clamp(-1.0, 1.0)

    def refinements(self, tokens: Sequence[Tensor], n_frames: int | None = None) -> list[Mel]:
        """Return the spectrograms in [-1, 1] after one scale, after two, and so on: from coarse to fine.

        Raises:
            ParameterError: grids of other sizes.
        """
        sums = self.quantiser.partial_sums(tokens)
        return [self.from_latents(vectors, n_frames).clamp(-1.0, 1.0) for vectors in sums]

    def forward(self, mel: Mel, n_keep: Tensor | None = None) -> tuple[Mel, ScaleQuantised]:
        """Return the reconstruction and what the quantiser did, for training."""
        quantised = self.quantiser(self.to_latents(mel), n_keep)
        return self.from_latents(quantised.vectors, mel.shape[2]), quantised


def _encoder(config: ScaleTokenizerConfig) -> nn.Sequential:
    widths = config.widths
    layers: list[nn.Module] = [nn.Conv2d(config.multiplex[0] * config.multiplex[1], widths[0], 3, padding=1)]
    for width, deeper in zip(widths, (*widths[1:], None), strict=True):
        layers += [ResidualBlock(width) for _ in range(config.n_blocks)]
        if deeper is not None:
            layers.append(nn.Conv2d(width, deeper, 2, stride=2))
    return nn.Sequential(*layers, ChannelNorm(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], config.code_dim, 1))


def _decoder(config: ScaleTokenizerConfig) -> nn.Sequential:
    widths = config.widths[::-1]
    layers: list[nn.Module] = [nn.Conv2d(config.code_dim, widths[0], 3, padding=1)]
    for width, shallower in zip(widths, (*widths[1:], None), strict=True):
        layers += [ResidualBlock(width) for _ in range(config.n_blocks)]
        if shallower is not None:
            layers += [nn.Conv2d(width, 4 * shallower, 3, padding=1), nn.PixelShuffle(2)]
    head = nn.Conv2d(widths[-1], config.multiplex[0] * config.multiplex[1], 3, padding=1)
    return nn.Sequential(*layers, ChannelNorm(widths[-1]), nn.SiLU(), head)
