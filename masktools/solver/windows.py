"""Grids longer than a predictor reads at once: windows from left to right, each knowing what came before."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from masktools.errors import ParameterError
from masktools.solver.config import SolverConfig
from masktools.solver.decode import solve
from masktools.solver.guidance import Predict
from masktools.solver.noise import as_seeds, derive_seed
from masktools.solver.request import check_request
from masktools.solver.trace import SolveResult, StepTrace

__all__ = ["over_windows", "solve_windows", "window_starts"]

Fill = Callable[[slice, Tensor, Tensor, list[int]], tuple[Tensor, Sequence[StepTrace]]]
"""Function of (columns, tokens (b, r, w), mask (b, r, w), seeds) to complete tokens (b, r, w) and their trace."""


def window_starts(n_cols: int, window_cols: int, overlap_cols: int) -> tuple[int, ...]:
    """Return the first columns of windows that cover a grid; the last one ends where the grid ends.

    Raises:
        ParameterError: If the overlap does not lie in [0, window_cols).

    >>> window_starts(100, 53, 8)
    (0, 45, 47)
    """
    if not 0 <= overlap_cols < window_cols:
        raise ParameterError(f"overlap_cols must lie in [0, {window_cols}), got {overlap_cols}")
    last = max(0, n_cols - window_cols)
    return (*range(0, last, window_cols - overlap_cols), last)


def solve_windows(
    predict: Predict,
    tokens: Tensor,
    mask: Tensor,
    seeds: Sequence[int] | Tensor,
    config: SolverConfig,
    window_cols: int,
    overlap_cols: int = 8,
    lookahead_cols: int = 0,
    use_condition: Sequence[bool] | Tensor | None = None,
    groups: Tensor | None = None,
    logit_bias: Tensor | None = None,
) -> SolveResult:
    """Fill a mask of any width by windows that the predictor can read.

    A decision is never taken twice: what a window has filled is known to the next one. Windows without
    masked slots cost nothing. With one window the result is that of ``solve``.

    Args:
        predict: As for ``solve``; it sees (a, n) slots of one window.
        tokens: Integers (b, r, w) of any width.
        mask: Booleans (b, r, w), True where a token must be predicted.
        seeds: One integer per item.
        config: Settings of the decoding of every window.
        window_cols: Columns of a window; a narrower grid is one window.
        overlap_cols: Columns that neighbouring windows share, in [0, window_cols).
        lookahead_cols: Columns at the right of a window, at most the overlap, whose decisions are left to the
            next window, so that none is taken without knowing both sides.
        use_condition: As for ``solve``.
        groups: As for ``solve``.
        logit_bias: As for ``solve``.

    Raises:
        ParameterError: As ``solve`` does, or if the windows do not overlap as they must.
    """
    check_request(tokens, mask, seeds, use_condition, groups, config.group_score, logit_bias)
    n_rows = tokens.shape[-2]

    def fill(columns: slice, given: Tensor, own: Tensor, words: list[int]) -> tuple[Tensor, Sequence[StepTrace]]:
        bias = logit_bias
        if bias is not None and bias.ndim == 3:
            bias = bias[:, columns.start * n_rows : columns.stop * n_rows]
        part = None if groups is None else groups[..., columns]
        result = solve(predict, given, own, words, config, use_condition=use_condition, groups=part, logit_bias=bias)
        return result.tokens, result.trace

    return over_windows(fill, tokens, mask, seeds, window_cols, overlap_cols, lookahead_cols)


def over_windows(
    fill: Fill,
    tokens: Tensor,
    mask: Tensor,
    seeds: Sequence[int] | Tensor,
    window_cols: int,
    overlap_cols: int,
    lookahead_cols: int = 0,
) -> SolveResult:
    """Fill a mask of any width by a function that fills windows, from left to right.

    Args:
        fill: Fills a window; the first one has the seeds as they are, others seeds derived from them.
        tokens: As for ``solve_windows``.
        mask: As for ``solve_windows``.
        seeds: As for ``solve_windows``.
        window_cols: As for ``solve_windows``.
        overlap_cols: As for ``solve_windows``.
        lookahead_cols: As for ``solve_windows``.

    Raises:
        ParameterError: If the windows do not overlap as they must.
    """
    starts = window_starts(tokens.shape[-1], window_cols, overlap_cols)
    if not 0 <= lookahead_cols <= overlap_cols:
        raise ParameterError(f"lookahead_cols must lie in [0, {overlap_cols}], the overlap, got {lookahead_cols}")
    filled, left = tokens.clone(), mask.clone()
    words = as_seeds(seeds).tolist()
    trace: list[StepTrace] = []
    for start in starts:
        stop = min(start + window_cols, tokens.shape[-1])
        keep = stop if start == starts[-1] else stop - lookahead_cols
        own = left.clone()[..., start:stop]
        own[~own[..., : keep - start].flatten(1).any(dim=1)] = False  # nothing to decide here
        derived = words if start == 0 else [derive_seed(word, start) for word in words]
        done, records = fill(slice(start, stop), filled[..., start:stop], own, derived)
        filled[..., start:keep] = done[..., : keep - start]
        left[..., start:keep] = False
        trace += records
    return SolveResult(torch.where(mask, filled, tokens), tuple(trace))
