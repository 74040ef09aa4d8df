"""What training leaves on disk, and how the next stage reads it."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from masktools.conditioning.joint import JointEncoder, JointEncoderConfig
from masktools.configs import from_dict
from masktools.errors import CheckpointError, ParameterError
from masktools.tokenizer import LocalTokenizer, LocalTokenizerConfig

__all__ = ["load_joint_encoder", "load_local_tokenizer", "network_state", "part_description"]


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


def load_joint_encoder(folder: str) -> JointEncoder:
    """Return the text-audio encoder of a folder with conditioner.json and conditioner.safetensors."""
    settings = Path(folder, "conditioner.json")
    if not settings.is_file():
        raise ParameterError(f"no conditioner.json in {folder}: train the text-audio encoder first")
    encoder = JointEncoder(from_dict(JointEncoderConfig, json.loads(settings.read_text(encoding="utf-8"))))
    encoder.load_state_dict(
        {
            k: v.float() if v.is_floating_point() else v
            for k, v in load_file(Path(folder, "conditioner.safetensors")).items()
        }
    )
    return encoder.eval().requires_grad_(False)


def load_local_tokenizer(path: str | os.PathLike[str]) -> LocalTokenizer:
    """Return the frozen local tokenizer of a training checkpoint, at the settings it was trained with."""
    tokenizer = LocalTokenizer(from_dict(LocalTokenizerConfig, part_description(path)["config"]))
    tokenizer.load_state_dict(network_state(path))
    return tokenizer.eval().requires_grad_(False)
