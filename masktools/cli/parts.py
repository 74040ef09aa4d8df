"""A trained part of a model in one file: weights, kind and settings.

Our own files are safetensors, with an entry ``masktools`` in the metadata: JSON with ``part``, ``kind``, ``config`` and
``mel``. Checkpoints of ``masktools train`` have the same in their own form.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from masktools.core.configs import from_dict, parse_json, to_dict
from masktools.core.errors import CheckpointError, ParameterError
from masktools.io import replacing
from masktools.mel import MelConfig
from masktools.pipeline.hub import KINDS, DeferredClap, build_part, note_tokens
from masktools.training.checkpoints import load_joint_encoder, network_state, part_description

CLAP = "clap"
_CLAP_DIM = 512


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a model, its name in a bundle, and the mel settings that it was made for."""

    name: str
    module: Any
    mel: MelConfig | None  # None for conditioners, whose input is waves
    conditioner: Any = None  # conditioner of a transformer's training, if its checkpoint has it


def read_part(source: str) -> Part:
    """Return the part in a training checkpoint, a file of ``masktools convert``, or a text-audio encoder's folder.

    The word ``clap`` stands for the text-audio encoder CLAP, whose weights are not part of a bundle.

    Raises:
        CheckpointError: the file is missing, damaged, or does not state its content.
    """
    path = Path(source)
    if source == CLAP:
        return Part("conditioner", DeferredClap(_CLAP_DIM, torch.device("cpu")), None)
    if path.is_dir():
        return Part("conditioner", load_joint_encoder(source), None)
    if path.suffix == ".safetensors":
        return _built(path, _description(path), load_file(path))
    return _built(path, part_description(path), network_state(path))


def _description(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"no file {path}")
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
        return parse_json(metadata["masktools"])
    except KeyError as error:
        raise CheckpointError(f"{path} does not say which part it holds: did `masktools convert` write it?") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable ({error}): it was altered, or cut off") from error


def _built(path: Path, description: Mapping[str, Any], state: Mapping[str, Tensor]) -> Part:
    try:
        mel = from_dict(MelConfig, description["mel"])
        module = build_part(description["part"], description["kind"], description["config"], mel)
        module.load_state_dict(state)
        note_tokens(module, description.get("tokenizer"))
        words = description.get("conditioner")
        conditioner = None if words is None else build_part("conditioner", words["kind"], words["config"], mel)
    except (KeyError, TypeError, ParameterError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} must hold the weights of the part that it describes: {reason}") from error
    return Part(description["part"], module, mel, conditioner)


def write_part(output: Path, module: nn.Module, mel: MelConfig) -> tuple[str, str]:
    """Write a part as one file, and return part and kind.

    Raises:
        CheckpointError: no bundle can hold such a part.
    """
    for part, kinds in KINDS.items():
        for kind, (_, part_class) in kinds.items():
            if type(module) is part_class:
                config: Any = module.config
                told = {"part": part, "kind": kind, "config": to_dict(config), "mel": to_dict(mel)}
                state = {name: value.detach().contiguous().clone() for name, value in module.state_dict().items()}
                with replacing(output) as unfinished:
                    save_file(state, unfinished, metadata={"masktools": json.dumps(told)})
                return part, kind
    raise CheckpointError(f"a part must be of a kind that bundles know, got {type(module).__name__}")
