"""BigVGAN's generator, versions 1 and 2: HiFi-GAN's skeleton with periodic activations that do not alias.

Parameters carry upstream's names with the weight normalisation folded into plain ``weight``.
"""

from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.configs import ranged
from masktools.core.shapes import Mel, Wave
from masktools.mel import MelConfig
from masktools.networks.vocoder.hifigan import Generator, UpsamplingConfig

_N_TAPS = 12  # of the filters around an activation
_TINY = 1e-9


@dataclass(frozen=True)
class BigvganConfig(UpsamplingConfig):
    """Settings of BigVGAN's generator; the defaults are those of its base model for 22.05 kHz.

    Source: BigVGAN (arXiv:2206.04658), section 3 and appendix A; version 2 for ``clamp`` and no last bias.
    """

    activation: str = ranged("snakebeta", ("snake", "snakebeta"))
    log_scale: bool = True  # the activation stores the logarithms of its constants
    end: str = ranged("tanh", ("tanh", "clamp"))
    last_bias: bool = True


def kaiser_sinc_filter(cutoff: float, half_width: float, n_taps: int) -> Tensor:
    """Return a low-pass filter of unit sum, (n_taps,) float32, for an even number of taps.

    Args:
        cutoff: middle of the transition, in (0, 0.5] of the sample rate.
        half_width: half of the transition, in the same unit.
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
    # The device is named so that the constants exist even where a model is laid out on the meta device.
    window = torch.kaiser_window(n_taps, periodic=False, beta=beta, dtype=torch.float64, device="cpu")
    time = torch.arange(-half, half, dtype=torch.float64, device="cpu") + 0.5
    taps = window * torch.sinc(2.0 * cutoff * time)
    return (taps / taps.sum()).float()


class Snake(nn.Module):
    """x + sin(alpha * x)**2 / beta, its constants per channel. ``forward``: (b, c, t) -> the same.

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
    """An activation at twice the rate, so that no overtone folds back. ``forward``: (b, c, t) -> the same.

    Source: BigVGAN (arXiv:2206.04658), section 3.2; after StyleGAN3 (arXiv:2106.12423).
    """

    filter: Tensor

    def __init__(self, channels: int, config: BigvganConfig) -> None:
        super().__init__()
        self.act = Snake(channels, config)
        self.register_buffer("filter", kaiser_sinc_filter(0.25, 0.3, _N_TAPS), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the activated signal; at both ends it is continued by its last value."""
        channels = signal.shape[1]
        taps = self.filter.expand(channels, 1, _N_TAPS)
        half = _N_TAPS // 2
        signal = F.pad(signal, (half - 1, half - 1), mode="replicate")
        doubled = 2.0 * F.conv_transpose1d(signal, taps, stride=2, groups=channels)
        margin = 3 * (half - 1)  # what the padding and the filter added at either side
        active = self.act(doubled[..., margin:-margin])
        return F.conv1d(F.pad(active, (half - 1, half), mode="replicate"), taps, stride=2, groups=channels)


class Bigvgan(Generator):
    """BigVGAN's generator. ``forward``: mel (b, f, m) in [-1, 1] -> wave (b, m * hop_length) in [-1, 1].

    Raises ParameterError when the rates of upsampling do not make ``hop_length``.

    Differs: its input is clipped at db_min, where upstream's reaches the floor of the front end, 20 dB lower.

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
