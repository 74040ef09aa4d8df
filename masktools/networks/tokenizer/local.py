"""Vector quantisation, and the small tokenizer, whose tokens are local: mel <-> tokens without attention.

Codebooks are of two kinds. ``ema``: entries follow their vectors by a moving average, are initialised by k-means on
encoder outputs, and dead ones restart on vectors of the current batch (restart is the ingredient that matters).
``gradient``: the codebook of SpecVQGAN, trained by a loss, for parity with its checkpoints.

Each 16 x 16 patch of the mel spectrogram becomes one token. The encoder normalises over channels only, so a token
depends on its neighbourhood alone: erasing a gap does not change the tokens a few columns away, and any length of
audio is legal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts, check_least, checked_name
from masktools.core.configs import later
from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel, Tokens
from masktools.mel import check_patches
from masktools.networks.packing import KeepsLayers, weights_digest

KINDS = ("ema", "gradient")


class Quantised(NamedTuple):
    """Result of quantising a map of vectors."""

    vectors: Tensor  # (b, d, r, w), straight-through: its gradient goes to the encoder
    tokens: Tensor  # (b, r, w) int64
    loss: Tensor  # scalar, already weighted


class CodebookUsage(NamedTuple):
    """Use of the codebook by a set of tokens: codes in use and perplexity."""

    n_used: int
    perplexity: float


def codebook_usage(tokens: Tensor, n_codes: int) -> CodebookUsage:
    """Return the number of codes in use and exp(entropy) of their histogram, over any shape of tokens."""
    counts = torch.bincount(tokens.flatten(), minlength=n_codes).double()
    share = counts / counts.sum().clamp_min(1.0)
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    return CodebookUsage(int((counts > 0).sum()), float(entropy.exp()))


def k_means(
    vectors: Tensor, n_clusters: int, n_iterations: int = 10, generator: torch.Generator | None = None
) -> Tensor:
    """Return cluster centres (n_clusters, d) of vectors (n, d); empty clusters move onto random vectors."""
    if len(vectors) < n_clusters:
        raise ParameterError(f"k-means needs at least {n_clusters} vectors, got {len(vectors)}")
    order = torch.randperm(len(vectors), generator=generator, device=vectors.device)
    centres = vectors[order[:n_clusters]].clone()
    for _ in range(n_iterations):
        nearest = _nearest(vectors, centres)
        counts = torch.bincount(nearest, minlength=n_clusters).to(vectors.dtype)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        spare = torch.randint(len(vectors), (n_clusters,), generator=generator, device=vectors.device)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1.0)[:, None], vectors[spare])
    return centres


def _nearest(vectors: Tensor, centres: Tensor) -> Tensor:
    """Return for each vector (n, d) the index of its nearest centre (k, d) in squared distance."""
    return (centres.square().sum(1) - 2.0 * vectors @ centres.T).argmin(dim=1)


class Codebook(nn.Module):
    """Codebook of ``n_codes`` vectors of ``dim`` dimensions; ``weight`` (k, d) holds them.

    Source: SpecVQGAN (arXiv:2110.08791) for ``gradient``; VQ-VAE-2 (arXiv:1906.00446), appendix A.1, for ``ema``.
    """

    hits: Tensor

    def __init__(
        self,
        n_codes: int,
        dim: int,
        kind: str = "ema",
        decay: float = 0.99,
        commitment: float = 0.25,
        restart_share: float = 0.1,
    ) -> None:
        super().__init__()
        checked_name("codebook kind", kind, KINDS)
        self.kind, self.decay, self.commitment, self.restart_share = kind, decay, commitment, restart_share
        self.n_codes, self.dim = n_codes, dim
        initial = torch.empty(n_codes, dim).uniform_(-1.0 / n_codes, 1.0 / n_codes)
        self.weight = nn.Parameter(initial, requires_grad=kind == "gradient")
        if kind == "ema":
            self.register_buffer("hits", torch.ones(n_codes))

    def nearest(self, z: Tensor) -> Tensor:
        """Return the tokens (b, r, w) of a map of vectors (b, d, r, w), in fp32."""
        flat = z.float().movedim(1, -1).reshape(-1, self.dim)
        with torch.autocast(z.device.type, enabled=False):
            return _nearest(flat, self.weight.float()).view(z.shape[0], *z.shape[2:])

    def lookup(self, tokens: Tensor) -> Tensor:
        """Return the vectors (b, d, r, w) of tokens (b, r, w)."""
        return F.embedding(tokens, self.weight).movedim(-1, 1)

    def forward(self, z: Tensor) -> Quantised:
        """Quantise (b, d, r, w); in training mode an ``ema`` codebook also moves towards its vectors.

        The loss is the commitment loss; a ``gradient`` codebook needs ``losses.codebook_loss`` in addition.
        """
        z = z.float()
        tokens = self.nearest(z)
        vectors = self.lookup(tokens)
        loss = self.commitment * F.mse_loss(z, vectors.detach())
        if self.kind == "ema" and self.training:
            self.follow(z.detach().movedim(1, -1).reshape(-1, self.dim), tokens.flatten())
        return Quantised(z + (vectors - z).detach(), tokens, loss)

    @torch.no_grad()
    def place(self, vectors: Tensor, generator: torch.Generator | None = None) -> None:
        """Initialise the entries by k-means on encoder outputs (n, d), n >= 10 * n_codes for a good start."""
        centres = k_means(vectors.float(), self.n_codes, generator=generator)
        self.weight.copy_(centres)
        if self.kind == "ema":
            self.hits.fill_(len(vectors) / self.n_codes)

    @torch.no_grad()
    def follow(self, vectors: Tensor, nearest: Tensor) -> None:
        """Move the entries of an ``ema`` codebook towards vectors (n, d), given the nearest entry (n,) of each."""
        counts = torch.bincount(nearest, minlength=self.n_codes).to(vectors.dtype)
        batch_sums = torch.zeros_like(self.weight).index_add_(0, nearest, vectors)
        sums = (self.weight * self.hits[:, None]).lerp(batch_sums, 1.0 - self.decay)
        self.hits.lerp_(counts, 1.0 - self.decay)
        self.weight.copy_(sums / self.hits.clamp_min(1e-5)[:, None])

    @torch.no_grad()
    def restart(self, z: Tensor, generator: torch.Generator | None = None, n_followed: int | None = None) -> int:
        """Move the dead entries onto random vectors of the batch (b, d, r, w); return their number.

        An entry is dead when its moving count of hits is below ``restart_share`` of an even share; a moved one
        starts with the even share, so that it has time to gather vectors of its own. The even share is that of
        ``n_followed`` vectors, by default of the batch.
        """
        if self.kind != "ema":
            raise ParameterError(f"only an 'ema' codebook can restart dead codes, this one is {self.kind!r}")
        vectors = z.detach().float().movedim(1, -1).reshape(-1, self.dim)
        even_share = (len(vectors) if n_followed is None else n_followed) / self.n_codes
        dead = (self.hits < self.restart_share * even_share).nonzero().squeeze(1)
        if len(dead):
            chosen = torch.randint(len(vectors), (len(dead),), generator=generator, device=vectors.device)
            self.weight[dead] = vectors[chosen]
            self.hits[dead] = even_share
        return len(dead)


class ResidualQuantiser(nn.Module):
    """K codebooks of ``n_codes`` vectors. ``encode``: (b, d, w) -> (b, K, w); ``decode`` the reverse.

    It is trained stream by stream, by ``masktools.training.token_streams``.

    Source: SoundStream (arXiv:2107.03312), section III-C.
    """

    def __init__(self, n_streams: int, n_codes: int, dim: int) -> None:
        super().__init__()
        self.codebooks = nn.ModuleList(Codebook(n_codes, dim) for _ in range(n_streams))

    def encode(self, z: Tensor) -> Tensor:
        """Return the tokens of each stream."""
        residual, tokens = z.float(), list[Tensor]()
        for codebook in self.codebooks:
            tokens.append(codebook.nearest(residual))  # pyright: ignore[reportCallIssue]
            residual = residual - codebook.lookup(tokens[-1])  # pyright: ignore[reportCallIssue]
        return torch.stack(tokens, dim=1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return the vectors (b, d, w) of the first streams (b, k, w), of at least one.

        Raises:
            ParameterError: more streams than there are codebooks, or none.
        """
        if not 1 <= tokens.shape[1] <= len(self.codebooks):
            raise ParameterError(f"tokens must be of 1 to {len(self.codebooks)} streams, got {tokens.shape[1]}")
        rows = zip(self.codebooks, tokens.unbind(1), strict=False)
        return torch.stack([codebook.lookup(row) for codebook, row in rows]).sum(dim=0)  # pyright: ignore


_DECODING = ("decoder.", "post_quant_conv.")  # these may be trained further without changing tokens
_HITS = "hits"  # hit counts of the entries in training


def token_fingerprint(state: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits that identify a tokenizer's encoder and codebook.

    Tokenizers with the same fingerprint give the same tokens, whatever their decoders. Weights are hashed as
    bundles store them, in fp16, so that the fingerprint is the same before saving and after loading.
    """
    decoding = decoding_weights(state)
    names = [name for name in state if name not in decoding and name.rsplit(".", 1)[-1] != _HITS]
    return weights_digest(state, names)[:16]


def decoding_weights(state: Mapping[str, Tensor]) -> set[str]:
    """Return the names of the weights that only a tokenizer's decoder uses: tokens do not depend on them."""
    return {name for name in state if name.startswith(_DECODING)}


_STEM = 4  # factor of the pixel-unshuffle, which saves computing at full resolution


@dataclass(frozen=True)
class LocalTokenizerConfig:
    """Settings of the local tokenizer; the defaults are those of the bundled model's first edition."""

    n_mels: int = 80
    n_codes: int = 1024
    code_dim: int = 256
    widths: tuple[int, ...] = (48, 96, 192)  # channels at 1/4, 1/8 and 1/16 of the resolution
    n_encoder_blocks: int = 1
    n_decoder_blocks: int = 1
    n_deep_blocks: int = later(0)  # further blocks of the decoder at 1/16 of the resolution

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
    """Residual block of two 3 x 3 convolutions. ``forward``: (b, c, h, w) -> the same."""

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
        """Return the output of the block."""
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
    """Mel spectrogram <-> tokens. ``encode``: (b, f, m) -> (b, f // 16, m // 16); ``decode`` the reverse."""

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
        """Number of token rows."""
        return self.config.n_mels // self.patch

    def to_latents(self, mel: Mel) -> Tensor:
        """Return the vectors (b, d, r, w) before quantisation."""
        check_patches(mel, self.config.n_mels, self.patch)
        return self.encoder(mel.unsqueeze(1))

    def from_latents(self, vectors: Tensor) -> Mel:
        """Return the mel spectrogram of vectors (b, d, r, w); in training it may slightly exceed [-1, 1]."""
        return self.decoder(vectors).squeeze(1)

    def encode(self, mel: Mel) -> Tokens:
        """Return the token of each patch."""
        return self.codebook.nearest(self.to_latents(mel))

    def vectors(self, tokens: Tokens) -> Tensor:
        """Return the quantised vectors (b, d, r, w) of tokens."""
        return self.codebook.lookup(tokens)

    def decode(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram in [-1, 1] of tokens."""
        return self.from_latents(self.vectors(tokens)).clamp(-1.0, 1.0)
