"""Channel multiplexing: height and width of a spectrogram moved to channels without loss; and truncation beside it.

Source: MARS (arXiv:2509.26007), "channel multiplexing"; its formula is not published where we could read it, and the
order of the channels here is ours.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import ParameterError, unknown_name

__all__ = ["LAYOUTS", "ChannelMultiplex", "Truncation"]

LAYOUTS = ("polyphase", "block")


class ChannelMultiplex(nn.Module):
    """Space to channels on two axes. ``forward``: (b, c, h, w) -> (b, c * rows * cols, ceil(h / rows), ceil(w / cols)).

    ``inverse`` gives back every value, bit for bit. It has no parameters, keeps device and type, and passes gradients.

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
        """Channels that one channel becomes."""
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
        """Return the cells (b, c, h, w) of which ``forward`` made these, cut to ``size`` where that is given.

        Raises:
            ParameterError: channels that the factors do not divide, or a size beyond what there is.
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
    """The baseline of channel multiplexing: the lowest bins and the first frames, the rest lost. (b, c, h, w) -> less.

    Args:
        rows: bins that are kept; None keeps all.
        cols: frames that are kept; None keeps all.
        pad_value: stands in the inverse for what was lost.
    """

    def __init__(self, rows: int | None, cols: int | None, pad_value: float = -1.0) -> None:
        super().__init__()
        for name, value in (("rows", rows), ("cols", cols)):
            if value is not None and value < 1:
                raise ParameterError(f"{name} of a truncation must be at least 1, got {value}")
        self.rows, self.cols, self.pad_value = rows, cols, pad_value

    def forward(self, cells: Tensor) -> Tensor:
        """Return what is kept."""
        return cells[..., : self.rows, : self.cols]

    def inverse(self, cells: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the cells at a size (h, w) of before, filled up."""
        height, width = cells.shape[-2:]
        return F.pad(cells, (0, size[1] - width, 0, size[0] - height), value=self.pad_value)
