"""Weights in a file, read one by one, so that no more than one of them is in memory beside what is made of it.

A packed part may hold weights rounded to fewer bits than the file has. Its state then has those of the file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from masktools.errors import BundleError
from masktools.packing.int8 import Int8Linear
from masktools.packing.linear import PackedLinear

__all__ = ["StoredWeights", "has_lost_weights", "keep_stored"]


class StoredWeights(Mapping[str, Tensor]):
    """The tensors of a safetensors file by name, each read from it whenever it is asked for."""

    def __init__(self, path: Path) -> None:
        """Read the names and shapes.

        Args:
            path: the file; ``SafetensorError`` or ``OSError`` comes of one that is not readable.
        """
        self._path = Path(path).absolute()
        self._version = self._now()
        with safe_open(self._path, "pt") as file:
            self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor, in the type in which it is stored.

        Raises:
            BundleError: the file is not what it was any more, or not readable.
        """
        if name not in self.shapes:
            raise KeyError(name)
        try:
            if self._now() == self._version:
                with safe_open(self._path, "pt") as file:  # opened anew, so that what was read before is let go of
                    return file.get_tensor(name)
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
