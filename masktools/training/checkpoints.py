"""The network inside a training checkpoint."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masktools.errors import CheckpointError

__all__ = ["network_state", "part_description"]


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    checkpoint = Path(path)
    if not checkpoint.is_file():
        raise CheckpointError(f"no training checkpoint at {checkpoint}")
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{checkpoint} is not a readable training checkpoint: {error}") from error


def network_state(path: str | os.PathLike[str], prefix: str = "net.") -> dict[str, Tensor]:
    """Return the weights of the trained network in a Lightning checkpoint: its averaged ones where it kept an average.

    Raises:
        CheckpointError: There is no such file, or it holds no network under ``prefix``.
    """
    state = _read(path).get("state_dict", {})
    found = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    if not found:
        raise CheckpointError(f"{path} holds no weights under {prefix!r}: was it written by `masktools train`?")
    return found


def part_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return which part a training checkpoint holds: its ``part``, ``kind``, ``config`` and ``mel``.

    Raises:
        CheckpointError: There is no such file, or it does not say.
    """
    description = _read(path).get("masktools")
    if description is None:
        raise CheckpointError(f"{path} does not say which part it holds: was it written by `masktools train`?")
    return description
