"""Mel spectrograms as small colour pictures, without a drawing library."""

from collections.abc import Sequence

import torch
from torch import Tensor

from masktools.errors import ParameterError

__all__ = ["mel_picture"]

# From silence to full scale: night, violet, red, orange, light yellow; equal steps in lightness.
_STOPS = ((0, 0, 10), (80, 18, 110), (185, 50, 85), (245, 130, 35), (252, 250, 165))
_BIN_PIXELS = 2  # height of a mel bin
_SEAM_PIXELS = 4  # between spectrograms, white


def mel_picture(mels: Sequence[Tensor]) -> Tensor:
    """Return a picture (3, h, w), uint8, of mel spectrograms (f, m) in [-1, 1], the first on top, low bins below.

    Raises:
        ParameterError: No spectrograms, or such as are not of one shape.
    """
    if not mels or len({mel.shape for mel in mels}) != 1:
        raise ParameterError(f"the spectrograms must be of one shape, got {[tuple(mel.shape) for mel in mels]}")
    stops = torch.tensor(_STOPS, dtype=torch.float32)
    panels = []
    for mel in mels:
        place = (mel.float().cpu().nan_to_num(-1.0).clamp(-1, 1) + 1) / 2 * (len(stops) - 1)
        below = place.floor().long().clamp(max=len(stops) - 2)
        colours = torch.lerp(stops[below], stops[below + 1], (place - below)[..., None])
        panel = colours.flip(0).repeat_interleave(_BIN_PIXELS, 0)
        panels += [torch.full((_SEAM_PIXELS, *panel.shape[1:]), 255.0), panel]
    return torch.cat(panels[1:]).round().to(torch.uint8).permute(2, 0, 1)
