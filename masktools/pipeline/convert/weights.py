"""Foreign checkpoint -> named tensors -> a filled module; no code is run and no name is passed over."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from masktools.core.errors import CheckpointError

_WEIGHT_NORM = (  # how old and new torch name the magnitudes g and the directions v
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
)
_N_LISTED = 8


def read_weights(path: Path, nested_under: str) -> dict[str, Tensor]:
    """Return the named tensors of a file, which may stand in the entry ``nested_under`` of something larger.

    Raises:
        CheckpointError: if the file is missing, damaged, not weights alone, or holds no named tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} must be a checkpoint, but there is no such file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, nested_under)
    if isinstance(content, Mapping) and isinstance(content.get(nested_under), Mapping):
        content = content[nested_under]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        got = f"the entries {_some(content)}" if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(f"{path} must hold named tensors, at its top or in its entry {nested_under!r}, got {got}")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} must be a safetensors file, but it is damaged: {error}") from error


def _read_torch(path: Path, nested_under: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unsafe and damaged files fail in many ways, in several libraries
        raise CheckpointError(
            f"{path} must hold tensors alone, but it is damaged, or it holds Python objects, which can run "
            "foreign code when they are read. If you trust where it comes from, strip it once with "
            f"torch.save({{{nested_under!r}: torch.load(FILE, weights_only=False)[{nested_under!r}]}}, "
            "'stripped.pt') and convert stripped.pt"
        ) from error


def fold_weight_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with every normalised pair (g, v) made one: w = g * v / ||v||.

    The norm spans all axes but the first.

    Raises:
        CheckpointError: if half of a pair is missing, or its two shapes do not belong together.

    Source: Weight normalization (arXiv:1602.07868), equation 2.
    """
    folded = dict(weights)
    for end_g, end_v in _WEIGHT_NORM:
        ends = (end_g, end_v)
        for layer in sorted({name.removesuffix(end) for name in weights for end in ends if name.endswith(end)}):
            magnitude, direction = folded.pop(layer + end_g, None), folded.pop(layer + end_v, None)
            if magnitude is None or direction is None:
                half = end_v if direction is None else end_g
                raise CheckpointError(f"a normalised weight must come as a pair, but {layer}{half} is missing")
            if direction.ndim < 2 or magnitude.shape != (len(direction), *(1 for _ in direction.shape[1:])):
                raise CheckpointError(
                    f"{layer}{end_g} must hold one number for each row of {layer}{end_v}, "
                    f"got shapes {tuple(magnitude.shape)} and {tuple(direction.shape)}"
                )
            direction = direction.float()
            norm = torch.linalg.vector_norm(direction, dim=tuple(range(1, direction.ndim)), keepdim=True)
            folded[f"{layer}.weight"] = magnitude.float() * direction / norm
    return folded


def fill(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a module, of which every name and shape must fit and every number be finite.

    Raises:
        CheckpointError: if they do not; it lists what is missing, unexpected, misshapen or not finite.
    """
    wanted = module.state_dict()
    faults = {
        "missing": wanted.keys() - weights.keys(),
        "unexpected": weights.keys() - wanted.keys(),
        "of another shape": {
            f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in wanted.keys() & weights.keys()
            if weights[name].shape != wanted[name].shape
        },
        "not finite": {name for name, value in weights.items() if not value.isfinite().all()},
    }
    if any(faults.values()):
        listed = "; ".join(f"{fault}: {_some(names)}" for fault, names in faults.items() if names)
        name = type(module).__name__
        raise CheckpointError(f"{path} must hold the weights of {name} and no others, got {listed}")
    module.load_state_dict({name: value.float() for name, value in weights.items()})


def _some(names: Iterable[object]) -> str:
    """Return the first few names as one string, and how many more there are."""
    listed = sorted(str(name) for name in names)
    more = f" and {len(listed) - _N_LISTED} more" if len(listed) > _N_LISTED else ""
    return ", ".join(listed[:_N_LISTED]) + more
