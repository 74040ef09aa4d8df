"""A short-time transform and back: frames lie one after the other in memory, as the transforms read and write them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.shapes import Wave

__all__ = ["inverse_frames", "overlap_add"]


def inverse_frames(spectrum: Tensor, n_fft: int) -> Tensor:
    """Return the frames (b, n_fft, m) of a complex spectrum (b, 1 + n_fft // 2, m)."""
    return torch.fft.irfft(spectrum.transpose(1, 2), n=n_fft).transpose(1, 2)


def overlap_add(frames: Tensor, window: Tensor, hop_length: int, margin: int) -> Wave:
    """Return the wave (b, m * hop) of windowed frames (b, n_fft, m), least squares (weighted overlap-add).

    ``margin`` samples are trimmed at each side: the reflection that the analysis added.
    """
    n_fft, n_frames = frames.shape[1:]
    length = (n_frames - 1) * hop_length + n_fft
    summed = _sum_shifted(frames.transpose(1, 2) * window, hop_length)
    weight = _sum_shifted(window.square().expand(1, n_frames, -1), hop_length)[0]
    return (summed / weight.clamp_min(1e-8))[:, margin : length - margin]


def _sum_shifted(rows: Tensor, hop_length: int) -> Tensor:
    """Return the sum of rows (b, m, n), each ``hop_length`` after the one before: (b, at least (m - 1) * hop + n)."""
    b, n_rows, length = rows.shape
    n_parts = -(-length // hop_length)
    parts = F.pad(rows, (0, n_parts * hop_length - length)).view(b, n_rows, n_parts, hop_length)
    total = rows.new_zeros(b, n_rows + n_parts - 1, hop_length)
    for number in range(n_parts):
        total[:, number : number + n_rows] += parts[:, :, number]
    return total.flatten(1)
