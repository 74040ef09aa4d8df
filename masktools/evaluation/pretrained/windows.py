"""Windows of a log-mel spectrogram, as embedders hear a recording: one second, four times a second."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["HOP_S", "WINDOW_S", "by_window"]

WINDOW_S, HOP_S = 1.0, 0.25
_BATCH = 32


@torch.inference_mode()
def by_window(frames: Tensor, n_window: int, n_hop: int, network: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Return what a network makes of each window of frames (m, f), m at least ``n_window``: vectors (n, d), float32."""
    windows = frames.unfold(0, n_window, n_hop).transpose(1, 2)
    return np.concatenate([network(part).float().cpu().numpy() for part in windows.split(_BATCH)])
