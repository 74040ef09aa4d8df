"""Weights of packed layers: read from a file one by one, put in place of those of training, and told apart by a digest.

A packed part may hold weights rounded to fewer bits than the file has. Its state then has those of the file.

A part may lie on torch's meta device, where it takes no memory; what is not swapped is filled last.
"""

import ctypes
import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from masktools.core.errors import BundleError
from masktools.networks.packing.linear import Int8Linear, PackedLinear


def give_back() -> None:
    """Give the system back what is free, where the C library can: on Linux, within milliseconds."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others do not
        if trim is not None:
            trim(0)


_HALF_MAX = torch.finfo(torch.float16).max


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as bundles keep them: in fp16 wherever they fit, on the CPU; whole numbers as they are."""
    return {key: _half(value) for key, value in state.items()}


SCALES = ":scales"
"""With the name of a matrix stored in int8 before it: what each of its rows is multiplied by."""

_WORTH_ROUNDING = 4096  # numbers in a matrix; fewer are no saving


def quantise_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 codes (n, ...) and scales (n,) with codes * scales at most half a scale away from the matrix."""
    flat = matrix.reshape(len(matrix), -1)
    scales = flat.abs().amax(dim=1).clamp_min(1e-8) / 127.0
    return (flat / scales.unsqueeze(1)).round().to(torch.int8).reshape(matrix.shape), scales


def in_int8(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Return weights as a small bundle keeps them: large matrices in int8 with a scale a row, the rest as ``halved``.

    Args:
        state: weights by name.
        names: those that may be rounded; of them matrices and kernels of at least 4,096 numbers are.
    """
    kept = halved(state)
    for name in names:
        value = state[name]
        if name.endswith("weight") and value.ndim > 1 and value.numel() >= _WORTH_ROUNDING:
            codes, kept[name + SCALES] = (part.cpu().contiguous() for part in quantise_rows(value.detach().float()))
            kept[name] = codes
    return kept


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


class StoredWeights(Mapping[str, Tensor]):
    """The tensors of a safetensors file by name, each read from it whenever it is asked for; int8 rows as fp32."""

    def __init__(self, path: Path) -> None:
        """Read the names and shapes.

        Args:
            path: the file; ``SafetensorError`` or ``OSError`` comes of one that is not readable.
        """
        self._path = Path(path).absolute()
        self._version = self._now()
        with safe_open(self._path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        self._scaled = {name.removesuffix(SCALES) for name in shapes if name.endswith(SCALES)}
        self.shapes = {name: shape for name, shape in shapes.items() if not name.endswith(SCALES)}

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor, in the type in which it is stored; in fp32 if that is int8 with a scale a row.

        Raises:
            BundleError: the file is not what it was any more, or not readable.
        """
        if name not in self.shapes:
            raise KeyError(name)
        try:
            if self._now() == self._version:
                with safe_open(self._path, "pt") as file:  # opened anew, so that what was read before is let go of
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
    """Have the state of a packed part hold what the file has in place of what was rounded for computing."""
    part.stored = weights  # type: ignore[assignment]
    part.register_state_dict_post_hook(_put_stored)


def has_lost_weights(part: nn.Module) -> bool:
    """Return whether weights of a packed part were rounded and there is no file that has them as they were."""
    return not hasattr(part, "stored") and any(True for _ in _rounded(part))


def _rounded(part: nn.Module) -> Iterator[str]:
    """Yield the names of the weights that a packed part has rounded to fewer bits."""
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


_DRAWS = frozenset(
    {
        "constant_",
        "fill_diagonal_",
        "kaiming_uniform_",
        "normal_",
        "ones_",
        "trunc_normal_",
        "uniform_",
        "xavier_uniform_",
        "zero_",
        "zeros_",
    }
)


class _WithoutDraws(TorchFunctionMode):
    """First values are not drawn: there is nothing to hold them, and torch loads its compiler to find out."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def laid_out() -> Iterator[None]:
    """Lay modules that are made inside the block on the meta device, where they take no memory and no time."""
    with torch.device("meta"), _WithoutDraws():
        yield


def swap_linear(
    part: nn.Module,
    path: str,
    make: Callable[[nn.Linear], nn.Module],
    weights: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Replace one linear layer of a part by what is made of it.

    Args:
        part: the part.
        path: name of the layer inside the part, such as ``blocks.0.attn.qkv``.
        make: function of the layer, filled, in single precision.
        weights: of the whole part by name, read when they are asked for; None where the part has them.
        device: where weights that are read go to.
    """
    layer = part.get_submodule(path)
    if not isinstance(layer, nn.Linear):
        return
    if weights is not None:
        fill_layer(layer, path, weights, device)
    parent, _, name = path.rpartition(".")
    setattr(part.get_submodule(parent), name, make(layer))


def fill_rest(part: nn.Module, weights: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
    """Fill what a part still has on the meta device from weights by name, in the types that it was laid out in."""
    for path, module in part.named_modules():
        fill_layer(module, path, weights, device)


class KeepsLayers(nn.Module):
    """A part that is so small that it computes with the layers it was made of, in single precision."""

    packed = False  # whether ``pack`` has been called

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Fill the part; its layers stay as they are.

        Args:
            precision: that of the model.
            weights: by name, for a part on the meta device; None for one that has its weights.
            device: where weights that are read go to.
        """
        if weights is not None:
            fill_rest(self, weights, device)
        self.packed = True


def fill_layer(module: nn.Module, path: str, weights: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
    """Fill what a module itself, none inside it, still has on the meta device.

    Args:
        module: the module.
        path: its name inside the part.
        weights: of the whole part by name.
        device: where weights that are read go to.
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
