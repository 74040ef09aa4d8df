"""Codecs, waves or mel spectrograms <-> K token streams: the one over mel spectrograms, and EnCodec.

The former normalises over channels only, so that a token depends on its neighbourhood alone, and any length is legal;
it needs a vocoder for the wave.

Source: Defossez et al. (arXiv:2210.13438); the non-causal variant for mono waves.
"""

import os
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from masktools.core.arguments import check_counts, settle
from masktools.core.configs import ranged
from masktools.core.errors import CheckpointError, ParameterError
from masktools.core.shapes import Mel, Wave
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
    n_blocks: int = 3  # of the encoder and of the decoder
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
    """Residual block of two convolutions, the first one wide in time. ``forward``: (b, c, m) -> the same."""

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
        """Return the output of the block."""
        return frames + self.body(frames)


class MelRvq(KeepsLayers):
    """Mel spectrogram <-> token streams. ``encode``: (b, f, m) -> (b, K, m // stride); ``decode`` the reverse."""

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
        """Tokens of a column, one per stream."""
        return self.config.n_streams

    @property
    def reach_cols(self) -> int:
        """Receptive field of a token in columns, on either side, including the overlap of mel frames."""
        return -(-(1 + 2 * self.config.n_blocks + 3) // self.config.stride)

    @property
    def patch(self) -> int:
        """Mel frames of a column."""
        return self.config.stride

    def to_latents(self, mel: Mel) -> Tensor:
        """Return the vectors (b, d, w) before quantisation.

        Raises:
            ParameterError: another number of bands, or a number of frames that is no multiple of the stride.
        """
        check_patches(mel, self.config.n_mels, self.patch)
        return self.encoder(mel)

    def from_latents(self, vectors: Tensor) -> Mel:
        """Return the mel spectrogram of vectors (b, d, w); in training it may slightly exceed [-1, 1]."""
        return self.decoder(vectors)

    def encode(self, mel: Mel) -> Tensor:
        """Return the tokens (b, K, w) of each stream and column."""
        return self.quantiser.encode(self.to_latents(mel))

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return the quantised vectors (b, d, w) of the first streams (b, k, w), all or fewer."""
        return self.quantiser.decode(tokens)

    def decode(self, tokens: Tensor) -> Mel:
        """Return the mel spectrogram in [-1, 1] of the first streams (b, k, w), all or fewer."""
        return self.from_latents(self.vectors(tokens)).clamp(-1.0, 1.0)


@dataclass(frozen=True)
class EncodecConfig:
    """Settings of EnCodec; the defaults are those of the public codec for music at 32 kHz."""

    sample_rate: int = 32_000  # Hz
    n_streams: int = 4
    n_codes: int = 2048
    code_dim: int = 128
    n_filters: int = 64
    ratios: tuple[int, ...] = ranged((8, 5, 4, 4), "[1, inf]")  # of the decoder, from the first to the last
    n_residual_layers: int = 1
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    dilation_base: int = 2
    compress: int = 2
    n_lstm_layers: int = ranged(2, "[0, inf]")
    pad_mode: str = ranged("reflect", ("reflect", "constant", "replicate"))

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        names = "sample_rate n_streams n_codes code_dim n_filters n_residual_layers kernel_size last_kernel_size"
        check_counts(self, *names.split(), "residual_kernel_size", "dilation_base", "compress")
        if self.n_codes & (self.n_codes - 1):
            raise ParameterError(f"n_codes must be a power of 2, got {self.n_codes}")
        if self.sample_rate % self.hop_length:
            raise ParameterError(f"sample_rate must be a multiple of the hop {self.hop_length}, got {self.sample_rate}")

    @property
    def hop_length(self) -> int:
        """Samples of a column."""
        return prod(self.ratios)


class Encodec(nn.Module):
    """Waves <-> token streams. ``encode``: (b, t) -> (b, K, ceil(t / hop)); ``decode`` the reverse.

    Raises:
        CheckpointError: the package transformers is not installed.
    """

    reads_waves = True
    reach_cols = 4  # receptive field of a token in columns, on either side: 160 to 180 ms
    single_precision = True  # its weights are not rounded, which would change the tokens

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.config = config
        self.model: Any = _model(config)

    @property
    def n_codes(self) -> int:
        """Size of each codebook."""
        return self.config.n_codes

    @property
    def n_rows(self) -> int:
        """Tokens of a column, one per stream."""
        return self.config.n_streams

    def encode(self, wave: Wave) -> Tensor:
        """Return the tokens of a wave at the codec's rate; its last column is padded.

        Raises:
            ParameterError: a wave without samples.
        """
        if not wave.shape[-1]:
            raise ParameterError("a wave must have at least one sample, got none")
        shortest = self.config.hop_length  # least length for reflection padding
        filled = nn.functional.pad(wave, (0, max(0, shortest - wave.shape[-1])))
        with torch.autocast(wave.device.type, enabled=False):
            latents = self.model.encoder(filled.float()[:, None])
            return self.model.quantizer.encode(latents).transpose(0, 1)

    def decode(self, tokens: Tensor) -> Wave:
        """Return the waves (b, w * hop) of tokens (b, k, w), of all streams or the first few.

        Raises:
            ParameterError: more streams than the codec has, or none.
        """
        if not 1 <= tokens.shape[1] <= self.n_rows:
            raise ParameterError(f"tokens must be of 1 to {self.n_rows} streams, got {tokens.shape[1]}")
        with torch.autocast(tokens.device.type, enabled=False):
            return self.model.decoder(self.model.quantizer.decode(tokens.transpose(0, 1)))[:, 0]


def _model(config: EncodecConfig) -> Any:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        from transformers import EncodecConfig as Settings
        from transformers import EncodecModel
    except ImportError as error:
        raise CheckpointError("EnCodec needs the package transformers: pip install 'masktools[streams]'") from error
    bits = (config.n_codes - 1).bit_length()
    return EncodecModel(
        Settings(
            target_bandwidths=[config.n_streams * bits * (config.sample_rate // config.hop_length) / 1000],
            sampling_rate=config.sample_rate,
            hidden_size=config.code_dim,
            num_filters=config.n_filters,
            num_residual_layers=config.n_residual_layers,
            upsampling_ratios=list(config.ratios),
            kernel_size=config.kernel_size,
            last_kernel_size=config.last_kernel_size,
            residual_kernel_size=config.residual_kernel_size,
            dilation_growth_rate=config.dilation_base,
            compress=config.compress,
            num_lstm_layers=config.n_lstm_layers,
            pad_mode=config.pad_mode,
            codebook_size=config.n_codes,
            codebook_dim=config.code_dim,
            use_causal_conv=False,
            use_conv_shortcut=False,
            normalize=False,
            audio_channels=1,
        )
    )
