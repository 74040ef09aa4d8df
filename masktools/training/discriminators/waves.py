"""Discriminators of a wave: folded at several periods, averaged at several scales, seen at several resolutions.

Source: HiFi-GAN (arXiv:2010.05646), section 2.3, for periods and scales; UnivNet (arXiv:2106.07889), section 2.2, and
BigVGAN (arXiv:2206.04658), appendix A, for resolutions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from masktools.errors import ParameterError, unknown_name
from masktools.training.discriminators.san import SlicedConv

__all__ = ["JUDGES", "JudgesConfig", "Verdict", "WaveDiscriminator"]

_SLOPE = 0.1


class Verdict(NamedTuple):
    """What judges say of a batch of waves."""

    logits: list[Tensor]  # one map of each judge; with ``split``, two stacked ones of each
    features: list[Tensor]  # of every layer before the last


def _last(n_in: int, kernel: tuple[int, ...], sliced: bool) -> nn.Module:
    if sliced:
        return SlicedConv(n_in, kernel)
    convolution = nn.Conv1d if len(kernel) == 1 else nn.Conv2d
    padding = tuple(size // 2 for size in kernel)
    return weight_norm(convolution(n_in, 1, kernel, padding=padding))  # type: ignore[arg-type]


class Judge(nn.Module):
    """A view of the wave, convolutions over it, and a last one. ``forward``: (b, t) -> (logits, features)."""

    def __init__(self, layers: Sequence[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.last = last

    def view(self, wave: Tensor) -> Tensor:
        """Return the wave as the layers read it, (b, 1, ...)."""
        return wave.unsqueeze(1)

    def forward(self, wave: Tensor, split: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Return the logits and the features of each layer."""
        cells, features = self.view(wave), []
        for layer in self.layers:
            cells = F.leaky_relu(layer(cells), _SLOPE)
            features.append(cells)
        return self.last(cells, split) if isinstance(self.last, SlicedConv) else self.last(cells), features


class PeriodJudge(Judge):
    """Judge of every ``period``-th sample, side by side."""

    def __init__(self, period: int, widths: Sequence[int], tail: bool, sliced: bool) -> None:
        inputs = (1, *widths)
        layers = [weight_norm(nn.Conv2d(i, o, (5, 1), (3, 1), (2, 0))) for i, o in zip(inputs, widths, strict=False)]
        if tail:
            layers.append(weight_norm(nn.Conv2d(widths[-1], widths[-1], (5, 1), 1, (2, 0))))
        super().__init__(layers, _last(widths[-1], (3, 1), sliced))
        self.period = period

    def view(self, wave: Tensor) -> Tensor:
        """Return the wave folded, (b, 1, t / period, period)."""
        padded = F.pad(wave.unsqueeze(1), (0, -wave.shape[1] % self.period), mode="reflect")
        return padded.unflatten(2, (-1, self.period))


class ScaleJudge(Judge):
    """Judge of the wave itself, or of averages of it."""

    def __init__(self, halvings: int, width: int, sliced: bool) -> None:
        norm: Callable[..., nn.Module] = weight_norm if halvings else spectral_norm
        plan = (  # n_in, n_out, kernel, stride, groups
            (1, width, 15, 1, 1),
            (width, width, 41, 2, max(1, width // 32)),
            (width, 2 * width, 41, 2, width // 8),
            (2 * width, 4 * width, 41, 4, width // 8),
            (4 * width, 8 * width, 41, 4, width // 8),
            (8 * width, 8 * width, 41, 1, width // 8),
            (8 * width, 8 * width, 5, 1, 1),
        )
        layers = [
            norm(nn.Conv1d(n_in, n_out, kernel, stride, kernel // 2, groups=groups))
            for n_in, n_out, kernel, stride, groups in plan
        ]
        super().__init__(layers, _last(8 * width, (3,), sliced))
        self.halvings = halvings

    def view(self, wave: Tensor) -> Tensor:
        """Return the wave at its scale, (b, 1, t / 2**halvings)."""
        signal = wave.unsqueeze(1)
        for _ in range(self.halvings):
            signal = F.avg_pool1d(signal, 4, 2, padding=2)
        return signal


class ResolutionJudge(Judge):
    """Judge of the magnitudes of a short-time spectrum, framed like a mel spectrogram."""

    def __init__(self, sizes: tuple[int, int, int], width: int, sliced: bool) -> None:
        strides = (1, 2, 2, 2)  # in time
        layers = [
            weight_norm(nn.Conv2d(width if i else 1, width, (3, 9), (1, stride), (1, 4)))
            for i, stride in enumerate(strides)
        ]
        layers.append(weight_norm(nn.Conv2d(width, width, 3, padding=1)))
        super().__init__(layers, _last(width, (3, 3), sliced))
        self.sizes = sizes

    def view(self, wave: Tensor) -> Tensor:
        """Return the magnitudes, (b, 1, 1 + n_fft // 2, frames)."""
        n_fft, hop_length, win_length = self.sizes
        margin = (n_fft - hop_length) // 2
        padded = F.pad(wave.float().unsqueeze(1), (margin, margin), mode="reflect").squeeze(1)
        window = torch.ones(win_length, device=wave.device)  # rectangular, as BigVGAN trains it
        spectrum = torch.stft(padded, n_fft, hop_length, win_length, window, center=False, return_complex=True)
        return torch.view_as_real(spectrum).square().sum(-1).add(1e-8).sqrt().unsqueeze(1)


class LogResolutionJudge(Judge):
    """Judge of the logarithms of a short-time spectrum, halved in frequency by every layer."""

    def __init__(self, n_fft: int, width: int, sliced: bool) -> None:
        strides = ((2, 1), (2, 1), (2, 2), (2, 2))
        layers = [
            weight_norm(nn.Conv2d(width if i else 1, width, (9, 3), stride, (4, 1))) for i, stride in enumerate(strides)
        ]
        super().__init__(layers, _last(width, (3, 3), sliced))
        self.n_fft = n_fft

    def view(self, wave: Tensor) -> Tensor:
        """Return the logarithms of the magnitudes, (b, 1, 1 + n_fft // 2, frames)."""
        window = torch.hann_window(self.n_fft, device=wave.device)
        spectrum = torch.stft(wave.float(), self.n_fft, self.n_fft // 4, window=window, return_complex=True)
        magnitude = torch.view_as_real(spectrum).square().sum(-1).add(1e-8).sqrt().clamp_min(1e-4)
        return magnitude.log().unsqueeze(1) / 5.0


@dataclass(frozen=True)
class JudgesConfig:
    """Which judges there are, and how wide.

    ``hifigan`` has periods and scales (41.1 M + 29.6 M parameters), ``bigvgan`` periods and resolutions (41.1 M +
    0.28 M), ``light`` periods and resolutions of a small width. Widths that are not given are the published ones, for
    ``light`` our own.
    """

    kind: str = "light"
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_widths: tuple[int, ...] | None = None
    scale_width: int | None = None  # of the first layer; the last ones have eight times as many channels
    resolution_width: int | None = None
    sliced: bool = False  # the last layers are those of a slicing adversarial network

    def __post_init__(self) -> None:
        """Check every range."""
        if self.kind not in JUDGES:
            raise unknown_name("kind of judges", self.kind, JUDGES)
        if not self.periods or min(self.periods) < 1:
            raise ParameterError(f"periods must be positive numbers, got {self.periods}")
        if self.period_widths is not None and (not self.period_widths or min(self.period_widths) < 1):
            raise ParameterError(f"period_widths must be positive numbers, got {self.period_widths}")
        if self.scale_width is not None and (self.scale_width < 8 or self.scale_width % 8):
            raise ParameterError(f"scale_width must be a positive multiple of 8, got {self.scale_width}")
        if self.resolution_width is not None and self.resolution_width < 1:
            raise ParameterError(f"resolution_width must be at least 1, got {self.resolution_width}")


def _light(config: JudgesConfig) -> list[Judge]:
    widths, width = config.period_widths or (8, 32, 128, 256), config.resolution_width or 16
    periods = [PeriodJudge(period, widths, False, config.sliced) for period in config.periods]
    return [*periods, *(LogResolutionJudge(n_fft, width, config.sliced) for n_fft in (2048, 1024, 512))]


def _published_periods(config: JudgesConfig) -> list[Judge]:
    widths = config.period_widths or (32, 128, 512, 1024)
    return [PeriodJudge(period, widths, True, config.sliced) for period in config.periods]


def _hifigan(config: JudgesConfig) -> list[Judge]:
    scales = [ScaleJudge(halvings, config.scale_width or 128, config.sliced) for halvings in range(3)]
    return [*_published_periods(config), *scales]


def _bigvgan(config: JudgesConfig) -> list[Judge]:
    sizes, width = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)), config.resolution_width or 32
    return [*_published_periods(config), *(ResolutionJudge(size, width, config.sliced) for size in sizes)]


JUDGES: dict[str, Callable[[JudgesConfig], list[Judge]]] = {"light": _light, "hifigan": _hifigan, "bigvgan": _bigvgan}


class WaveDiscriminator(nn.Module):
    """All judges of a wave. ``forward``: (b, t) -> Verdict."""

    def __init__(self, config: JudgesConfig) -> None:
        super().__init__()
        self.config = config
        self.judges = nn.ModuleList(JUDGES[config.kind](config))

    def forward(self, wave: Tensor, split: bool = False) -> Verdict:
        """Return the logits of all judges and the features of all their layers."""
        verdict = Verdict([], [])
        for judge in self.judges:
            logits, features = judge(wave, split)
            verdict.logits.append(logits)
            verdict.features.extend(features)
        return verdict
