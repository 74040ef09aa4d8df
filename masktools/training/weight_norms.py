"""Weight normalisation for the time of training: generators are trained with it, and kept without.

A checkpoint must say both: the plain weights, which a bundle is made of, and the two factors of each, with which the
training goes on.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["add_plain_weights", "normalise_weights", "remove_plain_weights"]

_FACTORS = ".parametrizations.weight.original"
_RAW = "raw_"


def normalise_weights(network: nn.Module) -> None:
    """Let the convolutions over time of a network learn the lengths and the directions of their weights apart."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(layer)


def add_plain_weights(state: dict[str, Any], prefix: str = "net.") -> dict[str, Any]:
    """Return a state in which ``prefix`` has plain weights, and ``raw_`` before it what they were made of.

    A network without weight normalisation is left as it is.
    """
    own = {name: value for name, value in state.items() if name.startswith(prefix)}
    if not any(_FACTORS in name for name in own):
        return state
    others = {name: value for name, value in state.items() if name not in own}
    raw = {_RAW + name: value for name, value in own.items()}
    return others | raw | _plain(own)


def remove_plain_weights(state: dict[str, Any], prefix: str = "net.") -> dict[str, Any]:
    """Return the state as the network has it, the inverse of ``add_plain_weights``."""
    raw = {name[len(_RAW) :]: value for name, value in state.items() if name.startswith(_RAW + prefix)}
    if not raw:
        return state
    return {name: value for name, value in state.items() if not name.startswith((prefix, _RAW + prefix))} | raw


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {}
    for name, value in state.items():
        if name.endswith(f"{_FACTORS}0"):
            layer = name.removesuffix(f"{_FACTORS}0")
            directions = state[f"{layer}{_FACTORS}1"]
            lengths = torch.linalg.vector_norm(directions.flatten(1), dim=1).view_as(value)
            plain[f"{layer}.weight"] = directions * (value / lengths)
        elif _FACTORS not in name:
            plain[name] = value
    return plain
