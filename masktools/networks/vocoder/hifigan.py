"""The generators of HiFi-GAN and BigVGAN: mel -> wave by transposed convolutions and multi-receptive-field blocks.

Parameters carry upstream's names with the weight normalisation folded into plain ``weight``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from math import pi, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel, Wave
from masktools.mel import MelConfig, mel_to_log
from masktools.networks.vocoder.light import check_mel_bins

Activation = Callable[[int], nn.Module]
"""Function from a number of channels to an activation."""


@dataclass(frozen=True)
class UpsamplingConfig:
    """Settings that all generators share: upsampling steps, and the residual blocks after each.

    The channels halve at every step. After it, there is one block per kernel, and their outputs are averaged.

    Source: HiFi-GAN (arXiv:2010.05646), section 2.2 and appendix A.1.
    """

    channels: int = ranged(512, "[1, inf]")  # before the first step
    upsample_rates: tuple[int, ...] = ranged((8, 8, 2, 2), "[1, inf]")
    upsample_kernels: tuple[int, ...] = (16, 16, 4, 4)
    block_kind: int = ranged(1, "[1, 2]")  # 1: two convolutions for each dilation; 2: one
    block_kernels: tuple[int, ...] = ranged((3, 7, 11), "[1, inf]")
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    # Lower limit in dB of the mel spectrograms in training; None: db_min; not part of the skeleton
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


def keep_length(n_in: int, n_out: int, kernel: int, dilation: int = 1, bias: bool = True) -> nn.Conv1d:
    """Return a convolution with an output as long as its input."""
    return nn.Conv1d(n_in, n_out, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2, bias=bias)


class PairBlock(nn.Module):
    """Residual pairs of activated convolutions. ``forward``: (b, c, t) -> the same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(keep_length(channels, channels, kernel, reach) for reach in dilations)
        self.convs2 = nn.ModuleList(keep_length(channels, channels, kernel) for _ in dilations)
        self.activations = nn.ModuleList(activation(channels) for _ in (*dilations, *dilations))

    def forward(self, signal: Tensor) -> Tensor:
        """Return the signal after all pairs."""
        pairs = zip(self.convs1, self.convs2, self.activations[::2], self.activations[1::2], strict=True)
        for dilated, plain, first, second in pairs:
            signal = signal + plain(second(dilated(first(signal))))
        return signal


class SingleBlock(nn.Module):
    """Residual activated dilated convolutions. ``forward``: (b, c, t) -> the same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        self.convs = nn.ModuleList(keep_length(channels, channels, kernel, reach) for reach in dilations)
        self.activations = nn.ModuleList(activation(channels) for _ in dilations)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the signal after all convolutions."""
        for dilated, activate in zip(self.convs, self.activations, strict=True):
            signal = signal + dilated(activate(signal))
        return signal


class Generator(nn.Module):
    """The skeleton of HiFi-GAN's and BigVGAN's generators: (b, f, m) in [-1, 1] -> wave (b, m * hop_length).

    Args:
        config: settings of the upsampling steps and of the blocks.
        mel_config: settings of the mel spectrograms.
        activation: function from a number of channels to the activation before a convolution.
        last_activation: activation before the last convolution.
        last_bias: whether the last convolution has a bias.

    Raises:
        ParameterError: the product of the upsampling rates is not ``hop_length``.
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
        """Return an upsampling step with upstream's name."""
        return layer

    def _before_up(self, signal: Tensor) -> Tensor:
        return signal

    def rendered(self, mel: Mel) -> Wave:
        """Return the output of the last convolution, (b, t)."""
        check_mel_bins(mel.shape[1], self.mel_config)
        signal = self.conv_pre(mel_to_log(mel, self.mel_config))
        for step, up in enumerate(self.ups):
            signal = up(self._before_up(signal))
            made = [block(signal) for block in self.resblocks[step * self._n_kernels : (step + 1) * self._n_kernels]]
            signal = reduce(torch.add, made) / len(made)
        return self.conv_post(self.activation_post(signal)).squeeze(1)


_SLOPE = 0.1  # of the leaky ReLUs, except the last
_LAST_SLOPE = 0.01


@dataclass(frozen=True)
class HifiganConfig(UpsamplingConfig):
    """Settings of HiFi-GAN's generator; the defaults are its V1.

    Source: HiFi-GAN (arXiv:2010.05646), appendix A.1, table 5.
    """


class Hifigan(Generator):
    """HiFi-GAN's generator. ``forward``: mel (b, f, m) in [-1, 1] -> wave (b, m * hop_length) in [-1, 1].

    Raises ParameterError when the product of the upsampling rates is not ``hop_length``.

    Upstream's checkpoints were trained with the floor of the front end, 20 dB below db_min: their ``floor_db`` is
    -100, and their input, when computed from sound, goes below -1.

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


_N_TAPS = 12  # of the filters around an activation
_TINY = 1e-9


@dataclass(frozen=True)
class BigvganConfig(UpsamplingConfig):
    """Settings of BigVGAN's generator; the defaults are those of its base model for 22.05 kHz.

    Source: BigVGAN (arXiv:2206.04658), section 3 and appendix A; version 2 for ``clamp`` and no last bias.
    """

    activation: str = ranged("snakebeta", ("snake", "snakebeta"))
    log_scale: bool = True  # the activation's parameters are logarithms
    end: str = ranged("tanh", ("tanh", "clamp"))
    last_bias: bool = True


def kaiser_sinc_filter(cutoff: float, half_width: float, n_taps: int) -> Tensor:
    """Return a low-pass filter of unit sum, (n_taps,) float32, for an even number of taps.

    Args:
        cutoff: centre of the transition band, as a share of the sample rate, in (0, 0.5].
        half_width: half the width of the transition band, as a share of the sample rate.
        n_taps: length, even.

    Source: Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5.3, for Kaiser's window.
    """
    half = n_taps // 2
    attenuation_db = 2.285 * (half - 1) * pi * 4.0 * half_width + 7.95
    if attenuation_db > 50.0:
        beta = 0.1102 * (attenuation_db - 8.7)
    elif attenuation_db >= 21.0:
        beta = 0.5842 * (attenuation_db - 21.0) ** 0.4 + 0.07886 * (attenuation_db - 21.0)
    else:
        beta = 0.0
    # The device is given so that the constants exist even where a model is on the meta device.
    window = torch.kaiser_window(n_taps, periodic=False, beta=beta, dtype=torch.float64, device="cpu")
    time = torch.arange(-half, half, dtype=torch.float64, device="cpu") + 0.5
    taps = window * torch.sinc(2.0 * cutoff * time)
    return (taps / taps.sum()).float()


class Snake(nn.Module):
    """x + sin(alpha * x)**2 / beta, with parameters per channel. ``forward``: (b, c, t) -> the same.

    ``snake`` has beta = alpha; ``snakebeta`` learns both.

    Source: BigVGAN (arXiv:2206.04658), equation 1.
    """

    def __init__(self, channels: int, config: BigvganConfig) -> None:
        super().__init__()
        self.log_scale = config.log_scale
        initial = torch.zeros(channels) if config.log_scale else torch.ones(channels)
        self.alpha = nn.Parameter(initial)
        if config.activation == "snakebeta":
            self.beta = nn.Parameter(initial.clone())
        else:
            self.register_parameter("beta", None)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the signal plus its periodic part."""
        alpha = self.alpha[:, None]
        beta = alpha if self.beta is None else self.beta[:, None]
        if self.log_scale:
            alpha, beta = alpha.exp(), beta.exp()
        return signal + (signal * alpha).sin().square() / (beta + _TINY)


class SmoothActivation(nn.Module):
    """An activation at twice the sample rate, without aliasing. ``forward``: (b, c, t) -> the same.

    Source: BigVGAN (arXiv:2206.04658), section 3.2; after StyleGAN3 (arXiv:2106.12423).
    """

    filter: Tensor

    def __init__(self, channels: int, config: BigvganConfig) -> None:
        super().__init__()
        self.act = Snake(channels, config)
        self.register_buffer("filter", kaiser_sinc_filter(0.25, 0.3, _N_TAPS), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the activated signal; at both ends it is padded with its last value."""
        channels = signal.shape[1]
        taps = self.filter.expand(channels, 1, _N_TAPS)
        half = _N_TAPS // 2
        signal = F.pad(signal, (half - 1, half - 1), mode="replicate")
        doubled = 2.0 * F.conv_transpose1d(signal, taps, stride=2, groups=channels)
        margin = 3 * (half - 1)  # samples added by the padding and the filter at either side
        active = self.act(doubled[..., margin:-margin])
        return F.conv1d(F.pad(active, (half - 1, half), mode="replicate"), taps, stride=2, groups=channels)


class Bigvgan(Generator):
    """BigVGAN's generator. ``forward``: mel (b, f, m) in [-1, 1] -> wave (b, m * hop_length) in [-1, 1].

    Raises ParameterError when the product of the upsampling rates is not ``hop_length``.

    Differs: its input is clipped at db_min, 20 dB above the floor of upstream's.

    Source: BigVGAN (arXiv:2206.04658), section 3.
    """

    activation_post: SmoothActivation

    def __init__(self, config: BigvganConfig, mel_config: MelConfig) -> None:
        def activation(channels: int) -> SmoothActivation:
            return SmoothActivation(channels, config)

        super().__init__(config, mel_config, activation, activation, config.last_bias)
        self.config = config

    def _up(self, layer: nn.ConvTranspose1d) -> nn.Module:
        return nn.Sequential(layer)  # upstream nests them

    def forward(self, mel: Mel) -> Wave:
        """Return the wave of each mel spectrogram."""
        wave = self.rendered(mel)
        return wave.tanh() if self.config.end == "tanh" else wave.clamp(-1.0, 1.0)
