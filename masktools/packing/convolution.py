"""Convolutions for inference: weights of a number type, in the order of channels in which they are multiplied."""

import torch
from torch import nn

__all__ = ["order_convolutions"]


def order_convolutions(part: nn.Module, dtype: torch.dtype) -> None:
    """Bring the two-dimensional convolutions of a part to a number type, channels last; norms stay as they are.

    Its input must come in that type then, and is best ordered in the same way.
    """
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d):
            layer.to(dtype)
            layer.weight.data = layer.weight.detach().contiguous(memory_format=torch.channels_last)
