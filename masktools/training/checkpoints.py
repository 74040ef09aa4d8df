"""What training leaves on disk, and how the next stage reads it."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from masktools.conditioning import ClapEncoder
from masktools.conditioning.joint import JointEncoder, JointEncoderConfig
from masktools.configs import from_dict
from masktools.errors import CheckpointError, ParameterError
from masktools.jsons import parse_json, read_json
from masktools.mel import MelConfig
from masktools.tokenizer import TOKENIZERS, LocalTokenizer, SpecVqgan
from masktools.vocoder import VOCODERS

__all__ = [
    "CLAP",
    "load_conditioner",
    "load_joint_encoder",
    "load_local_tokenizer",
    "load_tokenizer",
    "load_vocoder",
    "network_state",
    "part_description",
]

CLAP = "clap"
_CUT_OFF = "was it written by `masktools train`?"


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    checkpoint = Path(path)
    if not checkpoint.is_file():
        raise CheckpointError(f"no training checkpoint at {checkpoint}")
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{checkpoint} is not a readable training checkpoint: {error}") from error


def _is_part_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is one that `masktools convert` writes, rather than a training checkpoint."""
    return Path(path).suffix == ".safetensors" and Path(path).is_file()


def network_state(path: str | os.PathLike[str], prefix: str = "net.") -> dict[str, Tensor]:
    """Return the weights of the trained network in a Lightning checkpoint: its averaged ones where it kept an average.

    Of a part that `masktools convert` wrote, all its weights.

    Raises:
        CheckpointError: There is no such file, or it holds no network under ``prefix``.
    """
    if _is_part_file(path):
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is not readable ({error}): it was altered, or cut off") from error
    state = _read(path).get("state_dict", {})
    found = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    if not found:
        raise CheckpointError(f"{path} holds no weights under {prefix!r}: {_CUT_OFF}")
    return found


def part_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return which part a training checkpoint holds: its ``part``, ``kind``, ``config`` and ``mel``.

    Files of `masktools convert` say the same.

    Raises:
        CheckpointError: There is no such file, or it does not say.
    """
    if _is_part_file(path):
        try:
            with safe_open(path, framework="pt") as stored:
                return parse_json((stored.metadata() or {})["masktools"])
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} does not say which part it holds: did `masktools convert` write it?"
            ) from error
    description = _read(path).get("masktools")
    if description is None:
        raise CheckpointError(f"{path} does not say which part it holds: {_CUT_OFF}")
    return description


def _of_part(path: str | os.PathLike[str], part: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return the description of a checkpoint that must hold a part of one of some kinds."""
    description = part_description(path)
    if description.get("part") != part or description.get("kind") not in kinds:
        held = f"{description.get('part')} of the kind {description.get('kind')}"
        raise CheckpointError(f"{path} must hold a {part} of the kind {' or '.join(kinds)}, got a {held}")
    return description


def _filled(module: nn.Module, path: str | os.PathLike[str]) -> Any:
    """Return a part with the weights of a checkpoint, frozen."""
    try:
        module.load_state_dict(network_state(path))
    except RuntimeError as error:
        raise CheckpointError(f"{path} must hold the weights of the part that it describes: {error}") from error
    return module.eval().requires_grad_(False)


def load_joint_encoder(folder: str) -> JointEncoder:
    """Return the text-audio encoder of a folder with conditioner.json and conditioner.safetensors."""
    settings = Path(folder, "conditioner.json")
    if not settings.is_file():
        raise ParameterError(f"no conditioner.json in {folder}: train the text-audio encoder first")
    encoder = JointEncoder(from_dict(JointEncoderConfig, read_json(settings)))
    encoder.load_state_dict(
        {
            k: v.float() if v.is_floating_point() else v
            for k, v in load_file(Path(folder, "conditioner.safetensors")).items()
        }
    )
    return encoder.eval().requires_grad_(False)


def load_conditioner(source: str) -> JointEncoder | ClapEncoder:
    """Return the encoder of conditions: of a folder, the text-audio encoder; of a file, or the word "clap", CLAP.

    Raises:
        ParameterError: A folder without an encoder.
        CheckpointError: CLAP's checkpoint is missing, or cannot be read.
    """
    if source == CLAP:
        return ClapEncoder.from_checkpoint()
    if Path(source).is_file():
        return ClapEncoder.from_checkpoint(source)
    return load_joint_encoder(source)


def load_tokenizer(path: str | os.PathLike[str]) -> LocalTokenizer | SpecVqgan:
    """Return the frozen tokenizer of a checkpoint, of whichever kind, at the settings it was trained with.

    Raises:
        CheckpointError: There is no such file, or it holds no tokenizer.
    """
    description = _of_part(path, "tokenizer", tuple(TOKENIZERS))
    config_class, tokenizer_class = TOKENIZERS[description["kind"]]
    return _filled(tokenizer_class(from_dict(config_class, description["config"])), path)


def load_local_tokenizer(path: str | os.PathLike[str]) -> LocalTokenizer:
    """Return the frozen local tokenizer of a training checkpoint, at the settings it was trained with.

    Raises:
        CheckpointError: There is no such file, or it holds no local tokenizer.
    """
    description = _of_part(path, "tokenizer", ("local",))
    config_class, tokenizer_class = TOKENIZERS["local"]
    return _filled(tokenizer_class(from_dict(config_class, description["config"])), path)


def load_vocoder(path: str | os.PathLike[str]) -> nn.Module:
    """Return the frozen vocoder of a checkpoint, of whichever kind, with its mel settings in ``mel_config``.

    Raises:
        CheckpointError: There is no such file, or it holds no vocoder.
    """
    description = _of_part(path, "vocoder", tuple(VOCODERS))
    config_class, vocoder_class = VOCODERS[description["kind"]]
    mel = from_dict(MelConfig, description["mel"])
    return _filled(vocoder_class(from_dict(config_class, description["config"]), mel), path)
