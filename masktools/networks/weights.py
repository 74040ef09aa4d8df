"""Foreign checkpoints -> named tensors -> a filled module; no code is run and no name is ignored."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from masktools.core.errors import CheckpointError

_WEIGHT_NORM = (  # names of the magnitudes g and the directions v in old and new versions of torch
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
)
_N_LISTED = 8


def read_weights(path: Path, *nested_under: str) -> dict[str, Tensor]:
    """Read the named tensors in a file, possibly in its entry ``nested_under``.

    Raises:
        CheckpointError: the file is missing, damaged, not weights alone, or holds no named tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} must be a checkpoint, but there is no such file")
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else restricted_load(path, nested_under[0])
    for entry in nested_under:
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        got = f"the entries {_some(content)}" if isinstance(content, Mapping) else type(content).__name__
        entries = " or ".join(map(repr, nested_under))
        raise CheckpointError(f"{path} must hold named tensors, at its top or in its entry {entries}, got {got}")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} must be a safetensors file, but it is damaged: {error}") from error


def restricted_load(path: Path, entry: str = "state_dict", file: BytesIO | None = None, remedy: str = "") -> object:
    """Load a torch checkpoint of tensors, texts and plain numbers; no code in it is executed.

    Args:
        path: path of the file, or its name for messages.
        entry: name of the entry with the weights, for the remedy in the message.
        file: the file's content, if it is open.
        remedy: advice for a file that holds more; by default to strip it.

    Raises:
        CheckpointError: it is damaged, or holds other objects.
    """
    scalar = np.float64(0).__reduce__()[0]  # numpy's reconstruction of scalars; LAION's trainer stored some
    allowed: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype]
    allowed += [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(file or path, map_location="cpu", weights_only=True)
    except Exception as error:  # unsafe and damaged files raise errors of many kinds
        strip = f"torch.save({{{entry!r}: torch.load(FILE, weights_only=False)[{entry!r}]}}, 'stripped.pt')"
        raise CheckpointError(
            f"{path} must hold tensors alone, but it cannot be read without running code: it is damaged, or it holds "
            "Python objects, which can run foreign code when they are read. "
            + (remedy or f"If you trust where it comes from, strip it once with {strip} and give stripped.pt")
        ) from error


def fold_weight_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with every weight-normalised pair (g, v) folded into one: w = g * v / ||v||.

    The norm spans all axes but the first.

    Raises:
        CheckpointError: half of a pair is missing, or its two shapes do not fit each other.

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
    """Load weights into a module; every name and shape must fit and every number be finite.

    Raises:
        CheckpointError: they do not; the message lists the names that are missing, unexpected, misshapen or not finite.
    """
    check_weights(weights, module.state_dict(), path, type(module).__name__)
    module.load_state_dict({name: value.float() for name, value in weights.items()})


def check_weights(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: object, name: str, rebuilt: tuple[str, ...] = ()
) -> None:
    """Raise where weights are not exactly those of a module.

    Args:
        weights: weights to check.
        wanted: state dict of the module.
        path: path of their file, for the message.
        name: name of the module.
        rebuilt: suffixes of names that may be missing, or superfluous: buffers made from sizes.

    Raises:
        CheckpointError: the message lists the names that are missing, unexpected, misshapen or not finite.
    """
    faults = {
        "missing": {one for one in wanted.keys() - weights.keys() if not one.endswith(rebuilt)},
        "unexpected": {one for one in weights.keys() - wanted.keys() if not one.endswith(rebuilt)},
        "of another shape": {
            f"{one} {tuple(weights[one].shape)} instead of {tuple(wanted[one].shape)}"
            for one in wanted.keys() & weights.keys()
            if weights[one].shape != wanted[one].shape
        },
        "not finite": {one for one, value in weights.items() if not value.isfinite().all()},
    }
    if any(faults.values()):
        listed = "; ".join(f"{fault}: {_some(names)}" for fault, names in faults.items() if names)
        raise CheckpointError(f"{path} must hold the weights of {name} and no others, got {listed}")


def _some(names: Iterable[object]) -> str:
    """Return the first few names as a string, and the number of the others."""
    listed = sorted(str(name) for name in names)
    more = f" and {len(listed) - _N_LISTED} more" if len(listed) > _N_LISTED else ""
    return ", ".join(listed[:_N_LISTED]) + more
