"""Linear layers for inference: weights in one number type in oneDNN's order, or 8-bit integers.

Packed once, a weight need not be brought into that order at every product, which takes as long as a good part of the
product itself. The result differs from that of the layer it stands for by rounding only.

Weights are rounded once, output by output, symmetrically. Inputs are rounded at every call, each clip over the range
that it has, so that a clip's result does not depend on the others in its batch.
"""

from functools import cache
from math import isfinite, nan
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import DeviceError, ParameterError


def refuse_gradients(rows: Tensor) -> None:
    """Refuse what enters a packed layer if gradients are wanted, which would come out as zero.

    Raises:
        ParameterError: they are.
    """
    if rows.requires_grad and torch.is_grad_enabled():
        raise ParameterError(
            "a packed layer gives no gradients: load the part's state_dict into one that is not packed, and train that"
        )


def refuse_weights(part: nn.Module) -> None:
    """Have a part refuse weights from now on, before any of them has changed it."""
    part.register_load_state_dict_pre_hook(_refuse)


def _refuse(*_: Any) -> None:
    raise ParameterError("a packed part must keep its weights: load others into one that is not packed, and pack that")


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


_WEIGHT_LEVELS, _INPUT_LEVELS = 127, 255
_TINY = 1e-12


@cache
def can_compute_int8() -> bool:
    """Return whether this CPU and this build of torch multiply whole numbers of 8 bits, exactly."""
    if not torch.backends.mkldnn.is_available():
        return False
    rows = torch.full((4, 64), 255.0, device="cpu")
    rows[0, ::2] = 0.0
    layer = cast(nn.Linear, nn.utils.skip_init(nn.Linear, 64, 8, device="cpu")).requires_grad_(False)
    layer.weight.fill_(127.0)  # sums that processors without such instructions cannot hold
    layer.bias.copy_(torch.arange(8.0))
    try:
        found = Int8Linear(layer)(rows)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, F.linear(rows, layer.weight, layer.bias).detach(), rtol=1e-4)


class Int8Linear(nn.Module):
    """A linear layer of whole numbers. ``forward``: (..., n_in) of any float type -> (..., n_out) of ``out_dtype``.

    Clips are the first of three axes. Its state has the names and shapes of the layer's that it was made from.

    Source: Jacob et al., Quantization and training of neural networks (arXiv:1712.05877), sections 2.1 and 2.2.
    """

    bias: Tensor | None

    def __init__(self, linear: nn.Linear, gelu: bool = False, out_dtype: torch.dtype = torch.float32) -> None:
        """Take over a layer.

        Args:
            linear: the layer, on the CPU.
            gelu: whether a smooth rectifier (GELU) follows.
            out_dtype: single precision or bf16.
        """
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.gelu, self.out_dtype = gelu, out_dtype
        weight = linear.weight.detach().float()
        self.scales = weight.abs().amax(dim=1).clamp_min(_TINY) / _WEIGHT_LEVELS
        whole = (weight / self.scales[:, None]).round_().to(torch.int8)
        # The operators that torch itself compiles quantised models to; they have no public name.
        self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self.zeros = torch.zeros(self.out_features, dtype=torch.int64, device="cpu")
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())

    def forward(self, rows: Tensor) -> Tensor:
        """Return the weighted sums of each row; a clip that is not finite has none.

        Raises:
            ParameterError: gradients are wanted.
        """
        refuse_gradients(rows)
        if rows.ndim == 3 and len(rows) > 1:
            return torch.stack([self._clip(clip) for clip in rows])
        return self._clip(rows)

    def _clip(self, rows: Tensor) -> Tensor:
        if not rows.numel():
            return rows.new_zeros(*rows.shape[:-1], self.out_features, dtype=self.out_dtype)
        rows = rows.float()
        lowest, highest = (float(end) for end in rows.aminmax())
        if not isfinite(highest - lowest):
            return rows.new_full((*rows.shape[:-1], self.out_features), nan, dtype=self.out_dtype)
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        step = max((highest - lowest) / _INPUT_LEVELS, _TINY)
        zero = min(_INPUT_LEVELS, round(-lowest / step))
        levels = (rows / step).add_(zero + 0.5).clamp_(0.0, _INPUT_LEVELS).to(torch.uint8)
        after, form = ("gelu", "none") if self.gelu else ("none", "")
        return torch.ops.onednn.qlinear_pointwise(
            levels,
            step,
            zero,
            self.packed,
            self.scales,
            self.zeros,
            self.bias,
            1.0,
            0,
            self.out_dtype,
            after,
            [],
            form,
        )

    def _apply(self, fn: Any, recurse: bool = True) -> "Int8Linear":
        """Stay where the layer is.

        Raises:
            DeviceError: another device.
        """
        device = fn(self.scales).device
        if device.type != "cpu":
            raise DeviceError(f"int8 needs a CPU, the device is {device}: use --precision bf16 or fp32")
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of; torch neither copies nor writes packed weights."""
        return self.__dict__ | {"packed": as_bytes(self._whole_numbers().to(torch.int8))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, packed anew."""
        super().__setstate__(state)
        self.packed = torch.ops.onednn.qlinear_prepack(from_bytes(self.packed, torch.int8), None)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.scales[:, None] * self._whole_numbers()

    def _whole_numbers(self) -> Tensor:
        """Return the rounded weights (n_out, n_in), read from the packed ones by products with unit rows."""
        units = (torch.eye(self.in_features, device="cpu") * _INPUT_LEVELS).to(torch.uint8)
        ones = torch.ones_like(self.scales)
        columns = torch.ops.onednn.qlinear_pointwise(
            units, 1.0 / _INPUT_LEVELS, 0, self.packed, ones, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return columns.T.round().contiguous()
