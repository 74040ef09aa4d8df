"""Discriminators: patches of a mel spectrogram; periods and resolutions of a wave.

Source: PatchGAN (arXiv:1611.07004); HiFi-GAN's multi-period (arXiv:2010.05646) and UnivNet's multi-resolution
(arXiv:2106.07889) discriminators, with widths as an argument because they set the training budget.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["MelPatchDiscriminator", "WaveDiscriminator"]

_SLOPE = 0.1


class Judgement(nn.Module):
    """A stack of convolutions that gives its logits last and its features before. ``forward``: -> list of tensors."""

    def __init__(self, layers: Sequence[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.last = last

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features of each layer and, last, the logits."""
        features = []
        for layer in self.layers:
            image = F.leaky_relu(layer(image), _SLOPE)
            features.append(image)
        return [*features, self.last(image)]


class MelPatchDiscriminator(nn.Module):
    """Judge of patches of a mel spectrogram. ``forward``: (b, f, m) -> (logits, features)."""

    def __init__(self, width: int = 32, n_layers: int = 3) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(n_layers)]
        layers = [weight_norm(nn.Conv2d(i, o, 4, 2, 1)) for i, o in zip([1, *widths], widths, strict=False)]
        layers.append(weight_norm(nn.Conv2d(widths[-1], 2 * widths[-1], 3, 1, 1)))
        self.judge = Judgement(layers, weight_norm(nn.Conv2d(2 * widths[-1], 1, 3, 1, 1)))

    def forward(self, mel: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits (one map) and the features of each layer."""
        *features, logits = self.judge(mel.unsqueeze(1))
        return [logits], features


def _period_judge(widths: Sequence[int]) -> Judgement:
    layers = [weight_norm(nn.Conv2d(i, o, (5, 1), (3, 1), (2, 0))) for i, o in zip([1, *widths], widths, strict=False)]
    return Judgement(layers, weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), 1, (1, 0))))


def _resolution_judge(width: int) -> Judgement:
    strides = ((2, 1), (2, 1), (2, 2), (2, 2))
    layers = [
        weight_norm(nn.Conv2d(1 if i == 0 else width, width, (9, 3), stride, (4, 1)))
        for i, stride in enumerate(strides)
    ]
    return Judgement(layers, weight_norm(nn.Conv2d(width, 1, 3, 1, 1)))


class WaveDiscriminator(nn.Module):
    """Judge of a wave folded at several periods and seen at several resolutions. ``forward``: (b, t) -> lists."""

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        period_widths: Sequence[int] = (8, 32, 128, 256),
        resolutions: Sequence[int] = (2048, 1024, 512),
        resolution_width: int = 16,
    ) -> None:
        super().__init__()
        self.periods, self.resolutions = tuple(periods), tuple(resolutions)
        self.period_judges = nn.ModuleList(_period_judge(period_widths) for _ in periods)
        self.resolution_judges = nn.ModuleList(_resolution_judge(resolution_width) for _ in resolutions)

    def forward(self, wave: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits of all judges and the features of all their layers."""
        logits, features = [], []
        for period, judge in zip(self.periods, self.period_judges, strict=True):
            padded = F.pad(wave, (0, -wave.shape[1] % period))
            *found, verdict = judge(padded.unflatten(1, (-1, period)).unsqueeze(1))
            logits.append(verdict)
            features.extend(found)
        for size, judge in zip(self.resolutions, self.resolution_judges, strict=True):
            window = torch.hann_window(size, device=wave.device)
            spectrum = torch.stft(wave.float(), size, size // 4, window=window, return_complex=True)
            magnitude = torch.view_as_real(spectrum).square().sum(-1).add(1e-8).sqrt().clamp_min(1e-4)
            *found, verdict = judge(magnitude.log().unsqueeze(1) / 5.0)
            logits.append(verdict)
            features.extend(found)
        return logits, features
