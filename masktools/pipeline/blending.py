"""Generated mel spectrograms among known ones, without a step between them."""

import torch
from jaxtyping import Bool
from torch import Tensor

from masktools.shapes import Mel

__all__ = ["keep_known"]


def keep_known(
    generated: Mel, original: Mel, unknown: Bool[Tensor, "b f m"], n_frames: int = 3, n_bins: int = 0
) -> Mel:
    """Return the original where it is known and the generated spectrogram elsewhere, without a step between them.

    What separates the two at the border is carried a little way into the unknown side, fading out linearly over
    ``n_frames`` frames and ``n_bins`` mel bins.
    """
    offset = (original - generated).masked_fill(unknown, 0.0)
    carried = _carried(offset, unknown, 2, n_frames) + _carried(offset, unknown, 1, n_bins)
    return (generated + carried).clamp(-1.0, 1.0).where(unknown, original)


def _carried(offset: Tensor, unknown: Tensor, dim: int, reach: int) -> Tensor:
    """Return in each unknown cell what the nearest known cells along an axis carry to it, from both sides."""
    total = torch.zeros_like(offset)
    for step in (1, -1):
        moving = offset
        edge = [slice(None)] * offset.ndim
        edge[dim] = slice(0, 1) if step == 1 else slice(-1, None)
        for distance in range(1, reach + 1):
            moving = moving.roll(step, dim).where(unknown, 0.0)
            moving[tuple(edge)] = 0.0  # nothing comes in from beyond the edge
            total += moving * (1.0 - distance / (reach + 1.0))
    return total
