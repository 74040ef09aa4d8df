"""Bring a rendered wave closer to the mel spectrogram it was rendered from, keeping its phases and fine structure.

A vocoder that is small, or that meets a mel unlike those it was trained on, misses the level of some bands, often
the same ones all the time. Each round measures the mel of the wave, and weighs every bin of its spectrum by what the
bands around it lack or have too much of. No weights are involved.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd, mel_to_log, power_of
from masktools.shapes import Mel, Wave
from masktools.vocoder.overlap import inverse_frames, overlap_add

__all__ = ["MelConsistency"]

_LARGEST_STEP = 2.0  # nepers, the most that a round changes a bin


class MelConsistency(nn.Module):
    """Wave of which the mel is nearer to a given one. ``forward``: (b, t), (b, f, m) in [-1, 1] -> (b, t)."""

    shares: Tensor

    def __init__(self, mel_config: MelConfig, n_rounds: int) -> None:
        super().__init__()
        if n_rounds < 0:
            raise ParameterError(f"n_rounds must not be negative, got {n_rounds}")
        self.n_rounds = n_rounds
        self.front_end = MelFrontEnd(mel_config)
        weights = self.front_end.filterbank / self.front_end.filterbank.sum(dim=1, keepdim=True).clamp_min(1e-12)
        shares = weights / weights.sum(dim=0, keepdim=True).clamp_min(1e-12)  # of each band in what a bin is given
        self.register_buffer("shares", shares.T.contiguous(), persistent=False)  # (bins, f)

    def forward(self, wave: Wave, mel: Mel) -> Wave:
        """Return the wave after ``n_rounds`` rounds; one too short to be framed comes back as it is."""
        front_end, config = self.front_end, self.front_end.config
        if wave.shape[-1] <= config.margin:
            return wave
        wanted = mel_to_log(mel.float(), config)
        for _ in range(self.n_rounds):
            padded = F.pad(wave, (config.margin, config.margin), mode="reflect")
            sizes = (config.n_fft, config.hop_length, config.win_length)
            spectrum = torch.stft(padded, *sizes, window=front_end.window, center=False, return_complex=True)
            found = (front_end.filterbank @ power_of(spectrum).sqrt()).clamp_min(config.floor).log()
            gain = (self.shares @ (wanted - found).clamp(-_LARGEST_STEP, _LARGEST_STEP)).exp()
            frames = inverse_frames(spectrum * gain, config.n_fft)
            wave = overlap_add(frames, front_end.window, config.hop_length, config.margin)
        return wave
