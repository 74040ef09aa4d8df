"""Seconds and hertz <-> rows and columns of tokens, and masks on that grid.

A token covers a patch of the mel spectrogram: ``patch_mels`` bins (a row, 0 the lowest) by ``patch_frames`` frames
(a column, 0 the earliest). In a mask True means: to be predicted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor, isfinite
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from masktools.arguments import check_counts
from masktools.errors import ParameterError, unknown_name
from masktools.gaps import GapLike
from masktools.mel import MelConfig, mel_edges_hz

__all__ = ["ColumnGrid", "Columns", "GridMask", "Rule", "TokenGrid"]

Rule = Literal["any", "all"] | float
"""Which tokens an interval masks: those it touches, those it covers, or those it covers to at least that share."""

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

    def seconds(self, columns: range) -> tuple[float, float]:
        """Return the interval of time that columns span."""
        return columns.start * self.column_s, columns.stop * self.column_s

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

    def hertz(self, rows: range) -> tuple[float, float]:
        """Return the band that rows span.

        Raises:
            ParameterError: rows that the grid does not have.
        """
        if not 0 <= rows.start < rows.stop <= self.n_rows:
            raise ParameterError(f"rows must lie in [0, {self.n_rows}), got [{rows.start}, {rows.stop})")
        return self.row_edges_hz[rows.start], self.row_edges_hz[rows.stop]


class GridMask:
    """Which tokens of a grid are to be predicted: an immutable set of cells with the algebra of sets.

    ``a & b``, ``a | b`` and ``~a`` are intersection, union and complement; ``str(mask)`` draws it, the highest row
    on top and ``#`` where a token is masked.
    """

    def __init__(self, cells: Bool[Tensor, "r w"]) -> None:
        if cells.dtype != torch.bool or cells.ndim != 2:
            raise ParameterError(f"cells must be bool (rows, columns), got {cells.dtype} {tuple(cells.shape)}")
        self._cells = cells.detach().cpu().clone()

    @classmethod
    def full(cls, grid: TokenGrid, n_cols: int) -> "GridMask":
        """Return the mask of everything."""
        return cls(torch.ones(grid.n_rows, _checked(n_cols), dtype=torch.bool))

    @classmethod
    def empty(cls, grid: TokenGrid, n_cols: int) -> "GridMask":
        """Return the mask of nothing."""
        return cls(torch.zeros(grid.n_rows, _checked(n_cols), dtype=torch.bool))

    @classmethod
    def gaps(cls, grid: TokenGrid, n_cols: int, gaps: Iterable[GapLike], rule: Rule = "any") -> "GridMask":
        """Return the mask of gaps in time, given as (start, end) in seconds, over all rows.

        Raises:
            ParameterError: a gap that is empty or outside the columns, or an unknown rule.
        """
        share = _time_share(grid, n_cols, gaps)
        return cls(_chosen(share.expand(grid.n_rows, -1), rule))

    @classmethod
    def band(cls, grid: TokenGrid, n_cols: int, low_hz: float, high_hz: float, rule: Rule = "any") -> "GridMask":
        """Return the mask of a band of frequencies over all columns.

        Raises:
            ParameterError: a band that is empty or outside the rows, or an unknown rule.
        """
        share = _frequency_share(grid, low_hz, high_hz)
        return cls(_chosen(share[:, None].expand(-1, _checked(n_cols)), rule))

    @classmethod
    def rectangle(
        cls,
        grid: TokenGrid,
        n_cols: int,
        start_s: float,
        end_s: float,
        low_hz: float,
        high_hz: float,
        rule: Rule = "any",
    ) -> "GridMask":
        """Return the mask of a band of frequencies during an interval of time; shares are of seconds times hertz.

        Raises:
            ParameterError: an interval or a band that is empty or outside the grid, or an unknown rule.
        """
        time_share = _time_share(grid, n_cols, [(start_s, end_s)])
        return cls(_chosen(_frequency_share(grid, low_hz, high_hz)[:, None] * time_share, rule))

    @property
    def tensor(self) -> Bool[Tensor, "r w"]:
        """The cells, True = to be predicted, as a tensor of their own on the CPU."""
        return self._cells.clone()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._cells.shape[0]

    @property
    def n_cols(self) -> int:
        """Number of columns."""
        return self._cells.shape[1]

    @property
    def count(self) -> int:
        """Number of masked tokens."""
        return int(self._cells.sum())

    def any(self) -> bool:
        """Tell whether anything is masked."""
        return bool(self._cells.any())

    def dilate(self, rows: int, cols: int) -> "GridMask":
        """Return the mask grown by so many rows up and down, and so many columns to the left and right.

        Raises:
            ParameterError: a negative number.
        """
        if rows < 0 or cols < 0:
            raise ParameterError(f"rows and cols must not be negative, got {rows} and {cols}")
        size = (2 * rows + 1, 2 * cols + 1)
        grown = F.max_pool2d(self._cells[None].float(), size, stride=1, padding=(rows, cols))
        return GridMask(grown[0] > 0)

    def __and__(self, other: object) -> "GridMask":
        if not isinstance(other, GridMask):
            return NotImplemented
        return GridMask(self._cells & self._like(other))

    def __or__(self, other: object) -> "GridMask":
        if not isinstance(other, GridMask):
            return NotImplemented
        return GridMask(self._cells | self._like(other))

    def __invert__(self) -> "GridMask":
        return GridMask(~self._cells)

    def __eq__(self, other: object) -> bool:
        return torch.equal(self._cells, other._cells) if isinstance(other, GridMask) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._cells.shape, self._cells.numpy().tobytes()))

    def __repr__(self) -> str:
        return f"GridMask({self.n_rows} rows, {self.n_cols} columns, {self.count} masked)"

    def __str__(self) -> str:
        lines = ["".join("#" if cell else "." for cell in row) for row in self._cells.tolist()]
        return "\n".join(f"row {row} {line}" for row, line in reversed(list(enumerate(lines))))

    def _like(self, other: "GridMask") -> Tensor:
        if other._cells.shape != self._cells.shape:
            raise ParameterError(
                f"masks must be of one grid, got {self.n_rows} x {self.n_cols} and {other.n_rows} x {other.n_cols}"
            )
        return other._cells


def _checked(n_cols: int) -> int:
    if n_cols < 1:
        raise ParameterError(f"n_cols must be at least 1, got {n_cols}")
    return n_cols


def _time_share(grid: TokenGrid, n_cols: int, gaps: Iterable[GapLike]) -> Tensor:
    """Return what share of each column the gaps cover, (w,)."""
    n_samples = _checked(n_cols) * grid.column_samples
    stretches = []
    for start_s, end_s, *_ in gaps:
        stretches.append(grid.samples(start_s, end_s))
        if stretches[-1][1] > n_samples:
            raise ParameterError(
                f"a gap must end within the {n_cols} columns, at {n_samples / grid.sample_rate:.6g} s or before, "
                f"got {end_s:g} s"
            )
    disjoint: list[tuple[int, int]] = []
    for start, stop in sorted(stretches):
        start = max(start, disjoint[-1][1]) if disjoint else start
        if start < stop:
            disjoint.append((start, stop))
    return _share(np.arange(n_cols + 1) * grid.column_samples, disjoint)


def _frequency_share(grid: TokenGrid, low_hz: float, high_hz: float) -> Tensor:
    """Return what share of each row the band covers, (r,)."""
    grid.rows(low_hz, high_hz)
    return _share(np.array(grid.row_edges_hz), [(low_hz, high_hz)])


def _share(edges: np.ndarray, intervals: Sequence[tuple[float, float]]) -> Tensor:
    """Return what share of each cell, between one edge and the next, disjoint intervals cover."""
    covered = np.zeros(len(edges) - 1)
    for start, stop in intervals:
        covered += np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, None)
    return torch.from_numpy(covered / np.diff(edges))


def _chosen(share: Tensor, rule: Rule) -> Tensor:
    """Return which cells a rule masks, by the share of each that is touched."""
    if rule == "any":
        return share > 0
    if rule == "all":
        return share >= 1 - 1e-9
    if isinstance(rule, str):
        raise unknown_name("rule", rule, ("any", "all", "a share in (0, 1]"))
    if not 0 < rule <= 1:
        raise ParameterError(f"a rule that is a share must lie in (0, 1], got {rule:g}")
    return share >= rule - 1e-9
