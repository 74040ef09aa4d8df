"""A linear layer for inference: its weight in one number type, and on a CPU in the order in which oneDNN reads it.

Packed once, a weight need not be brought into that order at every product, which takes as long as a good part of the
product itself. The result differs from that of the layer it stands for by rounding only.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.packing.refusals import refuse_gradients

__all__ = ["PackedLinear", "can_pack"]

_TYPICAL_ROWS = 266  # slots of a full clip, for which the order is chosen; any number of rows works


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether this build of torch multiplies with packed weights of a number type, and does so rightly."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    rows, weight = torch.eye(3, 4, device="cpu"), torch.arange(8.0, device="cpu").view(2, 4)
    bias = torch.ones(2, device="cpu")
    try:
        packed = _pack(weight.to(dtype))
        result = _multiply(rows.to(dtype), packed, bias.to(dtype), gelu=False).float()
        restored = packed.to_dense().float()
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(result, F.linear(rows, weight, bias)) and torch.equal(restored, weight)


def _pack(weight: Tensor) -> Tensor:
    # The operators behind torch's own freezing of compiled models; they have no public name.
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _TYPICAL_ROWS)


def _multiply(rows: Tensor, packed: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    after, form = ("gelu", "none") if gelu else ("none", "")
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, after, [], form)


def as_bytes(tensor: Tensor) -> np.ndarray:
    """Return the bytes of a matrix, (rows, bytes).

    A tensor would be shared with the process that it is sent to, and must then outlive its sending.
    """
    return tensor.contiguous().view(torch.uint8).numpy()


def from_bytes(matrix: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Return the matrix that ``as_bytes`` was given."""
    return torch.from_numpy(matrix.copy()).view(dtype)


class PackedLinear(nn.Module):
    """A linear layer for inference. ``forward``: (..., n_in) of any float type -> (..., n_out) of ``dtype``.

    Its state has the names and shapes of the layer's that it was made from; values are those of ``dtype``.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, gelu: bool = False) -> None:
        """Take over a layer.

        Args:
            linear: the layer, on the device on which it is to compute.
            dtype: in which it computes.
            gelu: whether a smooth rectifier (GELU) follows.
        """
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype, self.gelu = dtype, gelu
        weight = linear.weight.detach().to(dtype)
        bias = None if linear.bias is None else linear.bias.detach().to(dtype)
        self.register_buffer("weight", None)
        self.register_buffer("bias", bias)
        self._hold(weight)

    def _hold(self, weight: Tensor) -> None:
        """Pack a weight where that is possible, else keep it as it is."""
        self.packed = _pack(weight) if weight.device.type == "cpu" and can_pack(self.dtype) else None
        self.weight = weight if self.packed is None else None

    def forward(self, rows: Tensor) -> Tensor:
        """Return the weighted sums of each row.

        Raises:
            ParameterError: gradients are wanted of a packed weight.
        """
        rows = rows.to(self.dtype)
        if self.packed is not None:
            refuse_gradients(rows)
            if rows.ndim == 3 and len(rows) > 1 and self.dtype != torch.float32:
                # one by one, or what is rounded to few bits would depend on the other clips
                return torch.stack([_multiply(clip, self.packed, self.bias, self.gelu) for clip in rows])
            return _multiply(rows, self.packed, self.bias, self.gelu)
        with torch.autocast(rows.device.type, enabled=False):
            sums = F.linear(rows, self._dense(), self.bias)
        return F.gelu(sums) if self.gelu else sums

    def _apply(self, fn: Any, recurse: bool = True) -> "PackedLinear":
        """Take the layer to another device, where it is no longer packed; it goes on computing in its number type."""

        def moved(value: Tensor) -> Tensor:
            there = fn(value)
            return there if there.dtype == value.dtype else value.to(there.device)

        if self.packed is not None and fn(torch.empty(0, device="cpu")).device.type != "cpu":
            self.packed, self.weight = None, self.packed.to_dense()
        self.weight, self.bias = (None if value is None else moved(value) for value in (self.weight, self.bias))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of; torch neither copies nor writes packed weights."""
        return self.__dict__ | {
            "packed": None,
            "dense": None if self.packed is None else as_bytes(self.packed.to_dense()),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, packed anew where that is possible."""
        dense = state.pop("dense")
        super().__setstate__(state)
        if dense is not None:
            self._hold(from_bytes(dense, self.dtype))

    def _dense(self) -> Tensor:
        if self.weight is not None:
            return self.weight
        if self.packed is None:
            raise RuntimeError("a packed layer has lost its weight")
        return self.packed.to_dense()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self._dense()
