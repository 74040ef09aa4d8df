"""Grain: the random detail that a decoded mel spectrogram lacks; a small network predicts how much each cell has of it.

A decoder that is trained by distances returns the middle of what may be there, which is too smooth; noise becomes a
weave or a hum. Added grain has the spread of the true spectrogram around the decoded one, and the correlation that
neighbouring cells of a spectrogram have. It is for what is generated: the decoded spectrogram itself is nearer to the
recording.

Source: Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for computer vision?"
    (arXiv:1703.04977), Eq. 8, for the likelihood with a predicted spread.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.core.shapes import Mel
from masktools.networks.packing import KeepsLayers

_IN_TIME, _IN_FREQUENCY = (1.0, 2.0, 1.0), (1.0, 3.0, 1.0)
"""Smoothing of the noise: neighbouring frames of residuals correlate by 0.6 and 0.2, neighbouring bins by 0.5."""
_LEAST, _GREATEST = -6.0, 0.0  # natural logarithm of the spread
_SEED, _BLOCK = 0, 16


@dataclass(frozen=True)
class GrainConfig:
    """Settings of the network, and the strength of the grain."""

    n_mels: int = ranged(80, "[1, inf)")
    width: int = ranged(24, "[1, inf)")  # channels
    n_layers: int = ranged(2, "[0, inf)")
    strength: float = ranged(0.5, "[0, inf)")  # factor on the predicted spread

    __post_init__ = settle


class Grain(KeepsLayers):
    """Decoded mel spectrogram (b, f, m) -> the same with grain."""

    def __init__(self, config: GrainConfig) -> None:
        super().__init__()
        self.config = config
        self.place = nn.Parameter(torch.zeros(config.width, config.n_mels, 1))
        self.first = nn.Conv2d(1, config.width, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(config.n_layers))
        self.last = nn.Conv2d(config.width, 1, 3, padding=1)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.fill_(-2.5)  # a spread of 4 dB  # pyright: ignore[reportOptionalMemberAccess]

    @property
    def reach(self) -> int:
        """Receptive field in frames, on either side."""
        return len(self.layers) + 2

    def log_spread(self, mel: Mel) -> Tensor:
        """Return the natural logarithm (b, f, m) of the standard deviation around a decoded mel spectrogram."""
        cells = F.silu(self.first(mel.unsqueeze(1)) + self.place)
        for layer in self.layers:
            cells = cells + F.silu(layer(cells))
        return self.last(cells).squeeze(1).clamp(_LEAST, _GREATEST)

    def forward(self, mel: Mel, first_frame: int = 0) -> Mel:
        """Return a decoded mel spectrogram with grain, in [-1, 1].

        The noise of a frame depends on its position alone, so that the same tokens always sound the same, whatever
        the batch and the window.

        Args:
            mel: decoded mel spectrogram (b, f, m).
            first_frame: position of its first frame in the recording.
        """
        noise = _noise(first_frame, *mel.shape[1:]).to(mel)
        return (mel + self.config.strength * self.log_spread(mel).exp() * noise).clamp(-1.0, 1.0)


def spread_loss(log_spread: Tensor, residual: Tensor) -> Tensor:
    """Return the mean negative log-likelihood in nats, without its constant, of normal residuals."""
    return (log_spread + 0.5 * residual.square() * (-2.0 * log_spread).exp()).mean()


def _noise(first_frame: int, n_mels: int, n_frames: int) -> Tensor:
    """Return smooth noise (f, m) of unit variance for frames at a position; each frame has always the same."""
    drawing = torch.Generator().manual_seed(_SEED)
    n_drawn = -(-(first_frame + n_frames + 2) // _BLOCK) * _BLOCK  # the last numbers of other lengths would differ
    cells = torch.randn(n_drawn, n_mels + 2, generator=drawing)[first_frame : first_frame + n_frames + 2].T
    for axis, kernel in ((1, _IN_TIME), (0, _IN_FREQUENCY)):
        taps = torch.tensor(kernel)
        cells = (cells.unfold(axis, len(kernel), 1) * (taps / taps.norm())).sum(-1)
    return cells
