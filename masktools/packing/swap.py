"""Parts whose weights come one by one: a layer is filled, replaced by its packed form, and let go of.

A part may lie on torch's meta device, where it takes no memory; what is not swapped is filled last.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["fill_layer", "fill_rest", "laid_out", "swap_linear"]

_DRAWS = frozenset(
    {
        "constant_",
        "fill_diagonal_",
        "kaiming_uniform_",
        "normal_",
        "ones_",
        "trunc_normal_",
        "uniform_",
        "xavier_uniform_",
        "zero_",
        "zeros_",
    }
)


class _WithoutDraws(TorchFunctionMode):
    """First values are not drawn: there is nothing to hold them, and torch loads its compiler to find out."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def laid_out() -> Iterator[None]:
    """Lay modules that are made inside the block on the meta device, where they take no memory and no time."""
    with torch.device("meta"), _WithoutDraws():
        yield


def swap_linear(
    part: nn.Module,
    path: str,
    make: Callable[[nn.Linear], nn.Module],
    weights: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Replace one linear layer of a part by what is made of it.

    Args:
        part: the part.
        path: name of the layer inside the part, such as ``blocks.0.attn.qkv``.
        make: function of the layer, filled, in single precision.
        weights: of the whole part by name, read when they are asked for; None where the part has them.
        device: where weights that are read go to.
    """
    layer = part.get_submodule(path)
    if not isinstance(layer, nn.Linear):
        return
    if weights is not None:
        fill_layer(layer, path, weights, device)
    parent, _, name = path.rpartition(".")
    setattr(part.get_submodule(parent), name, make(layer))


def fill_rest(part: nn.Module, weights: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
    """Fill what a part still has on the meta device from weights by name, in the types that it was laid out in."""
    for path, module in part.named_modules():
        fill_layer(module, path, weights, device)


def fill_layer(module: nn.Module, path: str, weights: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
    """Fill what a module itself, none inside it, still has on the meta device.

    Args:
        module: the module.
        path: its name inside the part.
        weights: of the whole part by name.
        device: where weights that are read go to.
    """
    prefix = f"{path}." if path else ""
    for name, value in list(module.named_parameters(recurse=False)):
        if value.is_meta:
            own = nn.Parameter(_read(weights, prefix + name, value.dtype, device), requires_grad=False)
            setattr(module, name, own)
    for name, value in list(module.named_buffers(recurse=False)):
        if value.is_meta:
            setattr(module, name, _read(weights, prefix + name, value.dtype, device))


def _read(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    return weights[name].to(device, dtype, copy=True)
