"""Random masks for training.

Each is a function of (seed, index, purpose), so that the mask of a clip depends neither on the number of processes,
nor on gradient accumulation, nor on interruptions of the run.

Masks are functions of numbers between 0 and 1, which `ClipDraws` draws.

Source: SpecMaskGIT (arXiv:2406.17672), section 3.2: the masked ratio is a truncated Gaussian, mean 0.55, on 0..1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import pi

import torch
from scipy.special import betaincinv
from torch import Tensor

from masktools.core.arguments import checked_name, settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.solver.choice import as_seeds, derive_seed, uniform

_OF_CLIPS, _OF_STEPS = 0, 1


class Purpose(IntEnum):
    """Purpose of a random number; the numbers of two purposes are independent."""

    RATIO = 0
    SLOTS = 1
    KIND = 2
    GAP = 3
    ROWS = 4
    DROP = 5
    TEXT = 6
    LENGTH = 7


class ClipDraws:
    """The random numbers of the clips of a batch."""

    def __init__(self, seed: int, indices: Sequence[int] | Tensor, family: int = _OF_CLIPS) -> None:
        numbers = indices.tolist() if isinstance(indices, Tensor) else indices
        self._seeds = as_seeds([derive_seed(seed, family, index) for index in numbers])

    def __len__(self) -> int:
        return len(self._seeds)

    def uniform(self, purpose: Purpose, n: int = 1) -> Tensor:
        """Return numbers (b, n) strictly between 0 and 1, float64, on the CPU."""
        return uniform(self._seeds, int(purpose), 0, n)


def step_draws(seed: int, step: int) -> ClipDraws:
    """Return the random numbers that all clips of a step share, as a batch of one."""
    return ClipDraws(seed, [step], _OF_STEPS)


@dataclass(frozen=True)
class MaskingConfig:
    """Settings of the masks; the defaults are the paper's, whose standard deviation is MAGE's.

    The distribution of the ratios is one of ``RATIO_LAWS``: "gaussian" (mean, std, truncated to low..high), or over
    low..high "uniform", "cosine" (MaskGIT's, many high ratios), "arccos" (fewer), "beta" (alpha, beta).
    """

    mean: float = 0.55
    std: float = ranged(0.25, "(0, inf]")
    low: float = 0.0
    high: float = 1.0
    full_share: float = 0.0  # share of clips that are masked completely, as in the first steps of generation
    gap_share: float = 0.0  # share of clips with masked columns
    row_share: float = 0.0  # share of clips with masked top rows
    law: str = "gaussian"
    alpha: float = ranged(2.0, "(0, inf]")  # of the distribution "beta"
    beta: float = ranged(2.0, "(0, inf]")  # of the distribution "beta"
    per_batch: bool = False  # one ratio for all clips of a step, as in MAGE

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        if not 0 <= self.low < self.high <= 1:
            raise ParameterError(f"0 <= low < high <= 1 must hold, got {self.low:g} and {self.high:g}")
        shares = (self.full_share, self.gap_share, self.row_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ParameterError(f"the shares must be positive and sum to at most 1, got {shares}")
        checked_name("law of ratios", self.law, RATIO_LAWS)


def _gaussian(uniform: Tensor, config: MaskingConfig) -> Tensor:
    normal = torch.distributions.Normal(torch.tensor(config.mean, dtype=torch.float64), config.std)
    low, high = (normal.cdf(torch.tensor(edge, dtype=torch.float64)) for edge in (config.low, config.high))
    return normal.icdf(low + uniform * (high - low))


def _beta(uniform: Tensor, config: MaskingConfig) -> Tensor:
    return _stretched(torch.from_numpy(betaincinv(config.alpha, config.beta, uniform.numpy())), config)


def _stretched(share: Tensor, config: MaskingConfig) -> Tensor:
    return config.low + share * (config.high - config.low)


RATIO_LAWS: Mapping[str, Callable[[Tensor, MaskingConfig], Tensor]] = {
    "gaussian": _gaussian,
    "uniform": _stretched,
    "cosine": lambda uniform, config: _stretched((uniform * pi / 2).cos(), config),
    "arccos": lambda uniform, config: _stretched(uniform.arccos() * 2 / pi, config),
    "beta": _beta,
}
"""Distributions of masked ratios by name: inverse distribution functions, numbers in 0..1 -> ratios.

Source: MaskGIT (arXiv:2202.04200), section 3.3 (cosine); AutoNAT (arXiv:2406.05478), section 4 (beta).
"""


def ratios(uniform: Tensor, config: MaskingConfig) -> Tensor:
    """Return the mask ratios (b,) for uniform numbers (b,) in 0..1."""
    return RATIO_LAWS[config.law](uniform.double(), config).clamp(config.low, config.high)


def random_masks(ratio: Tensor, noise: Tensor) -> Tensor:
    """Return masks (b, n) with exactly clamp(ceil(ratio * n), 1, n) positions each: those of the least noise (b, n)."""
    n_tokens = noise.shape[1]
    counts = (ratio * n_tokens).ceil().clamp(1, n_tokens).long()
    ranks = noise.argsort(dim=1).argsort(dim=1)
    return ranks < counts[:, None]


def span_starts(n_cols: int, span: int) -> Tensor:
    """Return the least numbers of spans that mask 0 to 100 percent of n_cols columns on average, (101,).

    >>> span_starts(500, 3)[[1, 10, 50, 90, 99, 100]].tolist()
    [2, 18, 103, 268, 392, 498]
    """
    kept = 1 - span / (n_cols - torch.arange(n_cols - span + 1, dtype=torch.float64))  # for each number of starts
    hidden = torch.cat([torch.zeros(1, dtype=torch.float64), 1 - kept.cumprod(0)])
    return torch.searchsorted(hidden, torch.arange(101, dtype=torch.float64) / 100)


def span_masks(share: Tensor, noise: Tensor, span: int) -> Tensor:
    """Return masks (b, w) of possibly overlapping spans, which cover shares (b,) of the columns on average.

    The noise (b, w) determines the starts of the spans; those at the end are cropped.

    Source: Ziv et al., MAGNeT (arXiv:2401.04577), section 3.1.
    """
    n_cols = noise.shape[1]
    span = min(span, n_cols)
    starts = span_starts(n_cols, span)
    counts = (share * n_cols).round().long() if span == 1 else starts[(100 * share).round().long()]
    begins = noise.argsort(dim=1) < counts.clamp_min(1)[:, None]
    masks = begins.clone()
    for shift in range(1, span):
        masks[:, shift:] |= begins[:, : n_cols - shift]
    return masks


def gap_masks(uniform: Tensor, n_rows: int, n_cols: int) -> Tensor:
    """Return masks (b, r, w) of one gap of whole columns each, 1 column to half the clip, by numbers (b, 2) in 0..1."""
    lengths = 1 + (uniform[:, 0].square() * (n_cols // 2)).long()
    starts = (uniform[:, 1] * (n_cols - lengths + 1)).long()
    columns = torch.arange(n_cols)
    inside = (columns >= starts[:, None]) & (columns < (starts + lengths)[:, None])
    return inside[:, None].expand(-1, n_rows, -1)


def row_masks(uniform: Tensor, n_rows: int, n_cols: int) -> Tensor:
    """Return masks (b, r, w) of the top 1 to n_rows - 1 rows each, for uniform numbers (b, 1); of one row all of it."""
    n_known = 1 + (uniform * (n_rows - 1)).long() if n_rows > 1 else torch.zeros_like(uniform, dtype=torch.long)
    inside = torch.arange(n_rows) >= n_known
    return inside[:, :, None].expand(-1, -1, n_cols)


def draw_masks(
    draws: ClipDraws,
    n_rows: int,
    n_cols: int,
    config: MaskingConfig,
    full_band: Tensor | None = None,
    ratio: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return masks (b, r, w), and which clips (b,) are to be erased before tokenisation.

    Args:
        draws: the random numbers of the clips.
        n_rows: number of token rows.
        n_cols: number of token columns.
        config: settings of the masks.
        full_band: (b,) bool, all True by default. Top rows are masked only in clips with a full band: a band-limited
            recording would teach that they are silent.
        ratio: (b,) ratios, if they are not drawn for each clip.
    """
    drawn = ratios(draws.uniform(Purpose.RATIO)[:, 0], config) if ratio is None else ratio
    flat = random_masks(drawn, draws.uniform(Purpose.SLOTS, n_rows * n_cols))
    masks = flat.unflatten(1, (n_cols, n_rows)).transpose(1, 2)
    kind = draws.uniform(Purpose.KIND)[:, :, None]
    edges = torch.tensor([config.full_share, config.gap_share, config.row_share]).cumsum(0)
    by_gap = (kind >= edges[0]) & (kind < edges[1])
    by_rows = (kind >= edges[1]) & (kind < edges[2])
    if full_band is not None:
        by_rows = by_rows & full_band.to(by_rows.device)[:, None, None]
    masks = torch.where(by_rows, row_masks(draws.uniform(Purpose.ROWS), n_rows, n_cols), masks)
    masks = torch.where(by_gap, gap_masks(draws.uniform(Purpose.GAP, 2), n_rows, n_cols), masks)
    masks = masks | (kind < edges[0])
    return masks, (by_gap | by_rows).flatten()
