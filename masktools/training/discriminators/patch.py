"""Discriminators of patches of a mel spectrogram: a small one, and that of SpecVQGAN.

Source: PatchGAN (arXiv:1611.07004), section 3.2.2; SpecVQGAN (arXiv:2110.08791), section 3.1.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from masktools.errors import ParameterError, unknown_name

__all__ = ["NORMS", "MelPatchDiscriminator", "PatchGan", "PatchGanConfig"]

_SLOPE = 0.1
_SLOPE_PATCHGAN = 0.2
_N_GROUPS = 8
NORMS = ("batch", "group")


class MelPatchDiscriminator(nn.Module):
    """Judge of patches of a mel spectrogram. ``forward``: (b, f, m) -> (logits, features)."""

    def __init__(self, width: int = 32, n_layers: int = 3) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(n_layers)]
        layers = [weight_norm(nn.Conv2d(i, o, 4, 2, 1)) for i, o in zip([1, *widths], widths, strict=False)]
        layers.append(weight_norm(nn.Conv2d(widths[-1], 2 * widths[-1], 3, 1, 1)))
        self.layers = nn.ModuleList(layers)
        self.last = weight_norm(nn.Conv2d(2 * widths[-1], 1, 3, 1, 1))

    def forward(self, mel: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits (one map) and the features of each layer."""
        cells, features = mel.unsqueeze(1), []
        for layer in self.layers:
            cells = F.leaky_relu(layer(cells), _SLOPE)
            features.append(cells)
        return [self.last(cells)], features


@dataclass(frozen=True)
class PatchGanConfig:
    """Settings of SpecVQGAN's discriminator; the defaults are its own: 2.76 M parameters.

    ``norm`` is ``batch`` as published; ``group`` judges every clip by itself, which suits small batches.
    """

    width: int = 64  # channels of the first layer
    n_layers: int = 3  # that halve the resolution
    norm: str = "batch"

    def __post_init__(self) -> None:
        """Check every range."""
        if self.n_layers < 1:
            raise ParameterError(f"n_layers must be at least 1, got {self.n_layers}")
        if self.norm not in NORMS:
            raise unknown_name("norm", self.norm, NORMS)
        if self.width < 1 or (self.norm == "group" and self.width % (_N_GROUPS // 2)):
            least = _N_GROUPS // 2
            raise ParameterError(f"width must be positive, for a group norm a multiple of {least}, got {self.width}")


class PatchGan(nn.Module):
    """Judge of patches of 70 x 70 cells. ``forward``: (b, f, m) -> (logits, features).

    An 80 x 848 spectrogram is judged at 8 x 104 places.
    """

    def __init__(self, config: PatchGanConfig) -> None:
        super().__init__()
        widths = [config.width * min(2**i, 8) for i in range(config.n_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1)]
        for level in range(1, config.n_layers + 1):
            stride = 2 if level < config.n_layers else 1
            norm = nn.BatchNorm2d(widths[level]) if config.norm == "batch" else nn.GroupNorm(_N_GROUPS, widths[level])
            layers.append(nn.Sequential(nn.Conv2d(widths[level - 1], widths[level], 4, stride, 1, bias=False), norm))
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(widths[-1], 1, 4, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1.0, 0.02)

    def forward(self, mel: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits (one map) and the features of each layer."""
        cells, features = mel.unsqueeze(1), []
        for layer in self.layers:
            cells = F.leaky_relu(layer(cells), _SLOPE_PATCHGAN)
            features.append(cells)
        return [self.last(cells)], features
