"""Mel spectrograms -> vectors: a small convolutional network with statistics pooling over time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.errors import ParameterError
from masktools.shapes import Condition, Mel

__all__ = ["AudioTower"]

_STEM = 4  # stride of the stem in both directions
_SILENT = -0.9  # a frame whose loudest mel cell lies below is silent; -75 dB where [-1, 1] spans [-80, 20] dB


class _Block(nn.Module):
    """A depthwise 5 x 5 convolution and a two-layer mixing of channels beside a skip. (b, c, h, w) -> the same."""

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, expansion * channels, 1)
        self.narrow = nn.Conv2d(expansion * channels, channels, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells plus what the block adds."""
        return cells + self.narrow(F.relu(self.widen(self.norm(self.spread(cells)))))


class AudioTower(nn.Module):
    """The audio side of the joint encoder. ``forward``: (b, f, m) in [-1, 1] -> (b, d), any number of frames.

    Frames of silence take no part in the pooling, so that a short sound in a long pause stays what it is.
    """

    def __init__(self, n_mels: int, widths: tuple[int, ...], n_blocks: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.stride = _STEM * 2 ** (len(widths) - 1)
        self.n_mels = n_mels
        self.scale = nn.BatchNorm1d(n_mels)
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 7, stride=_STEM, padding=3, bias=False)]
        layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for width, deeper in zip(widths, (*widths[1:], None), strict=True):
            layers += [_Block(width) for _ in range(n_blocks)]
            if deeper is not None:
                layers += [nn.BatchNorm2d(width), nn.Conv2d(width, deeper, 2, stride=2)]
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * widths[-1] * (n_mels // self.stride), dim)

    def forward(self, mel: Mel) -> Condition:
        """Return one vector a clip, of any length.

        Raises:
            ParameterError: The mel spectrogram has another number of bands.
        """
        if mel.shape[1] != self.n_mels:
            raise ParameterError(f"the audio side reads mel spectrograms of {self.n_mels} bands, got {mel.shape[1]}")
        mel = F.pad(mel, (0, -mel.shape[-1] % self.stride), value=-1.0)  # silence, which the pooling leaves out
        stem = self.body[0](self.scale(mel).unsqueeze(1)).contiguous(memory_format=torch.channels_last)  # faster so
        maps = self.body[1:](stem).flatten(1, 2)  # (b, channels * rows, columns)
        columns = mel.amax(dim=1).unflatten(-1, (-1, self.stride)).amax(dim=-1) > _SILENT  # (b, columns)
        weights = torch.where(columns.any(dim=-1, keepdim=True), columns, True).to(maps.dtype).unsqueeze(1)
        total = weights.sum(dim=-1)
        mean = (maps * weights).sum(dim=-1) / total
        variance = ((maps - mean.unsqueeze(-1)).square() * weights).sum(dim=-1) / total
        return self.head(self.drop(torch.cat([mean, (variance + 1e-5).sqrt()], dim=-1)))
