"""SpecVQGAN at the paper's size: mel <-> tokens, with the parameter names of upstream's checkpoints.

Its tokens are not local: attention and group normalisation span the whole clip, so that erasing a gap changes
the tokens far from it.

For inference its convolutions hold weights of one number type in channels-last order, and
blocks compute in place where they can, which saves memory and time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts, check_within, settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.core.runtime import has_fast_bf16
from masktools.core.shapes import Mel, Tokens
from masktools.mel import check_patches
from masktools.networks.packing import fill_layer, fill_rest, refuse_weights
from masktools.networks.tokenizer.local import KINDS, Codebook


def _norm(channels: int, n_groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(n_groups, channels, eps=1e-6)


def _conv3(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1)


class ResidualBlock(nn.Module):
    """Residual block of two normalised 3 x 3 convolutions. ``forward``: (b, n_in, h, w) -> (b, n_out, h, w)."""

    def __init__(self, n_in: int, n_out: int, n_groups: int) -> None:
        super().__init__()
        self.norm1 = _norm(n_in, n_groups)
        self.conv1 = _conv3(n_in, n_out)
        self.norm2 = _norm(n_out, n_groups)
        self.conv2 = _conv3(n_out, n_out)
        self.nin_shortcut = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the output of the block, with ``n_out`` channels."""
        change = self.conv1(F.silu(self.norm1(cells)))
        change = self.conv2(F.silu(self.norm2(change)))
        return self.nin_shortcut(cells) + change


class AttentionBlock(nn.Module):
    """Residual block of single-head self-attention over all cells. ``forward``: (b, c, h, w) -> the same."""

    def __init__(self, channels: int, n_groups: int) -> None:
        super().__init__()
        self.norm = _norm(channels, n_groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the output of the block."""
        normed = self.norm(cells)
        query, key, value = (
            project(normed).flatten(2).transpose(1, 2).unsqueeze(1)  # (b, 1, h * w, c)
            for project in (self.q, self.k, self.v)
        )
        gathered = F.scaled_dot_product_attention(query, key, value).squeeze(1).transpose(1, 2)
        return cells + self.proj_out(gathered.unflatten(2, cells.shape[2:]))


class Downsample(nn.Module):
    """Convolution of stride 2, padded right and below. ``forward``: (b, c, h, w) -> (b, c, h / 2, w / 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells at half the resolution."""
        return self.conv(F.pad(cells, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Each cell repeated twice, then a convolution. ``forward``: (b, c, h, w) -> (b, c, 2 * h, 2 * w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv3(channels, channels)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells at twice the resolution."""
        return self.conv(F.interpolate(cells, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution, with a resampling step. ``forward``: (b, c, h, w) -> (b, c2, h2, w2)."""

    def __init__(self, n_in: int, n_out: int, n_blocks: int, n_groups: int, attention: bool) -> None:
        super().__init__()
        widths = (n_in, *(n_out for _ in range(n_blocks)))
        self.block = nn.ModuleList(ResidualBlock(a, b, n_groups) for a, b in pairwise(widths))
        self.attn = nn.ModuleList(AttentionBlock(n_out, n_groups) for _ in range(n_blocks if attention else 0))
        self.downsample: nn.Module = nn.Identity()  # set by the encoder
        self.upsample: nn.Module = nn.Identity()  # set by the decoder

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells after the blocks, with attention if any, and the resampling step if any."""
        for block, attend in zip_longest(self.block, self.attn):
            cells = block(cells)
            cells = cells if attend is None else attend(cells)
        return self.upsample(self.downsample(cells))


class Middle(nn.Module):
    """Two blocks around attention at the lowest resolution. ``forward``: (b, c, h, w) -> the same."""

    def __init__(self, channels: int, n_groups: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, n_groups)
        self.attn_1 = AttentionBlock(channels, n_groups)
        self.block_2 = ResidualBlock(channels, channels, n_groups)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells after the three blocks."""
        return self.block_2(self.attn_1(self.block_1(cells)))


class Encoder(nn.Module):
    """Image -> latents at 1 / 2**(levels - 1). ``forward``: (b, 1, f, m) -> (b, n_latent, r, w)."""

    def __init__(
        self,
        widths: tuple[int, ...],
        n_blocks: int,
        n_latent: int,
        attention_levels: tuple[int, ...],
        n_groups: int,
    ) -> None:
        super().__init__()
        self.conv_in = _conv3(1, widths[0])
        self.down = nn.ModuleList()
        for level, (n_in, n_out) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            stage = Level(n_in, n_out, n_blocks, n_groups, level in attention_levels)
            if level < len(widths) - 1:
                stage.downsample = Downsample(n_out)
            self.down.append(stage)
        self.mid = Middle(widths[-1], n_groups)
        self.norm_out = _norm(widths[-1], n_groups)
        self.conv_out = _conv3(widths[-1], n_latent)

    def forward(self, image: Tensor) -> Tensor:
        """Return the latents of an image with one channel."""
        cells = self.conv_in(image)
        for stage in self.down:
            cells = stage(cells)
        return self.conv_out(F.silu(self.norm_out(self.mid(cells))))


class Decoder(nn.Module):
    """Latents -> image, from the lowest level up. ``forward``: (b, n_latent, r, w) -> (b, 1, f, m)."""

    def __init__(
        self,
        widths: tuple[int, ...],
        n_blocks: int,
        n_latent: int,
        attention_levels: tuple[int, ...],
        n_groups: int,
    ) -> None:
        super().__init__()
        self.conv_in = _conv3(n_latent, widths[-1])
        self.mid = Middle(widths[-1], n_groups)
        self.up = nn.ModuleList()  # up[0] is the full resolution and runs last, as upstream numbers them
        for level, (n_in, n_out) in enumerate(zip((*widths[1:], widths[-1]), widths, strict=True)):
            stage = Level(n_in, n_out, n_blocks + 1, n_groups, level in attention_levels)
            if level > 0:
                stage.upsample = Upsample(n_out)
            self.up.append(stage)
        self.norm_out = _norm(widths[0], n_groups)
        self.conv_out = _conv3(widths[0], 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the image, with one channel."""
        cells = self.mid(self.conv_in(latents))
        for stage in reversed(self.up):
            cells = stage(cells)
        return self.conv_out(F.silu(self.norm_out(cells)))


def order_convolutions(
    part: nn.Module, path: str, dtype: torch.dtype, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Convert the two-dimensional convolutions inside a part to a number type, channels last; norms are unchanged.

    Their input must be of that type then, preferably in the same memory format.

    Args:
        part: the part.
        path: name of the module that contains the convolutions.
        dtype: the number type.
        weights: weights of the whole part by name, read on demand; None where the part has them.
    """
    for name, layer in part.get_submodule(path).named_modules(prefix=path):
        if isinstance(layer, nn.Conv2d):
            _order(layer, name, dtype, weights)


def halve_convolutions(part: nn.Module, path: str, weights: Mapping[str, Tensor] | None = None) -> None:
    """Convert convolutions to half precision where that is lossless, to save memory until they are ordered.

    Args:
        part: the part.
        path: name of the module that contains the convolutions.
        weights: weights of the whole part by name, read on demand; None where the part has them.
    """
    for name, layer in part.get_submodule(path).named_modules(prefix=path):
        if isinstance(layer, nn.Conv2d):
            _order(layer, name, torch.float32, weights)
            if all(torch.equal(value.half().float(), value) for value in layer.parameters()):
                _order(layer, name, torch.float16, None)


def _order(layer: nn.Conv2d, name: str, dtype: torch.dtype, weights: Mapping[str, Tensor] | None) -> None:
    if weights is not None:
        fill_layer(layer, name, weights)
    layer.to(dtype)
    layer.weight.data = layer.weight.detach().contiguous(memory_format=torch.channels_last)


class ResidualInPlace(nn.Module):
    """Residual block for inference, computed in place. ``forward``: (b, n_in, h, w) -> (b, n_out, h, w).

    It has the layers of the original block, with the same names, and gives the same output.
    """

    def __init__(self, block: Any) -> None:
        """Convert a block with ``norm1``, ``conv1``, ``norm2``, ``conv2`` and ``nin_shortcut``."""
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.nin_shortcut = block.nin_shortcut

    def forward(self, cells: Tensor) -> Tensor:
        """Return the output of the block, with ``n_out`` channels."""
        change = self.conv1(F.silu(self.norm1(cells), inplace=True))
        change = self.norm2(change)
        change = self.conv2(F.silu(change, inplace=True))
        return change.add_(self.nin_shortcut(cells))


def through(steps: Iterable[nn.Module], cells: Tensor) -> Tensor:
    """Return the output of consecutive modules; intermediate results are freed as early as possible."""
    for step in steps:
        cells = step(cells)
    return cells


_N_LEVELS = 5  # four halvings: a token is 16 x 16 cells


@dataclass(frozen=True)
class SpecVqganConfig:
    """Settings of SpecVQGAN; the defaults are its VGGSound model and the paper's: 72.14 M parameters.

    ``attention_levels`` counts halvings: level 4 is the grid of tokens, whatever the length of the clip.

    Differs: upstream names the levels by their length in time for a clip of 848 frames.
    """

    n_mels: int = 80
    n_codes: int = 1024
    code_dim: int = 256
    channels: int = 128
    multipliers: tuple[int, ...] = ranged((1, 1, 2, 2, 4), "[1, inf]")  # channels of each level
    n_blocks: int = 2  # of each encoder level; the decoder has one more
    latent_channels: int = 256
    attention_levels: tuple[int, ...] = (4,)
    n_groups: int = 32
    codebook: str = ranged("ema", KINDS)

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        if len(self.multipliers) != _N_LEVELS:
            raise ParameterError(f"multipliers must be {_N_LEVELS} positive numbers, got {self.multipliers}")
        if self.n_mels < 16 or self.n_mels % 16:
            raise ParameterError(f"n_mels must be a positive multiple of 16, got {self.n_mels}")
        check_counts(self, "n_codes", "code_dim", "channels", "n_blocks", "latent_channels", "n_groups")
        if any(width % self.n_groups for width in self.widths):
            raise ParameterError(f"n_groups must divide the widths {self.widths}, got {self.n_groups}")
        check_within(f"[0, {_N_LEVELS - 1}]", attention_levels=self.attention_levels)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the full resolution down."""
        return tuple(self.channels * multiplier for multiplier in self.multipliers)


class SpecVqgan(nn.Module):
    """Mel spectrogram <-> tokens. ``encode``: (b, f, m) -> (b, f // 16, m // 16); ``decode`` the reverse.

    Any positive multiple of 16 frames is legal.

    Source: SpecVQGAN (arXiv:2110.08791), section 3.1, its VGGSound configuration; SpecMaskGIT
    (arXiv:2406.17672), section 4.1.
    """

    patch = 2 ** (_N_LEVELS - 1)

    def __init__(self, config: SpecVqganConfig) -> None:
        super().__init__()
        self.config = config
        shape = (
            config.widths,
            config.n_blocks,
            config.latent_channels,
            config.attention_levels,
            config.n_groups,
        )
        self.encoder = Encoder(*shape)
        self.decoder = Decoder(*shape)
        self.quant_conv = nn.Conv2d(config.latent_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.latent_channels, 1)
        self.packed = False  # whether ``pack`` has been called
        self._decoding = torch.float32
        self._waiting = False  # in half precision, until audio is encoded
        # Upstream's name of the codebook is quantize.embedding.weight.
        self.quantize = nn.ModuleDict({"embedding": Codebook(config.n_codes, config.code_dim, config.codebook)})

    @property
    def codebook(self) -> Codebook:
        """The quantiser."""
        return cast(Codebook, self.quantize["embedding"])

    @property
    def n_codes(self) -> int:
        """Size of the codebook."""
        return self.config.n_codes

    @property
    def n_rows(self) -> int:
        """Number of token rows."""
        return self.config.n_mels // self.patch

    def to_latents(self, mel: Mel) -> Tensor:
        """Return the vectors (b, d, r, w) before quantisation.

        Raises:
            ParameterError: the bins are not ``n_mels`` or the frames not a positive multiple of 16.
        """
        check_patches(mel, self.config.n_mels, self.patch)
        if not self.packed:
            return self.quant_conv(self.encoder(mel.unsqueeze(1)))
        self._order_encoder()
        encoder, rectify = self.encoder, nn.SiLU(inplace=True)
        steps = (encoder.conv_in, *_steps(encoder.down), encoder.mid, encoder.norm_out, rectify, encoder.conv_out)
        return self.quant_conv(through(steps, mel.unsqueeze(1)))

    def from_latents(self, vectors: Tensor) -> Mel:
        """Return the mel spectrogram of vectors (b, d, r, w); it may slightly exceed [-1, 1]."""
        if self.packed:
            vectors = self.post_quant_conv(vectors.to(self._decoding, memory_format=torch.channels_last))
            decoder, rectify = self.decoder, nn.SiLU(inplace=True)
            blocks = _steps(reversed(list(decoder.up)))
            steps = (decoder.conv_in, decoder.mid, *blocks, decoder.norm_out, rectify, decoder.conv_out)
            return through(steps, vectors).squeeze(1).float()
        return self.decoder(self.post_quant_conv(vectors)).squeeze(1)

    def encode(self, mel: Mel) -> Tokens:
        """Return the token of each patch."""
        return self.codebook.nearest(self.to_latents(mel))

    def vectors(self, tokens: Tokens) -> Tensor:
        """Return the quantised vectors (b, d, r, w) of tokens."""
        return self.codebook.lookup(tokens)

    def decode(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram in [-1, 1] of tokens."""
        return self.from_latents(self.vectors(tokens)).clamp(-1.0, 1.0)

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Order the convolutions for inference, and fill them; below single precision a CPU decodes in bf16.

        Tokens are computed from audio in single precision in any case. A packed tokenizer is not packed again.

        Args:
            precision: precision of the model.
            weights: weights by name, for a tokenizer on the meta device; None for one that has its weights.
            device: device for weights that are read.
        """
        if self.packed:
            return
        if torch.device(device).type == "cpu" and self.codebook.weight.device.type in ("cpu", "meta"):
            reduced = precision != torch.float32 and has_fast_bf16()
            self._decoding = torch.bfloat16 if reduced else torch.float32
            for path in ("encoder", "quant_conv"):
                halve_convolutions(self, path, weights)
            for path in ("decoder", "post_quant_conv"):
                order_convolutions(self, path, self._decoding, weights)
            self.packed = self._waiting = True
            for path, block in list(self.named_modules()):
                if isinstance(block, ResidualBlock):
                    self.set_submodule(path, ResidualInPlace(block))
            refuse_weights(self)
        if weights is not None:
            fill_rest(self, weights, device)

    def _order_encoder(self) -> None:
        if self._waiting:  # two threads may both do it, harmlessly
            for path in ("encoder", "quant_conv"):
                order_convolutions(self, path, torch.float32)
            self._waiting = False

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._order_encoder()
        super()._save_to_state_dict(*args, **kwargs)


def _steps(stages: Iterable[Any]) -> Iterator[nn.Module]:
    """Yield the modules of an encoder or a decoder, in the order of computation."""
    for stage in stages:
        for block, attend in zip_longest(stage.block, stage.attn):
            yield block
            if attend is not None:
                yield attend
        yield from (stage.downsample, stage.upsample)
