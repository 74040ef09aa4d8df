"""HiFi-GAN's generator: mel -> wave by transposed convolutions and blocks of many receptive fields.

Parameters carry upstream's names with the weight normalisation folded into plain ``weight``.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from masktools.mel import MelConfig, mel_to_log
from masktools.shapes import Mel, Wave
from masktools.vocoder.upsampling import (
    UpsamplingConfig,
    check_hop,
    check_mel_bins,
    keep_length,
    mean_of,
    start_small,
    up_steps,
)

__all__ = ["Hifigan", "HifiganConfig"]

_SLOPE = 0.1  # of the leaky rectifiers, all but the last
_LAST_SLOPE = 0.01


@dataclass(frozen=True)
class HifiganConfig(UpsamplingConfig):
    """Settings of HiFi-GAN's generator; the defaults are its V1.

    Source: HiFi-GAN (arXiv:2010.05646), appendix A.1, table 5.
    """

    @classmethod
    def v1(cls) -> "HifiganConfig":
        """Return the best-sounding variant: 13.93 M parameters."""
        return cls()

    @classmethod
    def v2(cls) -> "HifiganConfig":
        """Return the variant of the same depth and a quarter of the width: 0.93 M parameters."""
        return cls(channels=128)

    @classmethod
    def v3(cls) -> "HifiganConfig":
        """Return the shallow variant: 1.46 M parameters."""
        return cls(
            channels=256,
            upsample_rates=(8, 8, 4),
            upsample_kernels=(16, 16, 8),
            block_kind=2,
            block_kernels=(3, 5, 7),
            block_dilations=((1, 2), (2, 6), (3, 12)),
        )


class PairBlock(nn.Module):
    """Pairs of convolutions, each pair beside a skip. ``forward``: (b, c, t) -> the same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(keep_length(channels, channels, kernel, reach) for reach in dilations)
        self.convs2 = nn.ModuleList(keep_length(channels, channels, kernel) for _ in dilations)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the signal plus what each pair adds in turn."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            change = dilated(F.leaky_relu(signal, _SLOPE))
            signal = signal + plain(F.leaky_relu(change, _SLOPE))
        return signal


class SingleBlock(nn.Module):
    """Dilated convolutions, each beside a skip. ``forward``: (b, c, t) -> the same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(keep_length(channels, channels, kernel, reach) for reach in dilations)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the signal plus what each convolution adds in turn."""
        for dilated in self.convs:
            signal = signal + dilated(F.leaky_relu(signal, _SLOPE))
        return signal


class Hifigan(nn.Module):
    """HiFi-GAN's generator. ``forward``: mel (b, f, m) in [-1, 1] -> wave (b, m * hop_length) in [-1, 1].

    Raises ParameterError when the rates of upsampling do not make ``hop_length``.

    Upstream's checkpoints were trained down to the floor of the front end, 20 dB below db_min: their ``floor_db`` is
    -100, and a mel spectrogram that is computed from sound reaches below -1 for them.

    Source: HiFi-GAN (arXiv:2010.05646), section 2.2.
    """

    def __init__(self, config: HifiganConfig, mel_config: MelConfig) -> None:
        super().__init__()
        check_hop(config, mel_config)
        self.config, self.mel_config = config, mel_config
        block = PairBlock if config.block_kind == 1 else SingleBlock
        self.conv_pre = keep_length(mel_config.n_mels, config.channels, 7)
        self.ups = nn.ModuleList(up_steps(config))
        self.resblocks = nn.ModuleList(
            block(width, kernel, dilations)
            for width in config.widths[1:]
            for kernel, dilations in zip(config.block_kernels, config.block_dilations, strict=True)
        )
        self.conv_post = keep_length(config.widths[-1], 1, 7)
        start_small(self.ups, self.resblocks, self.conv_post)

    def forward(self, mel: Mel) -> Wave:
        """Return the wave of each mel spectrogram."""
        check_mel_bins(mel.shape[1], self.mel_config)
        signal = self.conv_pre(mel_to_log(mel, self.mel_config))
        n_kernels = len(self.config.block_kernels)
        for step, up in enumerate(self.ups):
            signal = up(F.leaky_relu(signal, _SLOPE))
            signal = mean_of(self.resblocks[step * n_kernels : (step + 1) * n_kernels], signal)
        return self.conv_post(F.leaky_relu(signal, _LAST_SLOPE)).tanh().squeeze(1)
