"""Losses of the parts, and discriminators of spectrograms and waves with the losses of adversarial training.

An L1 distance of mel cells gives the lowest five bands, which span six thirds of an octave, as much weight as the
five highest, which span one; and its minimum is the median level of a cell, which is below its mean power.

A discriminator measures the distance of two distributions only if its last layer projects on the direction of
their greatest difference. The layer is therefore trained with two outputs: one that updates all but the direction, and
one that updates only the direction.

Source: SAN (arXiv:2301.12811), section 4; BigVSAN (arXiv:2309.02836), section 3.

Source: PatchGAN (arXiv:1611.07004), section 3.2.2; SpecVQGAN (arXiv:2110.08791), section 3.1.

Source: HiFi-GAN (arXiv:2010.05646), section 2.3, for periods and scales; UnivNet (arXiv:2106.07889), section 2.2, and
BigVGAN (arXiv:2206.04658), appendix A, for resolutions.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from masktools.core.arguments import checked_name, settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.core.shapes import FlatMask, FlatTokens, Logits
from masktools.mel import MelConfig, mel_edges_hz, mel_to_db

_LOWEST_HZ = 50.0
_QUIET_DB = -60.0  # of the mel spectrogram: lower levels count less and less
_N_FRAMES, _HOP = 8, 4  # of a pool: 93 ms at the usual 22,050 Hz and 256 samples
_N_POINTS = 16  # interpolation points of a band


class ThirdOctaveLevels(nn.Module):
    """Levels of third octaves from 50 Hz on, over 93 ms, in dB. ``forward``: (b, f, m) -> (b, k, m // 4 - 1)."""

    weights: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.mel = mel
        centres = mel_edges_hz(mel)[1:-1]
        n_bands = max(1, int(3 * np.log2(min(mel.f_max, mel.sample_rate / 2) / _LOWEST_HZ)))
        edges = _LOWEST_HZ * 2.0 ** (np.arange(n_bands + 1) / 3)
        weights = np.zeros((n_bands, mel.n_mels), np.float32)
        for band, (low, high) in enumerate(pairwise(edges)):
            points = low + (high - low) * (np.arange(_N_POINTS) + 0.5) / _N_POINTS
            for bin_, share in enumerate(np.identity(mel.n_mels)):
                weights[band, bin_] = np.interp(points, centres, share).mean()
        self.register_buffer("weights", torch.from_numpy(weights), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """Return the levels of mel spectrograms in [-1, 1], with a soft floor."""
        with torch.autocast(mel.device.type, enabled=False):
            power = (mel_to_db(mel.float(), self.mel) * (np.log(10.0) / 10.0)).exp()
            pooled = F.avg_pool1d(self.weights @ power, _N_FRAMES, _HOP)
            return 10.0 * (pooled + 10.0 ** (_QUIET_DB / 10.0)).log10()


def level_loss(estimate: Tensor, reference: Tensor, levels: ThirdOctaveLevels) -> Tensor:
    """Return the root mean square difference of levels, in the unit of the mel, averaged over clips (b, f, m)."""
    span = levels.mel.db_max - levels.mel.db_min
    difference = (levels(estimate) - levels(reference)) * (2.0 / span)
    return (difference.square().mean(dim=(1, 2)) + 1e-6).sqrt().mean()


def masked_cross_entropy(logits: Logits, tokens: FlatTokens, mask: FlatMask, smoothing: float = 0.1) -> Tensor:
    """Return the mean cross-entropy over all masked tokens of the batch.

    Source: SpecMaskGIT (arXiv:2406.17672), section 3.2.
    """
    return F.cross_entropy(logits[mask].float(), tokens[mask], label_smoothing=smoothing)


def codebook_loss(latents: Tensor, entries: Tensor, commitment: float = 0.25, legacy: bool = False) -> Tensor:
    """Return the loss that draws latents and their codebook entries, of one shape, to each other.

    The commitment term, on the latents, has the weight ``commitment``, below that of the other term.

    Differs: with ``legacy`` that weight is on the other term, as in SpecVQGAN's code at the time of its training.

    Source: VQ-VAE (arXiv:1711.00937), Eq. 3.
    """
    of_latents, of_entries = F.mse_loss(latents, entries.detach()), F.mse_loss(entries, latents.detach())
    return of_latents + commitment * of_entries if legacy else commitment * of_latents + of_entries


def slope_loss(estimate: Tensor, reference: Tensor) -> Tensor:
    """Return the L1 distance of the differences between neighbouring cells, in time and in frequency."""
    along = [F.l1_loss(estimate.diff(dim=axis), reference.diff(dim=axis)) for axis in (1, 2)]
    return torch.stack(along).mean()


def stft_loss(estimate: Tensor, reference: Tensor, sizes: Sequence[int] = (512, 1024, 2048)) -> Tensor:
    """Return log-magnitude L1 plus spectral convergence of waves (b, t), the mean over window sizes.

    Source: Parallel WaveGAN (arXiv:1910.11480), Eqs. 3 to 6.
    """
    total = estimate.new_zeros(())
    for size in sizes:
        window = torch.hann_window(size, device=estimate.device)
        magnitudes = [
            torch.view_as_real(torch.stft(wave.float(), size, size // 4, window=window, return_complex=True))
            .square()
            .sum(-1)
            .add(1e-8)
            .sqrt()
            for wave in (estimate, reference)
        ]
        distance = (magnitudes[0] - magnitudes[1]).norm(dim=(1, 2)) / magnitudes[1].norm(dim=(1, 2)).clamp_min(1e-3)
        logarithmic = (magnitudes[0].clamp_min(1e-4).log() - magnitudes[1].clamp_min(1e-4).log()).abs()
        total = total + distance.mean() + logarithmic.mean()
    return total / len(sizes)


def discriminator_hinge(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Return the hinge loss of a discriminator, the mean over its parts."""
    losses = [F.relu(1 - r.float()).mean() + F.relu(1 + g.float()).mean() for r, g in zip(real, generated, strict=True)]
    return torch.stack(losses).mean()


def generator_hinge(generated: Sequence[Tensor]) -> Tensor:
    """Return the hinge loss of a generator, the mean over the discriminator's parts."""
    return torch.stack([-g.float().mean() for g in generated]).mean()


def feature_matching(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Return the mean L1 distance of discriminator features, each relative to the size of the real ones."""
    pairs = zip(real, generated, strict=True)
    distances = [
        F.l1_loss(g.float(), r.detach().float()) / r.detach().float().abs().mean().clamp_min(1e-4) for r, g in pairs
    ]
    return torch.stack(distances).mean()


def feature_distance(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Return the sum of the L1 distances of discriminator features.

    Source: HiFi-GAN (arXiv:2010.05646), Eq. 5.
    """
    pairs = zip(real, generated, strict=True)
    return torch.stack([F.l1_loss(g.float(), r.detach().float()) for r, g in pairs]).sum()


def discriminator_squares(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Return the least-squares loss of a discriminator, the sum over its parts: real is 1, generated is 0.

    Source: HiFi-GAN (arXiv:2010.05646), Eq. 1.
    """
    pairs = zip(real, generated, strict=True)
    return torch.stack([(1 - r.float()).square().mean() + g.float().square().mean() for r, g in pairs]).sum()


def generator_squares(generated: Sequence[Tensor]) -> Tensor:
    """Return the least-squares loss of a generator, the sum over the discriminator's parts.

    Source: HiFi-GAN (arXiv:2010.05646), Eq. 2.
    """
    return torch.stack([(1 - g.float()).square().mean() for g in generated]).sum()


def discriminator_sliced(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Return the loss of a slicing adversarial discriminator, summed over its parts.

    Each logit is a stack of two: the first updates all but the direction of the last layer, with softened least
    squares; the second updates only the direction, towards the greatest distance of real and generated.

    Source: BigVSAN (arXiv:2309.02836), section 3.2.
    """
    losses = []
    for (real_judged, real_aimed), (judged, aimed) in zip(real, generated, strict=True):
        judging = F.softplus(1 - real_judged.float()).square().mean() + F.softplus(judged.float()).square().mean()
        aiming = F.softplus(1 - real_aimed.float()).square().mean() - F.softplus(1 - aimed.float()).square().mean()
        losses.append(judging + aiming)
    return torch.stack(losses).sum()


def generator_sliced(generated: Sequence[Tensor]) -> Tensor:
    """Return the loss of a generator against a slicing adversarial discriminator, the sum over its parts.

    Source: BigVSAN (arXiv:2309.02836), section 3.2.
    """
    return torch.stack([F.softplus(1 - g.float()).square().mean() for g in generated]).sum()


def contrastive_loss(sounds: Tensor, texts: Tensor, true: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of sounds -> texts and of texts -> sounds, with several positives each.

    Args:
        sounds: embeddings (b, d)
        texts: embeddings (n, d)
        true: truth (b, n) of each text for each sound
        weights: weights (n,) of the texts among the positives of a sound; rare texts have more weight
        temperature: temperature of the softmax

    Source: InfoNCE as in CLIP (arXiv:2103.00020), section 2.3, with the positives of supervised contrastive learning
    (arXiv:2004.11362), Eq. 2.
    """
    logits = sounds @ texts.T / temperature
    return (_towards(logits, true * weights) + _towards(logits.T, true.T.to(logits.dtype))) / 2


def _towards(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the rows that have a target."""
    total = targets.sum(dim=1, keepdim=True)
    has_target = total.squeeze(1) > 0
    losses = -(logits.log_softmax(dim=1) * targets / total.clamp_min(1e-12)).sum(dim=1)
    return (losses * has_target).sum() / has_target.sum().clamp_min(1)


def geometry_loss(before: Tensor, after: Tensor) -> Tensor:
    """Return the mean squared change of the cosines between vectors of unit norm, (n, d) -> (n, d')."""
    return (before @ before.T - after @ after.T).square().mean()


_TINY = 1e-12


class SlicedConv(nn.Module):
    """A convolution to one channel, of equal length. ``forward``: (b, c, ...) -> (b, 1, ...), or two of them.

    The bias is added to the input, so that the output depends on direction and scale alone.
    """

    def __init__(self, n_in: int, kernel: Sequence[int]) -> None:
        super().__init__()
        plain = nn.Conv1d(n_in, 1, kernel[0]) if len(kernel) == 1 else nn.Conv2d(n_in, 1, (kernel[0], kernel[1]))
        length = plain.weight.detach().norm().clamp_min(_TINY)
        self.weight = nn.Parameter(plain.weight.detach() / length)
        self.scale = nn.Parameter(length.clone())
        self.bias = nn.Parameter(torch.zeros(n_in, *(1 for _ in kernel)))
        self.padding = tuple(size // 2 for size in kernel)

    @property
    def direction(self) -> Tensor:
        """The weight normalised to unit length."""
        return self.weight / self.weight.norm().clamp_min(_TINY)

    def _along(self, direction: Tensor, cells: Tensor) -> Tensor:
        convolve = F.conv1d if len(self.padding) == 1 else F.conv2d
        return convolve(cells, direction, padding=self.padding)

    def forward(self, cells: Tensor, split: bool = False) -> Tensor:
        """Return the logits; with ``split``, those for scale and features, and those for the direction, stacked.

        The first has no gradient for the direction, the second for nothing else.
        """
        shifted = cells + self.bias
        if not split:
            return self._along(self.direction, shifted) * self.scale
        judged = self._along(self.direction.detach(), shifted) * self.scale
        aimed = self._along(self.direction, shifted.detach()) * self.scale.detach()
        return torch.stack((judged, aimed))

    @torch.no_grad()
    def normalise(self) -> None:
        """Normalise the stored weight to unit length, which is due after every optimiser step."""
        self.weight.copy_(self.direction)


def normalise_directions(discriminator: nn.Module) -> None:
    """Normalise the directions of all sliced layers of a discriminator to unit length."""
    for layer in discriminator.modules():
        if isinstance(layer, SlicedConv):
            layer.normalise()


_SLOPE = 0.1
_SLOPE_PATCHGAN = 0.2
_N_GROUPS = 8


def _features(layers: Iterable[nn.Module], cells: Tensor, slope: float) -> list[Tensor]:
    """Return the output of each layer, after a leaky ReLU."""
    features = []
    for layer in layers:
        cells = F.leaky_relu(layer(cells), slope)
        features.append(cells)
    return features


class MelPatchDiscriminator(nn.Module):
    """Patch discriminator of a mel spectrogram. ``forward``: (b, f, m) -> (logits, features)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        layers = [weight_norm(nn.Conv2d(i, o, 4, 2, 1)) for i, o in zip([1, *widths], widths, strict=False)]
        layers.append(weight_norm(nn.Conv2d(widths[-1], 2 * widths[-1], 3, 1, 1)))
        self.layers = nn.ModuleList(layers)
        self.last = weight_norm(nn.Conv2d(2 * widths[-1], 1, 3, 1, 1))

    def forward(self, mel: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits (one map) and the features of each layer."""
        features = _features(self.layers, mel.unsqueeze(1), _SLOPE)
        return [self.last(features[-1])], features


@dataclass(frozen=True)
class PatchGanConfig:
    """Settings of SpecVQGAN's discriminator; the defaults are its own: 2.76 M parameters.

    ``norm`` is ``batch`` as published; ``group`` normalises every clip separately, for small batches.
    """

    width: int = 64  # channels of the first layer
    n_layers: int = ranged(3, "[1, inf]")  # layers that halve the resolution
    norm: str = ranged("batch", ("batch", "group"))

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        if self.width < 1 or (self.norm == "group" and self.width % (_N_GROUPS // 2)):
            least = _N_GROUPS // 2
            raise ParameterError(f"width must be positive, for a group norm a multiple of {least}, got {self.width}")


class PatchGan(nn.Module):
    """Discriminator of patches of 70 x 70 cells. ``forward``: (b, f, m) -> (logits, features).

    An 80 x 848 spectrogram has 8 x 104 logits.
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
        features = _features(self.layers, mel.unsqueeze(1), _SLOPE_PATCHGAN)
        return [self.last(features[-1])], features


class DiscriminatorOutput(NamedTuple):
    """Logits and features of discriminators for a batch of waves."""

    logits: list[Tensor]  # one map per discriminator; with ``split``, a stack of two
    features: list[Tensor]  # of every layer but the last


def _last(n_in: int, kernel: tuple[int, ...], sliced: bool) -> nn.Module:
    if sliced:
        return SlicedConv(n_in, kernel)
    convolution = nn.Conv1d if len(kernel) == 1 else nn.Conv2d
    padding = tuple(size // 2 for size in kernel)
    return weight_norm(convolution(n_in, 1, kernel, padding=padding))  # type: ignore[arg-type]


class Discriminator(nn.Module):
    """Discriminator of a representation of the wave, by convolutions. ``forward``: (b, t) -> (logits, features)."""

    def __init__(self, layers: Sequence[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.last = last

    def view(self, wave: Tensor) -> Tensor:
        """Return the representation of the wave, (b, 1, ...)."""
        return wave.unsqueeze(1)

    def forward(self, wave: Tensor, split: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Return the logits and the features of each layer."""
        features = _features(self.layers, self.view(wave), _SLOPE)
        split_last = (split,) if isinstance(self.last, SlicedConv) else ()
        return self.last(features[-1], *split_last), features


class PeriodDiscriminator(Discriminator):
    """Discriminator of a wave folded by a period."""

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


class ScaleDiscriminator(Discriminator):
    """Discriminator of the wave, or of a downsampled version."""

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


class ResolutionDiscriminator(Discriminator):
    """Discriminator of the STFT magnitudes, framed like a mel spectrogram."""

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
        window = torch.ones(win_length, device=wave.device)  # rectangular, as in BigVGAN's training
        spectrum = torch.stft(padded, n_fft, hop_length, win_length, window, center=False, return_complex=True)
        return torch.view_as_real(spectrum).square().sum(-1).add(1e-8).sqrt().unsqueeze(1)


class LogResolutionDiscriminator(Discriminator):
    """Discriminator of the STFT log magnitudes, halved in frequency by every layer."""

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
class DiscriminatorsConfig:
    """Settings of the discriminators: kinds and widths.

    ``hifigan`` has periods and scales (41.1 M + 29.6 M parameters), ``bigvgan`` periods and resolutions (41.1 M +
    0.28 M), ``light`` periods and resolutions of a small width. Default widths are the published ones, for
    ``light`` our own.
    """

    kind: str = "light"
    periods: tuple[int, ...] = ranged((2, 3, 5, 7, 11), "[1, inf]")
    period_widths: tuple[int, ...] | None = ranged(None, "[1, inf]")
    scale_width: int | None = None  # of the first layer; the last ones have eight times as many channels
    resolution_width: int | None = ranged(None, "[1, inf]")
    sliced: bool = False  # whether the last layers are those of a slicing adversarial network

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        checked_name("kind of discriminators", self.kind, DISCRIMINATORS)
        if self.scale_width is not None and (self.scale_width < 8 or self.scale_width % 8):
            raise ParameterError(f"scale_width must be a positive multiple of 8, got {self.scale_width}")


def _light(config: DiscriminatorsConfig) -> list[Discriminator]:
    widths, width = config.period_widths or (8, 32, 128, 256), config.resolution_width or 16
    periods = [PeriodDiscriminator(period, widths, False, config.sliced) for period in config.periods]
    return [*periods, *(LogResolutionDiscriminator(n_fft, width, config.sliced) for n_fft in (2048, 1024, 512))]


def _published_periods(config: DiscriminatorsConfig) -> list[Discriminator]:
    widths = config.period_widths or (32, 128, 512, 1024)
    return [PeriodDiscriminator(period, widths, True, config.sliced) for period in config.periods]


def _hifigan(config: DiscriminatorsConfig) -> list[Discriminator]:
    scales = [ScaleDiscriminator(halvings, config.scale_width or 128, config.sliced) for halvings in range(3)]
    return [*_published_periods(config), *scales]


def _bigvgan(config: DiscriminatorsConfig) -> list[Discriminator]:
    sizes, width = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)), config.resolution_width or 32
    return [*_published_periods(config), *(ResolutionDiscriminator(size, width, config.sliced) for size in sizes)]


DISCRIMINATORS: dict[str, Callable[[DiscriminatorsConfig], list[Discriminator]]] = {
    "light": _light,
    "hifigan": _hifigan,
    "bigvgan": _bigvgan,
}


class WaveDiscriminator(nn.Module):
    """All discriminators of a wave. ``forward``: (b, t) -> DiscriminatorOutput."""

    def __init__(self, config: DiscriminatorsConfig) -> None:
        super().__init__()
        self.config = config
        self.discriminators = nn.ModuleList(DISCRIMINATORS[config.kind](config))

    def forward(self, wave: Tensor, split: bool = False) -> DiscriminatorOutput:
        """Return the logits of all discriminators and the features of all their layers."""
        output = DiscriminatorOutput([], [])
        for discriminator in self.discriminators:
            logits, features = discriminator(wave, split)
            output.logits.append(logits)
            output.features.extend(features)
        return output
