"""Convolutions for inference: weights of a number type, in the order of channels in which they are multiplied."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from masktools.packing.swap import fill_layer

__all__ = ["order_convolutions"]


def order_convolutions(
    part: nn.Module, path: str, dtype: torch.dtype, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Bring the two-dimensional convolutions inside a part to a number type, channels last; norms stay as they are.

    Their input must come in that type then, and is best ordered in the same way.

    Args:
        part: the part.
        path: name of the module inside it whose convolutions are meant.
        dtype: the number type.
        weights: of the whole part by name, read one after the other; None where the part has them.
    """
    for name, layer in part.get_submodule(path).named_modules(prefix=path):
        if isinstance(layer, nn.Conv2d):
            if weights is not None:
                fill_layer(layer, name, weights)
            layer.to(dtype)
            layer.weight.data = layer.weight.detach().contiguous(memory_format=torch.channels_last)
