"""Mel spectrograms of recordings of any length, in bounded memory."""

import numpy as np
import torch

from masktools.mel import MelFrontEnd

__all__ = ["long_mel"]

_WINDOW_FRAMES = 4096  # of the front end at a time


@torch.no_grad()
def long_mel(front_end: MelFrontEnd, wave: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the first n_frames (m, f) of the mel spectrogram of a wave (t,), as if it were computed at once.

    What a wave lacks of n_frames is filled up with silence.
    """
    hop, margin = front_end.config.hop_length, front_end.config.margin
    shortest = max(n_frames * hop, margin + 1)
    padded = torch.from_numpy(np.pad(wave, (0, max(0, shortest - len(wave)))))
    step = _WINDOW_FRAMES * hop
    if len(padded) <= 2 * step:
        return _mel(front_end, padded)[:n_frames]
    context = -(-margin // hop) * hop  # whole hops on either side, so that windows meet without a seam
    parts = []
    for start in range(0, n_frames * hop, step):
        first = max(0, start - context)
        piece = padded[first : min(len(padded), start + step + context)]
        if len(piece) > margin:
            skipped = (start - first) // hop
            parts.append(_mel(front_end, piece)[skipped : skipped + _WINDOW_FRAMES])
    return np.concatenate(parts)[:n_frames]


def _mel(front_end: MelFrontEnd, wave: torch.Tensor) -> np.ndarray:
    return front_end(wave[None].to(front_end.window))[0].T.cpu().numpy()
