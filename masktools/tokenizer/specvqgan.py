"""SpecVQGAN at the paper's size: mel <-> tokens, with the parameter names of upstream's checkpoints.

Its tokens are not local: attention and group normalisation look at the whole clip, so erasing a gap changes
the tokens far from it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, cast

import torch
from torch import Tensor, nn

from masktools.errors import ParameterError, unknown_name
from masktools.mel import check_patches
from masktools.packing import (
    ResidualInPlace,
    fill_rest,
    halve_convolutions,
    order_convolutions,
    refuse_weights,
    through,
)
from masktools.runtime import has_fast_bf16
from masktools.shapes import Mel, Tokens
from masktools.tokenizer.codebook import KINDS, Codebook, Quantised
from masktools.tokenizer.vqgan_blocks import Decoder, Encoder, ResidualBlock

__all__ = ["SpecVqgan", "SpecVqganConfig"]

_N_LEVELS = 5  # four halvings: a token is 16 x 16 cells


@dataclass(frozen=True)
class SpecVqganConfig:
    """Settings of SpecVQGAN; the defaults are its VGGSound model and the paper's: 72.14 M parameters.

    ``attention_levels`` counts halvings: level 4 is the grid of tokens, whatever the length of the clip.

    Differs: upstream names the levels by the time size they have in a clip of 848 frames.
    """

    n_mels: int = 80
    n_codes: int = 1024
    code_dim: int = 256
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)  # channels of each level, in units of ``channels``
    n_blocks: int = 2  # of each encoder level; the decoder has one more
    latent_channels: int = 256
    attention_levels: tuple[int, ...] = (4,)
    n_groups: int = 32
    codebook: str = "ema"

    def __post_init__(self) -> None:
        """Check every range."""
        if len(self.multipliers) != _N_LEVELS or min(self.multipliers) < 1:
            raise ParameterError(f"multipliers must be {_N_LEVELS} positive numbers, got {self.multipliers}")
        if self.n_mels < 16 or self.n_mels % 16:
            raise ParameterError(f"n_mels must be a positive multiple of 16, got {self.n_mels}")
        for name in ("n_codes", "code_dim", "channels", "n_blocks", "latent_channels", "n_groups"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        if any(width % self.n_groups for width in self.widths):
            raise ParameterError(f"n_groups must divide the widths {self.widths}, got {self.n_groups}")
        if any(not 0 <= level < _N_LEVELS for level in self.attention_levels):
            raise ParameterError(f"attention_levels must lie in [0, {_N_LEVELS - 1}], got {self.attention_levels}")
        if self.codebook not in KINDS:
            raise unknown_name("codebook kind", self.codebook, KINDS)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the full resolution down."""
        return tuple(self.channels * multiplier for multiplier in self.multipliers)


class SpecVqgan(nn.Module):
    """Mel spectrogram <-> tokens. ``encode``: (b, f, m) -> (b, f // 16, m // 16); ``decode`` the other way.

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
        self._waiting = False  # for the first audio to be encoded, in half precision
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
        """Token rows of a column."""
        return self.config.n_mels // self.patch

    def to_latents(self, mel: Mel) -> Tensor:
        """Return the vectors (b, d, r, w) before quantisation.

        Raises:
            ParameterError: if the bins are not ``n_mels`` or the frames not a positive multiple of 16.
        """
        check_patches(mel, self.config.n_mels, self.patch)
        if not self.packed:
            return self.quant_conv(self.encoder(mel.unsqueeze(1)))
        self._order_encoder()
        encoder, rectify = self.encoder, nn.SiLU(inplace=True)
        steps = (encoder.conv_in, *_steps(encoder.down), encoder.mid, encoder.norm_out, rectify, encoder.conv_out)
        return self.quant_conv(through(steps, mel.unsqueeze(1)))

    def from_latents(self, vectors: Tensor) -> Mel:
        """Return the mel spectrogram of vectors (b, d, r, w); it may leave [-1, 1] a little."""
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

    def decode(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram in [-1, 1] that the tokens stand for."""
        return self.from_latents(self.codebook.lookup(tokens)).clamp(-1.0, 1.0)

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Order the convolutions for inference, and fill them; below single precision a CPU decodes in bf16.

        Tokens are computed from audio in single precision, whatever is asked for. A tokenizer that is packed stays as
        it is.

        Args:
            precision: that of the model.
            weights: by name, for a tokenizer on the meta device; None for one that has its weights.
            device: where weights that are read go to.
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
        if self._waiting:  # two threads may both do it, one to no effect
            for path in ("encoder", "quant_conv"):
                order_convolutions(self, path, torch.float32)
            self._waiting = False

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._order_encoder()
        super()._save_to_state_dict(*args, **kwargs)

    def forward(self, mel: Mel) -> tuple[Tensor, Quantised]:
        """Return the reconstruction and what the quantiser did, for training."""
        quantised: Quantised = self.codebook(self.to_latents(mel))
        return self.from_latents(quantised.vectors), quantised


def _steps(stages: Iterable[Any]) -> Iterator[nn.Module]:
    """Yield what the stages of an encoder or a decoder do, one after the other."""
    for stage in stages:
        for block, attend in zip_longest(stage.block, stage.attn):
            yield block
            if attend is not None:
                yield attend
        yield from (stage.downsample, stage.upsample)
