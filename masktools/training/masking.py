"""What is masked in training: the ratio law of the paper, and the gaps and bands that restorers meet.

Source: SpecMaskGIT (arXiv:2406.17672), section 3.2: the masked ratio is a truncated Gaussian, mean 0.55, on 0..1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from masktools.errors import ParameterError

__all__ = ["MaskingConfig", "draw_ratios", "gap_masks", "random_masks", "row_masks"]


@dataclass(frozen=True)
class MaskingConfig:
    """Settings of the masks; the defaults are the paper's, whose standard deviation is MAGE's."""

    mean: float = 0.55
    std: float = 0.25
    low: float = 0.0
    high: float = 1.0
    full_share: float = 0.0  # of clips masked whole, for the first steps of generation
    gap_share: float = 0.0  # of clips masked in whole columns
    row_share: float = 0.0  # of clips masked in their top rows

    def __post_init__(self) -> None:
        """Check every range."""
        if not 0 <= self.low < self.high <= 1:
            raise ParameterError(f"0 <= low < high <= 1 must hold, got {self.low:g} and {self.high:g}")
        if self.std <= 0:
            raise ParameterError(f"std must be positive, got {self.std:g}")
        shares = (self.full_share, self.gap_share, self.row_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ParameterError(f"the shares must be positive and sum to at most 1, got {shares}")


def draw_ratios(n_clips: int, config: MaskingConfig, generator: torch.Generator | None = None) -> Tensor:
    """Return mask ratios (n_clips,) by the truncated Gaussian, through its inverse distribution function."""
    normal = torch.distributions.Normal(config.mean, config.std)
    low, high = (normal.cdf(torch.tensor(edge)) for edge in (config.low, config.high))
    uniform = torch.rand(n_clips, generator=generator)
    return normal.icdf(low + uniform * (high - low)).clamp(config.low, config.high)


def random_masks(ratios: Tensor, n_tokens: int, generator: torch.Generator | None = None) -> Tensor:
    """Return masks (b, n) with exactly clamp(ceil(ratio * n), 1, n) random positions each."""
    counts = (ratios * n_tokens).ceil().clamp(1, n_tokens).long()
    ranks = torch.rand(len(ratios), n_tokens, generator=generator).argsort(dim=1).argsort(dim=1)
    return ranks < counts[:, None]


def gap_masks(n_clips: int, n_rows: int, n_cols: int, generator: torch.Generator | None = None) -> Tensor:
    """Return masks (b, r, w) of one gap of whole columns each, 1 column to half the clip."""
    lengths = 1 + (torch.rand(n_clips, generator=generator).square() * (n_cols // 2)).long()
    starts = (torch.rand(n_clips, generator=generator) * (n_cols - lengths + 1)).long()
    columns = torch.arange(n_cols)
    inside = (columns >= starts[:, None]) & (columns < (starts + lengths)[:, None])
    return inside[:, None].expand(-1, n_rows, -1)


def row_masks(n_clips: int, n_rows: int, n_cols: int, generator: torch.Generator | None = None) -> Tensor:
    """Return masks (b, r, w) of the top 1 to n_rows - 1 rows each."""
    n_known = torch.randint(1, n_rows, (n_clips,), generator=generator)
    inside = torch.arange(n_rows) >= n_known[:, None]
    return inside[:, :, None].expand(-1, -1, n_cols)
