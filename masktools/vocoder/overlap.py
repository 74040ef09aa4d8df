"""Frames of a short-time transform back into one wave."""

import torch.nn.functional as F
from torch import Tensor

from masktools.shapes import Wave

__all__ = ["overlap_add"]


def overlap_add(frames: Tensor, window: Tensor, hop_length: int, margin: int) -> Wave:
    """Return the wave (b, m * hop) of windowed frames (b, n_fft, m), least squares (weighted overlap-add).

    ``margin`` samples are trimmed at each side: the reflection that the analysis added.
    """
    n_fft, n_frames = frames.shape[1:]
    length = (n_frames - 1) * hop_length + n_fft
    shape = {"output_size": (1, length), "kernel_size": (1, n_fft), "stride": (1, hop_length)}
    summed = F.fold(frames * window[:, None], **shape)[:, 0, 0]
    weight = F.fold(window.square()[None, :, None].expand(1, -1, n_frames), **shape)[0, 0, 0]
    return (summed / weight.clamp_min(1e-8))[:, margin : length - margin]
