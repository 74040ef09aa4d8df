"""Vectors that were stored before: read recording by recording, whatever the format."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from masktools.errors import ParameterError
from masktools.extraction.stores.meta import Meta
from masktools.extraction.stores.table import Layout

__all__ = ["Stored", "missing", "not_ours"]


class Stored(ABC):
    """A complete file or folder of vectors; a ``Table``."""

    path: Path
    meta: Meta
    layout: Layout
    durations_s: np.ndarray
    n_moments: np.ndarray
    n_columns: np.ndarray

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""

    @abstractmethod
    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""

    def counts(self, name: str) -> np.ndarray:
        """Return how many entries of an array each recording has."""
        if name == "clips":
            return np.ones(len(self.durations_s), np.int64)
        return self.n_columns if name == "tokens" else self.n_moments


def not_ours(path: Path) -> ParameterError:
    """Return the error for what masktools embed has not written."""
    return ParameterError(f"{path} must be what masktools embed has written: it is damaged, or something else")


def missing(format: str, package: str, extra: str) -> ParameterError:
    """Return the error for a package that is not installed."""
    return ParameterError(f'{format} files need the package {package}: pip install "masktools[{extra}]"')
