"""Losses of the parts: masked cross-entropy, short-time spectra, and the hinge game with a discriminator."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.shapes import FlatMask, FlatTokens, Logits

__all__ = ["discriminator_hinge", "feature_matching", "generator_hinge", "masked_cross_entropy", "stft_loss"]


def masked_cross_entropy(logits: Logits, tokens: FlatTokens, mask: FlatMask, smoothing: float = 0.1) -> Tensor:
    """Return the mean cross-entropy over all masked slots of the batch; slots that are known count nothing.

    Source: SpecMaskGIT (arXiv:2406.17672), section 3.2.
    """
    return F.cross_entropy(logits[mask].float(), tokens[mask], label_smoothing=smoothing)


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
