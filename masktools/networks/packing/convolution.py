"""Convolutions for inference: weights of a number type, in the order of channels in which they are multiplied.

Blocks of them compute in place what they need not keep, which takes less memory, and less time to get it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.networks.packing.stored import fill_layer


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
            _order(layer, name, dtype, weights)


def halve_convolutions(part: nn.Module, path: str, weights: Mapping[str, Tensor] | None = None) -> None:
    """Bring those convolutions that lose nothing by it to half precision, in which they can wait to be ordered.

    Args:
        part: the part.
        path: name of the module inside it whose convolutions are meant.
        weights: of the whole part by name, read one after the other; None where the part has them.
    """
    for name, layer in part.get_submodule(path).named_modules(prefix=path):
        if isinstance(layer, nn.Conv2d):
            _order(layer, name, torch.float32, weights)
            if all(torch.equal(value.half().float(), value) for value in layer.parameters()):
                _order(layer, name, torch.float16, None)


def _order(layer: nn.Conv2d, name: str, dtype: torch.dtype, weights: Mapping[str, Tensor] | None) -> None:
    if weights is not None:
        fill_layer(layer, name, weights)
    layer.to(dtype)
    layer.weight.data = layer.weight.detach().contiguous(memory_format=torch.channels_last)


class ResidualInPlace(nn.Module):
    """Two normalised convolutions beside a skip, for inference. ``forward``: (b, n_in, h, w) -> (b, n_out, h, w).

    It has the layers of the block that it is made of, by the same names, and gives what that gives.
    """

    def __init__(self, block: Any) -> None:
        """Take over a block with ``norm1``, ``conv1``, ``norm2``, ``conv2`` and ``nin_shortcut``."""
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.nin_shortcut = block.nin_shortcut

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells, brought to ``n_out`` channels, plus what the two convolutions add."""
        change = self.conv1(F.silu(self.norm1(cells), inplace=True))
        change = self.norm2(change)
        change = self.conv2(F.silu(change, inplace=True))
        return change.add_(self.nin_shortcut(cells))


def through(steps: Iterable[nn.Module], cells: Tensor) -> Tensor:
    """Return what modules make of cells one after the other, each of which is let go of when the next has read it."""
    for step in steps:
        cells = step(cells)
    return cells
