"""HiFi-GAN's generator: mel -> wave by transposed convolutions and blocks of many receptive fields.

Parameters carry upstream's names with the weight normalisation folded into plain ``weight``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel, Wave
from masktools.mel import MelConfig, mel_to_log

Activation = Callable[[int], nn.Module]
"""Makes an activation of so many channels."""


@dataclass(frozen=True)
class UpsamplingConfig:
    """The skeleton of a generator: its steps of upsampling, and the residual blocks after each.

    The channels halve at every step. After it, one block per kernel runs, and the mean of the blocks goes on.

    Source: HiFi-GAN (arXiv:2010.05646), section 2.2 and appendix A.1.
    """

    channels: int = ranged(512, "[1, inf]")  # before the first step
    upsample_rates: tuple[int, ...] = ranged((8, 8, 2, 2), "[1, inf]")
    upsample_kernels: tuple[int, ...] = (16, 16, 4, 4)
    block_kind: int = ranged(1, "[1, 2]")  # 1: two convolutions for each dilation; 2: one
    block_kernels: tuple[int, ...] = ranged((3, 7, 11), "[1, inf]")
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    # dB, down to which the mel spectrograms reach that it was trained on; None: to db_min; no part of the skeleton
    floor_db: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        n_steps = len(self.upsample_rates)
        if len(self.upsample_kernels) != n_steps:
            raise ParameterError(
                f"upsample_kernels must be as many as upsample_rates, got {self.upsample_kernels} "
                f"for {self.upsample_rates}"
            )
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernels, strict=True):
            if kernel < rate or (kernel - rate) % 2:
                raise ParameterError(
                    f"each upsample kernel must be its rate plus an even number >= 0, got {kernel} for {rate}"
                )
        if self.channels % 2**n_steps:
            raise ParameterError(f"channels must be a positive multiple of {2**n_steps}, got {self.channels}")
        if any(kernel % 2 == 0 for kernel in self.block_kernels):
            raise ParameterError(f"block_kernels must be odd positive numbers, got {self.block_kernels}")
        if len(self.block_dilations) != len(self.block_kernels) or any(
            not dilations or min(dilations) < 1 for dilations in self.block_dilations
        ):
            raise ParameterError(
                "block_dilations must be one tuple of positive numbers for each block kernel, "
                f"got {self.block_dilations} for {self.block_kernels}"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first step and after each."""
        return tuple(self.channels // 2**step for step in range(len(self.upsample_rates) + 1))


def check_mel_bins(n_mels: int, mel_config: MelConfig) -> None:
    """Check that a mel spectrogram has the bins that a vocoder was built for.

    Raises:
        ParameterError: if ``n_mels`` is not that of the configuration.
    """
    if n_mels != mel_config.n_mels:
        raise ParameterError(f"mel must have {mel_config.n_mels} bins, got {n_mels}")


def keep_length(n_in: int, n_out: int, kernel: int, dilation: int = 1, bias: bool = True) -> nn.Conv1d:
    """Return a convolution whose output is as long as its input."""
    return nn.Conv1d(n_in, n_out, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2, bias=bias)


class PairBlock(nn.Module):
    """Pairs of activated convolutions, each pair beside a skip. ``forward``: (b, c, t) -> the same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(keep_length(channels, channels, kernel, reach) for reach in dilations)
        self.convs2 = nn.ModuleList(keep_length(channels, channels, kernel) for _ in dilations)
        self.activations = nn.ModuleList(activation(channels) for _ in (*dilations, *dilations))

    def forward(self, signal: Tensor) -> Tensor:
        """Return the signal plus what each pair adds in turn."""
        pairs = zip(self.convs1, self.convs2, self.activations[::2], self.activations[1::2], strict=True)
        for dilated, plain, first, second in pairs:
            signal = signal + plain(second(dilated(first(signal))))
        return signal


class SingleBlock(nn.Module):
    """Activated dilated convolutions, each beside a skip. ``forward``: (b, c, t) -> the same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        self.convs = nn.ModuleList(keep_length(channels, channels, kernel, reach) for reach in dilations)
        self.activations = nn.ModuleList(activation(channels) for _ in dilations)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the signal plus what each convolution adds in turn."""
        for dilated, activate in zip(self.convs, self.activations, strict=True):
            signal = signal + dilated(activate(signal))
        return signal


class Generator(nn.Module):
    """The skeleton of HiFi-GAN's and BigVGAN's generators: (b, f, m) in [-1, 1] -> wave (b, m * hop_length).

    Args:
        config: its steps of upsampling, and the blocks after each.
        mel_config: what the mel spectrograms are.
        activation: makes the activation in front of a convolution of so many channels.
        last_activation: in front of the last convolution.
        last_bias: whether the last convolution has a bias.

    Raises:
        ParameterError: The rates of upsampling do not make ``hop_length``.
    """

    def __init__(
        self,
        config: UpsamplingConfig,
        mel_config: MelConfig,
        activation: Activation,
        last_activation: Activation,
        last_bias: bool = True,
    ) -> None:
        super().__init__()
        stretch = prod(config.upsample_rates)
        if stretch != mel_config.hop_length:
            raise ParameterError(
                f"the product of upsample_rates must be hop_length = {mel_config.hop_length}, "
                f"got {stretch} from {config.upsample_rates}"
            )
        self.mel_config, self._n_kernels = mel_config, len(config.block_kernels)
        block = PairBlock if config.block_kind == 1 else SingleBlock
        widths = config.widths
        self.conv_pre = keep_length(mel_config.n_mels, config.channels, 7)
        self.ups = nn.ModuleList(
            self._up(nn.ConvTranspose1d(n_in, n_out, kernel, rate, padding=(kernel - rate) // 2))
            for n_in, n_out, kernel, rate in zip(
                widths[:-1], widths[1:], config.upsample_kernels, config.upsample_rates, strict=True
            )
        )
        self.resblocks = nn.ModuleList(
            block(width, kernel, dilations, activation)
            for width in widths[1:]
            for kernel, dilations in zip(config.block_kernels, config.block_dilations, strict=True)
        )
        self.activation_post = last_activation(widths[-1])
        self.conv_post = keep_length(widths[-1], 1, 7, bias=last_bias)
        for part in (self.ups, self.resblocks, self.conv_post):
            for layer in part.modules():
                if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                    nn.init.normal_(layer.weight, 0.0, 0.01)

    def _up(self, layer: nn.ConvTranspose1d) -> nn.Module:
        """Return a step of upsampling as upstream names it."""
        return layer

    def _before_up(self, signal: Tensor) -> Tensor:
        return signal

    def rendered(self, mel: Mel) -> Wave:
        """Return what the last convolution makes of mel spectrograms, (b, t)."""
        check_mel_bins(mel.shape[1], self.mel_config)
        signal = self.conv_pre(mel_to_log(mel, self.mel_config))
        for step, up in enumerate(self.ups):
            signal = up(self._before_up(signal))
            made = [block(signal) for block in self.resblocks[step * self._n_kernels : (step + 1) * self._n_kernels]]
            signal = reduce(torch.add, made) / len(made)
        return self.conv_post(self.activation_post(signal)).squeeze(1)


_SLOPE = 0.1  # of the leaky rectifiers, all but the last
_LAST_SLOPE = 0.01


@dataclass(frozen=True)
class HifiganConfig(UpsamplingConfig):
    """Settings of HiFi-GAN's generator; the defaults are its V1.

    Source: HiFi-GAN (arXiv:2010.05646), appendix A.1, table 5.
    """


class Hifigan(Generator):
    """HiFi-GAN's generator. ``forward``: mel (b, f, m) in [-1, 1] -> wave (b, m * hop_length) in [-1, 1].

    Raises ParameterError when the rates of upsampling do not make ``hop_length``.

    Upstream's checkpoints were trained down to the floor of the front end, 20 dB below db_min: their ``floor_db`` is
    -100, and a mel spectrogram that is computed from sound reaches below -1 for them.

    Source: HiFi-GAN (arXiv:2010.05646), section 2.2.
    """

    def __init__(self, config: HifiganConfig, mel_config: MelConfig) -> None:
        super().__init__(config, mel_config, lambda _: nn.LeakyReLU(_SLOPE), lambda _: nn.LeakyReLU(_LAST_SLOPE))
        self.config = config

    def _before_up(self, signal: Tensor) -> Tensor:
        return F.leaky_relu(signal, _SLOPE)

    def forward(self, mel: Mel) -> Wave:
        """Return the wave of each mel spectrogram."""
        return self.rendered(mel).tanh()
