"""Weights in a file, read one by one, so that no more than one of them is in memory beside what is made of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

__all__ = ["StoredWeights"]


class StoredWeights(Mapping[str, Tensor]):
    """The tensors of a safetensors file by name, each read from it whenever it is asked for."""

    def __init__(self, path: Path) -> None:
        """Read the names and shapes.

        Args:
            path: the file; ``SafetensorError`` or ``OSError`` comes of one that is not readable.
        """
        self._path = path
        with safe_open(path, "pt") as file:
            self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor, in the type in which it is stored."""
        with safe_open(self._path, "pt") as file:  # opened anew, so that what was read before is let go of
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)
