"""Third-octave levels of mel spectrograms: what the ear, and most measures of a restoration, compare first.

An L1 distance of mel cells leaves the lowest five bands, which hold six thirds of an octave, as much weight as the
five highest, which hold one; and it is least where a cell has its median level, which is below its mean power.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.mel import MelConfig, mel_edges_hz, mel_to_db

__all__ = ["ThirdOctaveLevels", "level_loss"]

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
