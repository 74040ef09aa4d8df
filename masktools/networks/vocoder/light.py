"""The light vocoder: mel -> wave by ConvNeXt blocks at frame rate and one inverse Fourier transform.

Source: Vocos (arXiv:2306.00814), with the framing of HiFi-GAN: m frames give exactly m * hop_length samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.core.shapes import Mel, Wave
from masktools.mel import MelConfig
from masktools.networks.packing import PackedLinear, fill_rest, refuse_weights, swap_linear
from masktools.networks.vocoder.griffin_lim import (
    GriffinLim,
    GriffinLimConfig,
    MelConsistency,
    inverse_frames,
    overlap_add,
)

_MAX_MAGNITUDE = 100.0


@dataclass(frozen=True)
class LightVocoderConfig:
    """Settings of the light vocoder; the defaults are those of the bundled model."""

    width: int = ranged(256, "[1, inf]")
    depth: int = ranged(8, "[1, inf]")
    mlp_ratio: float = ranged(3.0, "(0, inf]")
    n_phase_rounds: int = ranged(0, "[0, inf]")  # of Griffin-Lim from the network's phases, in evaluation only
    n_corrections: int = ranged(0, "[0, inf]")  # rounds of mel consistency after rendering, in evaluation only

    __post_init__ = settle


class ConvNeXtBlock(nn.Module):
    """A depth-wise convolution over time and a two-layer perceptron. ``forward``: (b, c, m) -> the same."""

    def __init__(self, width: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, hidden)
        self.act: nn.Module = nn.GELU()
        self.contract = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, frames: Tensor) -> Tensor:
        """Return the frames plus what the block adds."""
        inner = self.norm(self.depthwise(frames).transpose(1, 2))
        inner = self.contract(self.act(self.expand(inner))) * self.scale
        return frames + inner.transpose(1, 2)


class LightVocoder(nn.Module):
    """Wave of a mel spectrogram in [-1, 1]. ``forward``: (b, f, m) -> (b, m * hop_length)."""

    window: Tensor

    def __init__(self, config: LightVocoderConfig, mel_config: MelConfig) -> None:
        super().__init__()
        self.config, self.mel_config = config, mel_config
        self.packed = False  # whether ``pack`` has been called
        width = config.width
        self.enter = nn.Conv1d(mel_config.n_mels, width, 7, padding=3)
        self.enter_norm = nn.LayerNorm(width, eps=1e-6)
        hidden = round(width * config.mlp_ratio)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width, hidden, 1.0 / config.depth) for _ in range(config.depth))
        self.leave_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, mel_config.n_fft + 2)
        self.register_buffer("window", torch.hann_window(mel_config.n_fft, device="cpu"), persistent=False)
        self.griffin_lim = GriffinLim(GriffinLimConfig(n_iterations=config.n_phase_rounds), mel_config)
        self.consistency = MelConsistency(mel_config, config.n_corrections)

    def forward(self, mel: Mel) -> Wave:
        """Return the wave, m * hop_length samples."""
        frames = self.enter(mel)
        frames = self.enter_norm(frames.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            frames = block(frames)
        left = self.leave_norm(frames.transpose(1, 2))
        with torch.autocast(mel.device.type, enabled=False):  # phases need the precision
            log_magnitude, phase = self.head(left.float()).transpose(1, 2).chunk(2, dim=1)
        magnitude = log_magnitude.exp().clamp_max(_MAX_MAGNITUDE)
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        config = self.mel_config
        pieces = inverse_frames(spectrum, config.n_fft)
        wave = overlap_add(pieces, self.window, config.hop_length, config.margin)
        return wave if self.training else self.consistency(self.griffin_lim.refine(wave, mel), mel)

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Exchange the linear layers for packed ones, and fill the rest; a CPU computes in single precision.

        A vocoder that is packed stays as it is.

        Args:
            precision: that of the model.
            weights: by name, for a vocoder on the meta device; None for one that has its weights.
            device: where weights that are read go to.
        """
        if weights is not None and not self.packed:
            fill_rest(self, weights, device)
        if self.packed or self.enter.weight.device.type != "cpu":
            return
        for number, block in enumerate(self.blocks):
            swap_linear(self, f"blocks.{number}.expand", partial(PackedLinear, dtype=torch.float32, gelu=True))
            swap_linear(self, f"blocks.{number}.contract", partial(PackedLinear, dtype=torch.float32))
            cast(ConvNeXtBlock, block).act = nn.Identity()
        swap_linear(self, "head", partial(PackedLinear, dtype=torch.float32))
        self.packed = True
        refuse_weights(self)
