"""What the convolutional generators share: how a mel frame is stretched to hop_length samples."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from math import prod

import torch
from torch import Tensor, nn

from masktools.errors import ParameterError
from masktools.mel import MelConfig

__all__ = [
    "UpsamplingConfig",
    "check_hop",
    "check_mel_bins",
    "keep_length",
    "mean_of",
    "start_small",
    "up_steps",
]


@dataclass(frozen=True)
class UpsamplingConfig:
    """The skeleton of a generator: its steps of upsampling, and the residual blocks after each.

    The channels halve at every step. After it, one block per kernel runs, and the mean of the blocks goes on.

    Source: HiFi-GAN (arXiv:2010.05646), section 2.2 and appendix A.1.
    """

    channels: int = 512  # before the first step
    upsample_rates: tuple[int, ...] = (8, 8, 2, 2)
    upsample_kernels: tuple[int, ...] = (16, 16, 4, 4)
    block_kind: int = 1  # 1: two convolutions for each dilation; 2: one
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    # dB, down to which the mel spectrograms reach that it was trained on; None: to db_min; no part of the skeleton
    floor_db: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check every range."""
        n_steps = len(self.upsample_rates)
        if n_steps == 0 or min(self.upsample_rates) < 1:
            raise ParameterError(f"upsample_rates must be positive numbers, got {self.upsample_rates}")
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
        if self.channels < 1 or self.channels % 2**n_steps:
            raise ParameterError(f"channels must be a positive multiple of {2**n_steps}, got {self.channels}")
        if self.block_kind not in (1, 2):
            raise ParameterError(f"block_kind must be 1 or 2, got {self.block_kind}")
        if not self.block_kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in self.block_kernels):
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


def check_hop(config: UpsamplingConfig, mel_config: MelConfig) -> None:
    """Check that the steps of upsampling stretch one frame to one hop.

    Raises:
        ParameterError: if the product of ``upsample_rates`` is not ``hop_length``.
    """
    stretch = prod(config.upsample_rates)
    if stretch != mel_config.hop_length:
        raise ParameterError(
            f"the product of upsample_rates must be hop_length = {mel_config.hop_length}, "
            f"got {stretch} from {config.upsample_rates}"
        )


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


def up_steps(config: UpsamplingConfig) -> Iterable[nn.ConvTranspose1d]:
    """Yield the transposed convolutions, each stretching its input by exactly its rate."""
    return (
        nn.ConvTranspose1d(n_in, n_out, kernel, rate, padding=(kernel - rate) // 2)
        for n_in, n_out, kernel, rate in zip(
            config.widths[:-1], config.widths[1:], config.upsample_kernels, config.upsample_rates, strict=True
        )
    )


def mean_of(blocks: Iterable[nn.Module], signal: Tensor) -> Tensor:
    """Return the mean of what the blocks make of the same signal."""
    made = [block(signal) for block in blocks]
    return reduce(torch.add, made) / len(made)


def start_small(*parts: nn.Module) -> None:
    """Draw the weights of all convolutions in ``parts`` from a normal distribution of deviation 0.01."""
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                nn.init.normal_(layer.weight, 0.0, 0.01)
