"""Seconds and hertz <-> rows and columns of tokens, and masks on that grid.

A token covers a patch of the mel spectrogram: ``patch_mels`` bins (a row, 0 the lowest) by ``patch_frames`` frames
(a column, 0 the earliest). In a mask True means: to be predicted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor, isfinite
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from masktools.core.arguments import check_counts, check_least
from masktools.core.errors import ParameterError
from masktools.core.gaps import GapLike
from masktools.mel.spectrogram import MelConfig, mel_edges_hz

__all__ = ["ColumnGrid", "Columns", "TokenGrid", "band_mask", "gap_mask"]

_ROUNDING = 1e-3  # samples; times in seconds that were computed from samples are off by less


@runtime_checkable
class Columns(Protocol):
    """Where the token columns of a model lie in time; what its rows are, it does not say."""

    @property
    def n_rows(self) -> int:
        """Tokens of a column."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def column_samples(self) -> int:
        """Samples of one column."""
        ...

    @property
    def column_s(self) -> float:
        """Seconds of one column."""
        ...

    def n_columns(self, n_samples: int) -> int:
        """Return how many columns cover a wave, the last one perhaps in part."""
        ...


@dataclass(frozen=True)
class ColumnGrid:
    """Columns of tokens whose rows are no bands of frequency, such as token streams."""

    n_rows: int
    column_samples: int
    sample_rate: int  # Hz

    @property
    def column_s(self) -> float:
        """Seconds of one column."""
        return self.column_samples / self.sample_rate

    def n_columns(self, n_samples: int) -> int:
        """Return how many columns cover a wave, the last one perhaps in part.

        >>> ColumnGrid(4, 640, 32_000).n_columns(641)
        2
        """
        return -(-n_samples // self.column_samples)


@dataclass(frozen=True)
class TokenGrid:
    """Where the tokens of a model lie in time and frequency.

    Row r spans from the lower corner of its lowest mel bin to that of the next row's; the top row ends at the mel
    spectrogram's upper limit. Columns start at time 0 and go on as long as the audio does.
    """

    n_rows: int
    patch_mels: int = 16
    patch_frames: int = 16
    hop_length: int = 256  # samples
    sample_rate: int = 22_050  # Hz
    row_edges_hz: tuple[float, ...] = field(kw_only=True)  # n_rows + 1, rising

    def __post_init__(self) -> None:
        """Check every range."""
        check_counts(self, "n_rows", "patch_mels", "patch_frames", "hop_length", "sample_rate")
        edges = self.row_edges_hz
        if len(edges) != self.n_rows + 1:
            raise ParameterError(f"row_edges_hz must have {self.n_rows + 1} edges, got {len(edges)}")
        if edges[0] < 0 or any(low >= high for low, high in pairwise(edges)):
            raise ParameterError(f"row_edges_hz must rise from 0 Hz or more, got {edges}")

    @classmethod
    def from_mel(cls, config: MelConfig, patch: int = 16) -> "TokenGrid":
        """Return the grid of square patches over a mel spectrogram.

        Raises:
            ParameterError: the mel bins do not fill whole rows.
        """
        if patch < 1 or config.n_mels % patch:
            raise ParameterError(f"n_mels must be a multiple of the patch, got {config.n_mels} and {patch}")
        corners_hz = mel_edges_hz(config)[patch : config.n_mels : patch]
        row_edges_hz = (float(config.f_min), *map(float, corners_hz), float(config.f_max))
        n_rows = config.n_mels // patch
        return cls(n_rows, patch, patch, config.hop_length, config.sample_rate, row_edges_hz=row_edges_hz)

    @property
    def column_samples(self) -> int:
        """Samples of one column."""
        return self.patch_frames * self.hop_length

    @property
    def column_s(self) -> float:
        """Seconds of one column."""
        return self.column_samples / self.sample_rate

    def n_columns(self, n_samples: int) -> int:
        """Return how many columns cover a wave, the last one perhaps in part.

        Raises:
            ParameterError: a negative length.
        """
        if n_samples < 0:
            raise ParameterError(f"n_samples must not be negative, got {n_samples}")
        return -(-n_samples // self.column_samples)

    def columns(self, start_s: float, end_s: float) -> range:
        """Return the columns that an interval of time touches; they cover it.

        Raises:
            ParameterError: an interval that is empty, or starts before 0.
        """
        start, stop = self.samples(start_s, end_s)
        return range(start // self.column_samples, self.n_columns(stop))

    def samples(self, start_s: float, end_s: float) -> tuple[int, int]:
        """Return the samples [start, stop) at the grid's rate that cover an interval of time.

        Raises:
            ParameterError: an interval that is empty, or starts before 0.
        """
        if not (0 <= start_s < end_s and isfinite(end_s)):
            raise ParameterError(f"0 <= start_s < end_s must hold, got {start_s:g} s and {end_s:g} s")
        start = floor(start_s * self.sample_rate + _ROUNDING)
        return start, max(start + 1, ceil(end_s * self.sample_rate - _ROUNDING))

    def rows(self, low_hz: float, high_hz: float) -> range:
        """Return the rows that a band touches; they cover it.

        Raises:
            ParameterError: a band that is empty, or outside the rows.
        """
        bottom, top = self.row_edges_hz[0], self.row_edges_hz[-1]
        if not bottom <= low_hz < high_hz <= top:
            raise ParameterError(
                f"{bottom:g} <= low_hz < high_hz <= {top:g} Hz must hold, got {low_hz:g} and {high_hz:g} Hz"
            )
        return range(bisect_right(self.row_edges_hz, low_hz) - 1, bisect_left(self.row_edges_hz, high_hz))


def gap_mask(grid: TokenGrid, n_cols: int, gaps: Iterable[GapLike]) -> Bool[Tensor, "r w"]:
    """Return the tokens whose columns gaps in time touch, over all rows; gaps are (start, end) in seconds.

    Raises:
        ParameterError: a gap that is empty or outside the columns.
    """
    check_least(1, n_cols=n_cols)
    mask = torch.zeros(grid.n_rows, n_cols, dtype=torch.bool)
    for start_s, end_s, *_ in gaps:
        columns = grid.columns(start_s, end_s)
        if columns.stop > n_cols:
            raise ParameterError(
                f"a gap must end within the {n_cols} columns, at {n_cols * grid.column_s:.6g} s or before, "
                f"got {end_s:g} s"
            )
        mask[:, columns.start : columns.stop] = True
    return mask


def band_mask(grid: TokenGrid, n_cols: int, low_hz: float, high_hz: float) -> Bool[Tensor, "r w"]:
    """Return the tokens whose rows a band of frequencies touches, over all columns.

    Raises:
        ParameterError: a band that is empty or outside the rows.
    """
    check_least(1, n_cols=n_cols)
    rows = grid.rows(low_hz, high_hz)
    mask = torch.zeros(grid.n_rows, n_cols, dtype=torch.bool)
    mask[rows.start : rows.stop] = True
    return mask
