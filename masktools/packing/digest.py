"""What tells weights apart: one digest of them, the same before a model is saved and after it is loaded."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["feed_weights", "halved", "weights_digest"]

_HALF_MAX = torch.finfo(torch.float16).max


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as bundles keep them: in fp16 wherever they fit, on the CPU; whole numbers as they are."""
    return {key: _half(value) for key, value in state.items()}


def weights_digest(state: Mapping[str, Tensor], names: Collection[str] | None = None) -> str:
    """Return the SHA-256, 64 hexadecimal digits, of weights as bundles keep them, in the order of their names.

    Args:
        state: weights by name.
        names: those that count; all if left out.
    """
    digest = hashlib.sha256()
    feed_weights(digest, {name: state[name] for name in state if names is None or name in names})
    return digest.hexdigest()


def feed_weights(digest: Any, state: Mapping[str, Tensor]) -> None:
    """Feed a digest of hashlib with weights as bundles keep them, in the order of their names."""
    for name in sorted(state):
        value = _half(state[name])
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(_bytes(value))


def _half(value: Tensor) -> Tensor:
    fits = value.is_floating_point() and (not value.numel() or float(value.abs().max()) <= _HALF_MAX)
    return (value.half() if fits else value).detach().cpu().contiguous().clone()


def _bytes(value: Tensor) -> bytes:
    """Return the numbers of a tensor, the lowest byte of each first."""
    array = value.contiguous().view(torch.uint8).numpy() if value.dtype == torch.bfloat16 else value.numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
