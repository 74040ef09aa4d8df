"""Losses of the parts.

An L1 distance of mel cells leaves the lowest five bands, which hold six thirds of an octave, as much weight as the
five highest, which hold one; and it is least where a cell has its median level, which is below its mean power.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.shapes import FlatMask, FlatTokens, Logits
from masktools.mel import MelConfig, mel_edges_hz, mel_to_db

_LOWEST_HZ = 50.0
_QUIET_DB = -60.0  # of the mel spectrogram: what lies below counts less and less
_N_FRAMES, _HOP = 8, 4  # pooled together: 93 ms at the usual 22,050 Hz and 256 samples
_N_POINTS = 16  # of a band, at which the mel spectrogram is interpolated


class ThirdOctaveLevels(nn.Module):
    """Levels of thirds of an octave from 50 Hz on, over 93 ms, in dB. ``forward``: (b, f, m) -> (b, k, m // 4 - 1)."""

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
        """Return the levels of mel spectrograms in [-1, 1], with a floor that they approach softly."""
        with torch.autocast(mel.device.type, enabled=False):
            power = (mel_to_db(mel.float(), self.mel) * (np.log(10.0) / 10.0)).exp()
            pooled = F.avg_pool1d(self.weights @ power, _N_FRAMES, _HOP)
            return 10.0 * (pooled + 10.0 ** (_QUIET_DB / 10.0)).log10()


def level_loss(estimate: Tensor, reference: Tensor, levels: ThirdOctaveLevels) -> Tensor:
    """Return the root mean square difference of levels, in the unit of the mel, the mean over clips (b, f, m)."""
    span = levels.mel.db_max - levels.mel.db_min
    difference = (levels(estimate) - levels(reference)) * (2.0 / span)
    return (difference.square().mean(dim=(1, 2)) + 1e-6).sqrt().mean()


def masked_cross_entropy(logits: Logits, tokens: FlatTokens, mask: FlatMask, smoothing: float = 0.1) -> Tensor:
    """Return the mean cross-entropy over all masked slots of the batch; slots that are known count nothing.

    Source: SpecMaskGIT (arXiv:2406.17672), section 3.2.
    """
    return F.cross_entropy(logits[mask].float(), tokens[mask], label_smoothing=smoothing)


def codebook_loss(latents: Tensor, entries: Tensor, commitment: float = 0.25, legacy: bool = False) -> Tensor:
    """Return what holds latents and their codebook entries, of one shape, together: each is drawn to the other.

    The commitment, which draws the latents, is to be the weaker of the two, and ``commitment`` is its weight.

    Differs: with ``legacy`` that weight is on the other term, as SpecVQGAN's code had it when it was trained.

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
    """Return the loss of a slicing adversarial discriminator, the sum over its parts.

    Each logit is two stacked ones: the first moves everything but the direction of the last layer, by softened least
    squares; the second moves the direction alone, to where real and generated are farthest apart.

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
        true: which text is true of which sound, (b, n)
        weights: weights (n,) of the texts among the positives of a sound; a rare text says more than a common one
        temperature: temperature of the softmax

    Source: InfoNCE as in CLIP (arXiv:2103.00020), section 2.3, with the positives of supervised contrastive learning
    (arXiv:2004.11362), Eq. 2.
    """
    logits = sounds @ texts.T / temperature
    return (_towards(logits, true * weights) + _towards(logits.T, true.T.to(logits.dtype))) / 2


def _towards(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the rows that have a target at all."""
    total = targets.sum(dim=1, keepdim=True)
    has_target = total.squeeze(1) > 0
    losses = -(logits.log_softmax(dim=1) * targets / total.clamp_min(1e-12)).sum(dim=1)
    return (losses * has_target).sum() / has_target.sum().clamp_min(1)


def geometry_loss(before: Tensor, after: Tensor) -> Tensor:
    """Return the mean squared change of the cosines between vectors of unit norm, (n, d) -> (n, d')."""
    return (before @ before.T - after @ after.T).square().mean()
