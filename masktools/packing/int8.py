"""A linear layer of whole numbers: weights of 8 bits per output, inputs of 8 bits per clip, sums in 32 bits.

Weights are rounded once, output by output, symmetrically. Inputs are rounded at every call, each clip over the range
that it has, so that a clip's result does not depend on the others in its batch.
"""

from functools import cache
from math import isfinite, nan
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.errors import DeviceError
from masktools.packing.linear import as_bytes, from_bytes
from masktools.packing.refusals import refuse_gradients

__all__ = ["Int8Linear", "can_compute_int8"]

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
