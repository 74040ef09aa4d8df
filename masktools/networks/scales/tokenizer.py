"""The tokenizer over scales and its residual quantiser: a token for each cell of each scale.

Source: Tian et al., VAR (arXiv:2404.02905), section 3.2 and algorithms 1 and 2.

It normalises over channels only, so that clips do not depend on each other, nor on their loudest frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts
from masktools.core.errors import ParameterError, unknown_name
from masktools.core.shapes import Mel
from masktools.mel import MelConfig
from masktools.networks.packing import KeepsLayers
from masktools.networks.scales.pyramid import (
    LAYOUTS,
    ChannelMultiplex,
    ScalePyramid,
    Truncation,
    keep_in_checkpoint,
    phi_groups,
)
from masktools.networks.tokenizer.local import (
    ChannelNorm,
    Codebook,
    CodebookUsage,
    ResidualBlock,
    codebook_usage,
    k_means,
)

PHIS = ("shared", "per_scale", "none")
UPS = ("bicubic", "bilinear", "nearest")
_JITTER = 1e-3  # of the deviation, between entries that start from one vector


class ScaleQuantised(NamedTuple):
    """Result of quantising a map of vectors scale by scale."""

    vectors: Tensor  # (b, d, h, w), straight-through: its gradient goes to the encoder
    tokens: list[Tensor]  # (b, h_k, w_k) int64 of each scale
    loss: Tensor  # scalar


class MultiScaleQuantiser(nn.Module):
    """Codebook(s) for the scales of a pyramid. ``encode``: (b, d, h, w) -> grids of tokens; ``decode`` the reverse.

    Scale k quantises the residual, averaged over its cells; the entries are interpolated to the finest grid, pass a
    convolution ``phi(x) = (1 - rho) x + rho conv(x)``, and are subtracted. All of it is computed in single precision.

    Args:
        pyramid: sizes of the scales.
        n_codes: size of a codebook.
        dim: dimensions of the vectors.
        phi: ``shared``: ``n_phi`` convolutions, each for several scales; ``per_scale``; or ``none``.
        n_phi: number of convolutions if they are shared.
        rho: share of the convolution in phi, in [0, 1].
        up: interpolation: ``bicubic``, ``bilinear`` or ``nearest``.
        shared_codebook: whether all scales have one codebook, instead of one each.
        kind: kind of ``Codebook``: ``ema`` or ``gradient``.
        commitment: weight of the term that draws the latents towards the entries.

    Differs: convolutions are initialised as the identity, and their assignment to scales is a table stored with the
    weights.
    """

    def __init__(
        self,
        pyramid: ScalePyramid,
        n_codes: int,
        dim: int,
        phi: str = "shared",
        n_phi: int = 4,
        rho: float = 0.5,
        up: str = "bicubic",
        shared_codebook: bool = True,
        kind: str = "ema",
        commitment: float = 0.25,
    ) -> None:
        super().__init__()
        if phi not in PHIS:
            raise unknown_name("phi", phi, PHIS)
        if up not in UPS:
            raise unknown_name("interpolation", up, UPS)
        if not 0 <= rho <= 1:
            raise ParameterError(f"rho must lie in [0, 1], got {rho:g}")
        n_scales = len(pyramid)
        self.pyramid, self.rho, self.up, self.commitment = pyramid, rho, up, commitment
        self.n_codes, self.dim = n_codes, dim
        self.codebooks = nn.ModuleList(Codebook(n_codes, dim, kind) for _ in range(1 if shared_codebook else n_scales))
        n_convolutions = {"shared": min(n_phi, n_scales), "per_scale": n_scales, "none": 0}[phi]
        self.groups = phi_groups(n_scales, n_convolutions) if n_convolutions else ()
        self.phi = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(n_convolutions))
        for convolution in self.phi:
            nn.init.dirac_(cast(nn.Conv2d, convolution).weight)
            cast(Tensor, convolution.bias).data.zero_()
        keep_in_checkpoint(self, scales=pyramid.scales, phi_table=self.groups)

    def codebook(self, scale: int) -> Codebook:
        """Return the codebook of a scale."""
        return cast(Codebook, self.codebooks[scale if len(self.codebooks) > 1 else 0])

    def pooled(self, vectors: Tensor, scale: int) -> Tensor:
        """Return vectors (b, d, h, w) of the finest grid, averaged over the cells of a scale."""
        if scale == len(self.pyramid) - 1:
            return vectors
        return F.adaptive_avg_pool2d(vectors, self.pyramid.scales[scale])

    def spread(self, vectors: Tensor, scale: int) -> Tensor:
        """Return the contribution of a scale's entries (b, d, h_k, w_k) to the finest grid."""
        if scale < len(self.pyramid) - 1:
            corners = None if self.up == "nearest" else False
            vectors = F.interpolate(vectors, self.pyramid.grid, mode=self.up, align_corners=corners)
        if not self.groups:
            return vectors
        convolution = self.phi[self.groups[scale]]
        return vectors.mul(1 - self.rho) + convolution(vectors).mul(self.rho)

    def encode(self, latents: Tensor) -> list[Tensor]:
        """Return the tokens (b, h_k, w_k) of each scale."""
        return self._quantise(latents)[0]

    def decode(self, tokens: Sequence[Tensor]) -> Tensor:
        """Return the vectors (b, d, h, w) of the tokens of the first scales, of as many as are given.

        Raises:
            ParameterError: grids of other sizes.
        """
        return self.partial_sums(tokens)[-1]

    def partial_sums(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Return the vectors (b, d, h, w) after each of the given scales.

        Raises:
            ParameterError: grids of other sizes.
        """
        self.pyramid.check(tokens)
        total, sums = torch.zeros((), device=tokens[0].device), list[Tensor]()
        with torch.autocast(tokens[0].device.type, enabled=False):
            for scale, grid in enumerate(tokens):
                total = total + self.spread(self.codebook(scale).lookup(grid).float(), scale)
                sums.append(total)
        return sums

    def next_input(self, vectors: Tensor, scale: int) -> Tensor:
        """Return the input (b, n_k, d) of a predictor of a scale, from the vectors (b, d, h, w) of all coarser ones."""
        return self.pooled(vectors, scale).transpose(2, 3).flatten(2).transpose(1, 2)

    def inputs(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Return the ``next_input`` (b, n_k, d) of each scale after the first, from tokens (b, h_k, w_k).

        Raises:
            ParameterError: grids of other sizes.
        """
        sums = self.partial_sums(tokens)[: len(self.pyramid) - 1]
        return [self.next_input(vectors, scale) for scale, vectors in enumerate(sums, start=1)]

    def forward(self, latents: Tensor, n_keep: Tensor | None = None) -> ScaleQuantised:
        """Quantise (b, d, h, w); in training mode ``ema`` codebooks are updated, too.

        The loss draws the latents and every partial sum towards each other, averaged over scales.

        Args:
            latents: vectors (b, d, h, w).
            n_keep: scales (b,) that each item keeps, 1 to all: scale dropout. None keeps all.
        """
        latents = latents.float()
        tokens, pooled = self._quantise(latents.detach())
        sums = self.partial_sums(tokens)
        total, loss = sums[-1], latents.new_zeros(())
        if n_keep is not None:
            total = torch.stack([sums[int(n) - 1][item] for item, n in enumerate(n_keep.tolist())])
        for vectors in sums:
            loss = loss + self.commitment * F.mse_loss(latents, vectors.detach())
            loss = loss + F.mse_loss(vectors, latents.detach())
        if self.training and self.codebook(0).kind == "ema":
            self._follow(tokens, pooled)
        return ScaleQuantised(latents + (total - latents).detach(), tokens, loss / len(sums))

    def _quantise(self, latents: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the tokens of each scale, and the averaged residuals (b, d, h_k, w_k) that they quantise."""
        if tuple(latents.shape[1:]) != (self.dim, *self.pyramid.grid):
            raise ParameterError(
                f"latents must be (b, {self.dim}, {self.pyramid.grid[0]}, {self.pyramid.grid[1]}), "
                f"got {tuple(latents.shape)}"
            )
        tokens, pooled = list[Tensor](), list[Tensor]()
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            residual = latents.float()
            for scale in range(len(self.pyramid)):
                book = self.codebook(scale)
                pooled.append(self.pooled(residual, scale))
                tokens.append(book.nearest(pooled[-1]))
                residual = residual - self.spread(book.lookup(tokens[-1]).float(), scale)
        return tokens, pooled

    def _follow(self, tokens: Sequence[Tensor], pooled: Sequence[Tensor]) -> None:
        found = [(_rows(vectors), grid.flatten()) for vectors, grid in zip(pooled, tokens, strict=True)]
        if len(self.codebooks) == 1:
            vectors, nearest = zip(*found, strict=True)
            self.codebook(0).follow(torch.cat(vectors), torch.cat(nearest))
            return
        for scale, (vectors, nearest) in enumerate(found):
            self.codebook(scale).follow(vectors, nearest)

    @torch.no_grad()
    def place(self, latents: Tensor, generator: torch.Generator | None = None, batch_size: int | None = None) -> None:
        """Initialise the codebooks by k-means on latents (b, d, h, w), scale by scale.

        A codebook that all scales share has an equal number of entries from each.

        Args:
            latents: vectors (b, d, h, w).
            generator: random generator for the first centres.
            batch_size: items of a training batch; None takes that of the latents. Entries start with the hit count of
                an even share of one batch: with more they would neither follow the encoder nor be found dead for
                hundreds of steps.
        """
        n_items = len(latents) if batch_size is None else batch_size
        n_scales, shared = len(self.pyramid), len(self.codebooks) == 1
        residual, centres = latents.detach().float(), list[Tensor]()
        for scale in range(n_scales):
            pooled = self.pooled(residual, scale)
            n_own = self.n_codes
            if shared:
                n_own = self.n_codes * (scale + 1) // n_scales - self.n_codes * scale // n_scales
            own = _centres(_rows(pooled), max(1, n_own), generator)
            nearest = torch.cdist(_rows(pooled), own).argmin(dim=1)
            entries = own[nearest].view(len(pooled), *pooled.shape[2:], self.dim).movedim(-1, 1)
            residual = residual - self.spread(entries, scale)
            centres.append(own)
            if not shared:
                self._settle(scale, own, n_items * self.pyramid.lengths[scale])
        if shared:
            self._settle(0, torch.cat(centres)[: self.n_codes], n_items * self.pyramid.total)

    def _settle(self, scale: int, entries: Tensor, n_vectors: int) -> None:
        book = self.codebook(scale)
        book.weight.copy_(entries)
        if book.kind == "ema":
            book.hits.fill_(n_vectors / self.n_codes)

    @torch.no_grad()
    def restart(self, latents: Tensor, generator: torch.Generator | None = None) -> int:
        """Move dead entries onto random residuals of latents (b, d, h, w), equally for all scales; return their number.

        Raises:
            ParameterError: codebooks that are not updated by a moving average.
        """
        _, pooled = self._quantise(latents.detach())
        vectors = [_rows(part) for part in pooled]
        if len(self.codebooks) > 1:
            return sum(
                self.codebook(scale).restart(own.T[None, :, None], generator) for scale, own in enumerate(vectors)
            )
        picked = [
            own[torch.randint(len(own), (self.n_codes,), generator=generator, device=own.device)] for own in vectors
        ]
        pool, n_vectors = torch.cat(picked), sum(map(len, vectors))
        return self.codebook(0).restart(pool.T[None, :, None], generator, n_vectors)


def scale_usage(tokens: Sequence[Tensor], n_codes: int) -> list[CodebookUsage]:
    """Return the codebook usage of each scale, from its tokens of any shape."""
    return [codebook_usage(grid, n_codes) for grid in tokens]


def _rows(cells: Tensor) -> Tensor:
    """Return cells (b, d, h, w) as vectors (n, d)."""
    return cells.movedim(1, -1).reshape(-1, cells.shape[1])


def _centres(vectors: Tensor, n_codes: int, generator: torch.Generator | None) -> Tensor:
    """Return k-means centres; if there are too few vectors, some are duplicates with jitter."""
    if len(vectors) >= n_codes:
        return k_means(vectors, n_codes, generator=generator)
    chosen = torch.randint(len(vectors), (n_codes,), generator=generator, device=vectors.device)
    noise = torch.randn(n_codes, vectors.shape[1], generator=generator, device=vectors.device)
    return vectors[chosen] + noise * vectors.std(unbiased=False) * _JITTER


LINEAR = MelConfig(sample_rate=16_000, n_mels=512, f_max=8_000.0, db_min=-52.0, db_max=48.0, linear=True)
"""The front end of MARS: 512 bins of the short-time spectrum at 16 kHz; 48 dB is a full-scale sine."""

_SILENCE = -1.0


@dataclass(frozen=True)
class ScaleTokenizerConfig:
    """Settings of the tokenizer over scales; the defaults are for notes of 2.4 s with the default mel settings.

    Attributes:
        n_mels: bins of the spectrogram.
        scales: rows and columns of each scale, from coarse to fine.
        multiplex: factors of channel multiplexing, in frequency and in time.
        layout: layout of ``ChannelMultiplex``.
        truncate: bins and frames to keep, for the baseline of channel multiplexing; null keeps all.
        widths: channels at each resolution after multiplexing; each resolution is half the one before.
        n_blocks: residual blocks at each resolution, on either side.
        n_codes: size of a codebook.
        code_dim: dimensions of a latent.
        phi: see ``MultiScaleQuantiser``, also for the following ones.
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
        """Number of bins that the network reads."""
        return self.n_mels if self.truncate is None else min(self.n_mels, self.truncate[0])

    @property
    def cell(self) -> tuple[int, int]:
        """Bins and frames of one cell of the finest scale."""
        stride = 2 ** (len(self.widths) - 1)
        return self.multiplex[0] * stride, self.multiplex[1] * stride


class ScaleTokenizer(KeepsLayers):
    """Spectrogram <-> tokens of all scales. ``encode``: (b, f, m) -> grids (b, h_k, w_k); ``decode`` the reverse."""

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
        """Return the vectors (b, d, h, w) before quantisation; short clips are padded with silence.

        Raises:
            ParameterError: another number of bins, no frames, or more than the scales cover.
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
        """Return the spectrogram of vectors (b, d, h, w); in training it may slightly exceed [-1, 1]."""
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
        """Return the spectrogram in [-1, 1] of the tokens of the first scales, of as many as are given.

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
        """Return the reconstruction and the result of the quantiser, for training."""
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
