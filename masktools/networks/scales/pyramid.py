"""Sizes of the scales of a grid, from coarse to fine, and channel multiplexing: height and width moved to channels.

Grids (b, h, w) of all scales are packed into one sequence (b, n): scale after scale, time-major within each.

Source: MARS (arXiv:2509.26007), "channel multiplexing"; its formula is not published, and the
order of the channels here is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import CheckpointError, ParameterError, unknown_name
from masktools.core.shapes import flatten, unflatten

_VAR_GROUPS = (0, 0, 1, 1, 1, 2, 2, 3, 3, 3)  # of VAR's ten scales, whose own formula has ties that rounding decides


@dataclass(frozen=True)
class ScalePyramid:
    """Sizes (rows, columns) of each scale; the last one is the grid of the latents."""

    scales: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Check that no scale is empty, smaller than the one before, or a duplicate."""
        scales = tuple((int(rows), int(cols)) for rows, cols in self.scales)
        object.__setattr__(self, "scales", scales)
        if not scales or min(min(scale) for scale in scales) < 1:
            raise ParameterError(f"scales must be at least one, each of at least 1 x 1, got {self}")
        for coarse, fine in pairwise(scales):
            if fine[0] < coarse[0] or fine[1] < coarse[1] or fine == coarse:
                raise ParameterError(
                    f"scales must grow, in no axis fall, and differ: {coarse[0]}x{coarse[1]} is followed by "
                    f"{fine[0]}x{fine[1]}"
                )

    def __str__(self) -> str:
        return ", ".join(f"{rows}x{cols}" for rows, cols in self.scales) or "none"

    def __len__(self) -> int:
        return len(self.scales)

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rows and columns of the finest scale."""
        return self.scales[-1]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of tokens of each scale."""
        return tuple(rows * cols for rows, cols in self.scales)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Position in the sequence at which each scale begins."""
        return (0, *accumulate(self.lengths))[:-1]

    @property
    def total(self) -> int:
        """Number of tokens of all scales."""
        return sum(self.lengths)

    def place(self, scale: int) -> slice:
        """Return the slice of a scale in the sequence."""
        return slice(self.offsets[scale], self.offsets[scale] + self.lengths[scale])

    def level_ids(self, device: torch.device | str | None = None) -> Tensor:
        """Return the scale (n,) of each token of the sequence."""
        numbers = torch.arange(len(self), device=device)
        return numbers.repeat_interleave(torch.tensor(self.lengths, device=device))

    def attended(self, device: torch.device | str | None = None) -> Tensor:
        """Return the attention mask, booleans (n, n): a token attends its own scale and all coarser ones."""
        levels = self.level_ids(device)
        return levels[:, None] >= levels[None]

    def pack(self, grids: Sequence[Tensor]) -> Tensor:
        """Return the sequence (b, n) of the grids (b, h, w) of the first scales.

        Raises:
            ParameterError: grids of other sizes, or more of them than scales.
        """
        self.check(grids)
        return torch.cat([flatten(grid) for grid in grids], dim=1)

    def unpack(self, sequence: Tensor) -> list[Tensor]:
        """Return the grids (b, h, w) in a sequence (b, n) that ends with a whole scale.

        Raises:
            ParameterError: a sequence of another length.
        """
        ends = list(accumulate(self.lengths))
        if sequence.shape[1] not in ends:
            raise ParameterError(f"tokens of scales {self} must be one of {ends} long, got {sequence.shape[1]}")
        n_scales = ends.index(sequence.shape[1]) + 1
        parts = sequence.split(self.lengths[:n_scales], dim=1)
        return [unflatten(part, rows) for part, (rows, _) in zip(parts, self.scales, strict=False)]

    def check(self, grids: Sequence[Tensor]) -> None:
        """Raise where grids are not those of the first scales.

        Raises:
            ParameterError: no grid, too many, or one of another size.
        """
        sizes = [tuple(grid.shape[1:]) for grid in grids]
        if not 1 <= len(sizes) <= len(self) or sizes != list(self.scales[: len(sizes)]):
            listed = ", ".join("x".join(map(str, size)) for size in sizes) or "none"
            raise ParameterError(f"tokens must be of the scales {self}, or of the first of them, got {listed}")


def phi_groups(n_scales: int, n_groups: int) -> tuple[int, ...]:
    """Return the convolution (of ``n_groups``) for each scale: VAR's table for ten scales and four, else equal shares.

    >>> phi_groups(10, 4), phi_groups(5, 4)
    ((0, 0, 1, 1, 1, 2, 2, 3, 3, 3), (0, 0, 1, 2, 3))
    """
    if (n_scales, n_groups) == (10, 4):
        return _VAR_GROUPS
    return tuple(min(n_groups - 1, n_groups * scale // n_scales) for scale in range(n_scales))


def keep_in_checkpoint(module: nn.Module, **tables: Sequence[Sequence[int]] | Sequence[int]) -> None:
    """Store integer tables with the weights of a module, and refuse weights with other tables.

    Raises:
        CheckpointError: raised when weights with another table are loaded; the message names both.
    """
    for name, table in tables.items():
        module.register_buffer(name, torch.tensor(table))

    def compare(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
        for name, table in tables.items():
            stored = state.get(prefix + name)
            if stored is None:
                continue
            found, wanted = stored.long().tolist(), torch.tensor(table, device="cpu").tolist()
            if found != wanted:
                words = name.replace("_", " ")
                raise CheckpointError(f"the checkpoint has the {words} {_spoken(found)}, the model {_spoken(wanted)}")

    module.register_load_state_dict_pre_hook(compare)


def _spoken(table: list) -> str:
    return ", ".join("x".join(map(str, row)) if isinstance(row, list) else str(row) for row in table) or "none"


LAYOUTS = ("polyphase", "block")


class ChannelMultiplex(nn.Module):
    """Space to channels on two axes. ``forward``: (b, c, h, w) -> (b, c * rows * cols, ceil(h / rows), ceil(w / cols)).

    ``inverse`` restores every value, bit for bit. It has no parameters, keeps device and type, and passes gradients.

    Args:
        rows: factor along the height (frequency), 1 or more.
        cols: factor along the width (time), 1 or more.
        layout: ``polyphase``: channel i * cols + j holds every rows-th bin from i on and every cols-th frame from j
            on, so that each channel is a copy at low resolution; ``block``: it holds the i-th band of neighbouring
            bins and the j-th stretch of neighbouring frames.
        pad_value: fills sizes that the factors do not divide, above the highest bin and after the last frame.
    """

    def __init__(self, rows: int, cols: int, layout: str = "polyphase", pad_value: float = -1.0) -> None:
        super().__init__()
        if rows < 1 or cols < 1:
            raise ParameterError(f"the factors of channel multiplexing must be at least 1, got {rows} and {cols}")
        if layout not in LAYOUTS:
            raise unknown_name("layout", layout, LAYOUTS)
        self.rows, self.cols, self.layout, self.pad_value = rows, cols, layout, pad_value

    @property
    def factor(self) -> int:
        """Number of channels that one channel becomes."""
        return self.rows * self.cols

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells with fewer rows and columns, and more channels."""
        height, width = cells.shape[-2:]
        cells = F.pad(cells, (0, -width % self.cols, 0, -height % self.rows), value=self.pad_value)
        n, c, height, width = cells.shape
        if self.layout == "polyphase":
            parts = cells.reshape(n, c, height // self.rows, self.rows, width // self.cols, self.cols)
            return parts.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
        parts = cells.reshape(n, c, self.rows, height // self.rows, self.cols, width // self.cols)
        return parts.permute(0, 1, 2, 4, 3, 5).flatten(1, 3)

    def inverse(self, cells: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return the input (b, c, h, w) of ``forward`` for its output, cropped to ``size`` if given.

        Raises:
            ParameterError: channels that the factors do not divide, or a size beyond the input's.
        """
        n, channels, height, width = cells.shape
        if channels % self.factor:
            raise ParameterError(f"channels must be a multiple of {self.factor}, got {channels}")
        parts = cells.reshape(n, channels // self.factor, self.rows, self.cols, height, width)
        order = (0, 1, 4, 2, 5, 3) if self.layout == "polyphase" else (0, 1, 2, 4, 3, 5)
        whole = parts.permute(order).reshape(n, -1, height * self.rows, width * self.cols)
        if size is None:
            return whole
        if not (0 < size[0] <= whole.shape[2] and 0 < size[1] <= whole.shape[3]):
            raise ParameterError(f"size must lie within {tuple(whole.shape[2:])}, got {tuple(size)}")
        return whole[:, :, : size[0], : size[1]]


class Truncation(nn.Module):
    """Baseline of channel multiplexing: keeps the lowest bins and the first frames only. (b, c, h, w) -> smaller.

    Args:
        rows: bins to keep; None keeps all.
        cols: frames to keep; None keeps all.
        pad_value: value of the lost cells in the inverse.
    """

    def __init__(self, rows: int | None, cols: int | None, pad_value: float = -1.0) -> None:
        super().__init__()
        for name, value in (("rows", rows), ("cols", cols)):
            if value is not None and value < 1:
                raise ParameterError(f"{name} of a truncation must be at least 1, got {value}")
        self.rows, self.cols, self.pad_value = rows, cols, pad_value

    def forward(self, cells: Tensor) -> Tensor:
        """Return the kept cells."""
        return cells[..., : self.rows, : self.cols]

    def inverse(self, cells: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the cells padded to the original size (h, w)."""
        height, width = cells.shape[-2:]
        return F.pad(cells, (0, size[1] - width, 0, size[0] - height), value=self.pad_value)
