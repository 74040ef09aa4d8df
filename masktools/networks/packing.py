"""Packing: layers that hold their weights in the processor's fastest layout, filled from files one by one.

Weights are in one number type in oneDNN's order, or in 8-bit integers. A weight that is packed once need not be
reordered for every product, which would take a good part of the product's time. The result differs from that of the
original layer by rounding only.

Integer weights are quantised symmetrically, with a scale for each output. Inputs are quantised at every call, with the
range of each clip, so that the result for a clip does not depend on the others in its batch.

A packed part may hold weights rounded to fewer bits than in its file. Its state dict then has those of the file. A part
may be on torch's meta device, where it takes no memory; layers that are not swapped are filled last.
"""

import ctypes
import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from masktools.core.errors import BundleError, DeviceError, ParameterError


def refuse_gradients(rows: Tensor) -> None:
    """Raise where gradients are wanted of a packed layer, which would be zero.

    Raises:
        ParameterError: they are wanted.
    """
    if rows.requires_grad and torch.is_grad_enabled():
        raise ParameterError(
            "a packed layer gives no gradients: load the part's state_dict into one that is not packed, and train that"
        )


def refuse_weights(part: nn.Module) -> None:
    """Make a part refuse to load weights from now on, before any of them has changed it."""
    part.register_load_state_dict_pre_hook(_refuse)


def _refuse(*_: Any) -> None:
    raise ParameterError("a packed part must keep its weights: load others into one that is not packed, and pack that")


_TYPICAL_ROWS = 266  # tokens of a full clip, for which the layout is chosen; any number of rows works


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether this build of torch multiplies with packed weights of a number type correctly."""
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
    # The operators that torch itself uses for frozen compiled models; they have no public name.
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _TYPICAL_ROWS)


def _multiply(rows: Tensor, packed: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    after, form = ("gelu", "none") if gelu else ("none", "")
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, after, [], form)


def as_bytes(tensor: Tensor) -> np.ndarray:
    """Return the bytes of a matrix, (rows, bytes).

    A tensor would be shared with the process that it is sent to, and would have to live until it arrives.
    """
    return tensor.contiguous().view(torch.uint8).numpy()


def from_bytes(matrix: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Return the matrix from the output of ``as_bytes``."""
    return torch.from_numpy(matrix.copy()).view(dtype)


class PackedLinear(nn.Module):
    """A linear layer for inference. ``forward``: (..., n_in) of any float type -> (..., n_out) of ``dtype``.

    Its state dict has the names and shapes of the original layer's; values are in ``dtype``.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, gelu: bool = False) -> None:
        """Convert a layer.

        Args:
            linear: the layer, on the device to compute on.
            dtype: number type of the computation.
            gelu: whether a GELU follows.
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
        """Pack a weight if possible, else keep it unchanged."""
        self.packed = _pack(weight) if weight.device.type == "cpu" and can_pack(self.dtype) else None
        self.weight = weight if self.packed is None else None

    def forward(self, rows: Tensor) -> Tensor:
        """Return the layer's output for each row.

        Raises:
            ParameterError: gradients are wanted of a packed weight.
        """
        rows = rows.to(self.dtype)
        if self.packed is not None:
            refuse_gradients(rows)
            if rows.ndim == 3 and len(rows) > 1 and self.dtype != torch.float32:
                # one by one, or low-precision rounding would depend on the other clips
                return torch.stack([_multiply(clip, self.packed, self.bias, self.gelu) for clip in rows])
            return _multiply(rows, self.packed, self.bias, self.gelu)
        with torch.autocast(rows.device.type, enabled=False):
            sums = F.linear(rows, self._dense(), self.bias)
        return F.gelu(sums) if self.gelu else sums

    def _apply(self, fn: Any, recurse: bool = True) -> "PackedLinear":
        """Move the layer to another device, where it is no longer packed; it keeps its number type."""

        def moved(value: Tensor) -> Tensor:
            there = fn(value)
            return there if there.dtype == value.dtype else value.to(there.device)

        if self.packed is not None and fn(torch.empty(0, device="cpu")).device.type != "cpu":
            self.packed, self.weight = None, self.packed.to_dense()
        self.weight, self.bias = (None if value is None else moved(value) for value in (self.weight, self.bias))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return a picklable state; torch neither copies nor writes packed weights."""
        return self.__dict__ | {
            "packed": None,
            "dense": None if self.packed is None else as_bytes(self.packed.to_dense()),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, packed again where possible."""
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
    """Return whether this CPU and this build of torch multiply 8-bit integers exactly."""
    if not torch.backends.mkldnn.is_available():
        return False
    rows = torch.full((4, 64), 255.0, device="cpu")
    rows[0, ::2] = 0.0
    layer = cast(nn.Linear, nn.utils.skip_init(nn.Linear, 64, 8, device="cpu")).requires_grad_(False)
    layer.weight.fill_(127.0)  # sums that overflow on processors without such instructions
    layer.bias.copy_(torch.arange(8.0))
    try:
        found = Int8Linear(layer)(rows)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, F.linear(rows, layer.weight, layer.bias).detach(), rtol=1e-4)


class Int8Linear(nn.Module):
    """An 8-bit integer linear layer. ``forward``: (..., n_in) of any float type -> (..., n_out) of ``out_dtype``.

    Clips are the first of three axes. Its state dict has the names and shapes of the original layer's.

    Source: Jacob et al., Quantization and training of neural networks (arXiv:1712.05877), sections 2.1 and 2.2.
    """

    bias: Tensor | None

    def __init__(self, linear: nn.Linear, gelu: bool = False, out_dtype: torch.dtype = torch.float32) -> None:
        """Convert a layer.

        Args:
            linear: the layer, on the CPU.
            gelu: whether a GELU follows.
            out_dtype: output type, single precision or bf16.
        """
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.gelu, self.out_dtype = gelu, out_dtype
        weight = linear.weight.detach().float()
        self.scales = weight.abs().amax(dim=1).clamp_min(_TINY) / _WEIGHT_LEVELS
        whole = (weight / self.scales[:, None]).round_().to(torch.int8)
        # The operators that torch itself uses for compiled quantised models; they have no public name.
        self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self.zeros = torch.zeros(self.out_features, dtype=torch.int64, device="cpu")
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())

    def forward(self, rows: Tensor) -> Tensor:
        """Return the layer's output for each row; NaN for a clip that is not finite.

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
        """Stay on the CPU.

        Raises:
            DeviceError: another device.
        """
        device = fn(self.scales).device
        if device.type != "cpu":
            raise DeviceError(f"int8 needs a CPU, the device is {device}: use --precision bf16 or fp32")
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return a picklable state; torch neither copies nor writes packed weights."""
        return self.__dict__ | {"packed": as_bytes(self._whole_numbers().to(torch.int8))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, packed again."""
        super().__setstate__(state)
        self.packed = torch.ops.onednn.qlinear_prepack(from_bytes(self.packed, torch.int8), None)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.scales[:, None] * self._whole_numbers()

    def _whole_numbers(self) -> Tensor:
        """Return the integer weights (n_out, n_in), read from the packed ones by products with unit rows."""
        units = (torch.eye(self.in_features, device="cpu") * _INPUT_LEVELS).to(torch.uint8)
        ones = torch.ones_like(self.scales)
        columns = torch.ops.onednn.qlinear_pointwise(
            units, 1.0 / _INPUT_LEVELS, 0, self.packed, ones, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return columns.T.round().contiguous()


def give_back() -> None:
    """Return free memory to the system, where the C library can: on Linux, within milliseconds."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others do not
        if trim is not None:
            trim(0)


_HALF_MAX = torch.finfo(torch.float16).max


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as bundles store them: on the CPU, in fp16 where they fit; integers unchanged."""
    return {key: _half(value) for key, value in state.items()}


SCALES = ":scales"
"""Suffix of the row scales of a matrix that is stored in int8."""

_WORTH_ROUNDING = 4096  # least size of a matrix that is quantised


def quantise_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 codes (n, ...) and scales (n,) with codes * scales at most half a scale away from the matrix."""
    flat = matrix.reshape(len(matrix), -1)
    scales = flat.abs().amax(dim=1).clamp_min(1e-8) / 127.0
    return (flat / scales.unsqueeze(1)).round().to(torch.int8).reshape(matrix.shape), scales


def restored_rows(codes: Tensor, scales: Tensor) -> Tensor:
    """Return the rows (..., d) of codes (..., d) and scales (...) from ``quantise_rows``, in the type of the scales."""
    return codes.to(scales.dtype) * scales.unsqueeze(-1)


def in_int8(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Return weights as a small bundle stores them: large matrices in int8 with row scales, the rest as ``halved``.

    Args:
        state: weights by name.
        names: weights that may be quantised; of them matrices and kernels of at least 4,096 numbers are.
    """
    kept = halved(state)
    for name in names:
        value = state[name]
        if name.endswith("weight") and value.ndim > 1 and value.numel() >= _WORTH_ROUNDING:
            codes, kept[name + SCALES] = (part.cpu().contiguous() for part in quantise_rows(value.detach().float()))
            kept[name] = codes
    return kept


def weights_digest(state: Mapping[str, Tensor], names: Collection[str] | None = None) -> str:
    """Return the SHA-256, 64 hexadecimal digits, of weights as bundles store them, in the order of their names.

    Args:
        state: weights by name.
        names: names of the weights to hash; all by default.
    """
    digest = hashlib.sha256()
    feed_weights(digest, {name: state[name] for name in state if names is None or name in names})
    return digest.hexdigest()


def feed_weights(digest: Any, state: Mapping[str, Tensor]) -> None:
    """Update a hash with weights as bundles store them, in the order of their names."""
    for name in sorted(state):
        value = _half(state[name])
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(_bytes(value))


def _half(value: Tensor) -> Tensor:
    fits = value.is_floating_point() and (not value.numel() or float(value.abs().max()) <= _HALF_MAX)
    return (value.half() if fits else value).detach().cpu().contiguous().clone()


def _bytes(value: Tensor) -> bytes:
    """Return the numbers of a tensor in little-endian order."""
    array = value.contiguous().view(torch.uint8).numpy() if value.dtype == torch.bfloat16 else value.numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


class StoredWeights(Mapping[str, Tensor]):
    """The tensors of a safetensors file by name, each read on access; int8 rows as fp32."""

    def __init__(self, path: Path) -> None:
        """Read the names and shapes.

        Args:
            path: the file; raises ``SafetensorError`` or ``OSError`` if it is not readable.
        """
        self._path = Path(path).absolute()
        self._version = self._now()
        with safe_open(self._path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        self._scaled = {name.removesuffix(SCALES) for name in shapes if name.endswith(SCALES)}
        self.shapes = {name: shape for name, shape in shapes.items() if not name.endswith(SCALES)}

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor in its stored type; in fp32 if that is int8 with row scales.

        Raises:
            BundleError: the file has changed, or is not readable.
        """
        if name not in self.shapes:
            raise KeyError(name)
        try:
            if self._now() == self._version:
                with safe_open(self._path, "pt") as file:  # opened again for each tensor, so that memory is released
                    value = file.get_tensor(name)
                    if name not in self._scaled:
                        return value
                    scales = file.get_tensor(name + SCALES)
                    return value.float() * scales.reshape(-1, *[1] * (value.ndim - 1))
        except (SafetensorError, OSError) as error:
            place = f"{self._path.parent}: {self._path.name}"
            raise BundleError(f"{place} is not readable ({error}): it was removed, altered, or cut off") from error
        raise BundleError(f"{self._path} was replaced since the model was loaded: load the model anew")

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def _now(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_size, found.st_mtime_ns


def keep_stored(part: nn.Module, weights: StoredWeights) -> None:
    """Make the state dict of a packed part hold the weights of the file instead of the rounded ones."""
    part.stored = weights  # type: ignore[assignment]
    part.register_state_dict_post_hook(_put_stored)


def has_lost_weights(part: nn.Module) -> bool:
    """Return whether weights of a packed part were rounded and no file holds the originals."""
    return not hasattr(part, "stored") and any(True for _ in _rounded(part))


def _rounded(part: nn.Module) -> Iterator[str]:
    """Yield the names of the weights that a packed part has rounded."""
    if not getattr(part, "packed", False):
        return
    for path, layer in part.named_modules():
        if isinstance(layer, Int8Linear):
            yield f"{path}.weight"
        elif isinstance(layer, PackedLinear | nn.Conv2d):
            dtype = layer.dtype if isinstance(layer, PackedLinear) else layer.weight.dtype
            if dtype != torch.float32:
                yield f"{path}.weight"
                if layer.bias is not None:
                    yield f"{path}.bias"


def _put_stored(part: Any, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    for name in _rounded(part):
        state[prefix + name] = part.stored[name].float()


_DRAWS = "constant_ fill_diagonal_ kaiming_uniform_ normal_ ones_ trunc_normal_ uniform_ xavier_uniform_ zero_ zeros_"


class _WithoutDraws(TorchFunctionMode):
    """Skip weight initialisation: meta tensors hold no values, and torch would import its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _DRAWS.split():
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def laid_out() -> Iterator[None]:
    """Create modules inside the block on the meta device, without memory or initialisation."""
    with torch.device("meta"), _WithoutDraws():
        yield


def swap_linear(
    part: nn.Module,
    path: str,
    make: Callable[[nn.Linear], nn.Module],
    weights: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Replace one linear layer of a part.

    Args:
        part: the part.
        path: name of the layer inside the part, such as ``blocks.0.attn.qkv``.
        make: function from the layer, filled, in single precision, to its replacement.
        weights: weights of the whole part by name, read on demand; None where the part has them.
        device: device for weights that are read.
    """
    layer = part.get_submodule(path)
    if not isinstance(layer, nn.Linear):
        return
    if weights is not None:
        fill_layer(layer, path, weights, device)
    parent, _, name = path.rpartition(".")
    setattr(part.get_submodule(parent), name, make(layer))


def fill_rest(part: nn.Module, weights: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
    """Fill the rest of a part on the meta device from weights by name, in the types of its tensors."""
    for path, module in part.named_modules():
        fill_layer(module, path, weights, device)


class KeepsLayers(nn.Module):
    """A part so small that on a CPU it keeps its original layers, in single precision."""

    packed = False  # whether ``pack`` has been called

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Fill the part; its layers are not replaced.

        Args:
            precision: precision of the model.
            weights: weights by name, for a part on the meta device; None for one that has its weights.
            device: device for weights that are read.
        """
        if weights is not None:
            fill_rest(self, weights, device)
        self.packed = next(self.parameters()).device.type == "cpu"


def fill_layer(module: nn.Module, path: str, weights: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
    """Fill the tensors of a module itself, not of its children, that are on the meta device.

    Args:
        module: the module.
        path: its name inside the part.
        weights: weights of the whole part by name.
        device: device for weights that are read.
    """
    prefix = f"{path}." if path else ""
    for name, value in list(module.named_parameters(recurse=False)):
        if value.is_meta:
            own = nn.Parameter(_read(weights, prefix + name, value.dtype, device), requires_grad=False)
            setattr(module, name, own)
    for name, value in list(module.named_buffers(recurse=False)):
        if value.is_meta:
            setattr(module, name, _read(weights, prefix + name, value.dtype, device))


def _read(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    return weights[name].to(device, dtype, copy=True)
