"""Audio from a description, or from nothing: everything is masked, and the solver fills it."""

from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any

import numpy as np
import torch

from masktools.conditioning import Prompts
from masktools.errors import ParameterError
from masktools.grid import GridMask
from masktools.pipeline import Pipeline, Progress, share_of
from masktools.solver import SolverConfig, SolveResult, item_seeds

__all__ = ["MAX_SECONDS", "Generated", "generate"]

MAX_SECONDS = 600.0
_PEAK = 0.99  # of full scale, where a recording would go beyond it
_OVERLAP_SHARE = 26 / 53  # of a window: what a continuation knows of what came before


@dataclass(frozen=True, eq=False)
class Generated:
    """Generated recordings of one length, and how they were made."""

    samples: np.ndarray  # (n, t) float32
    sample_rate: int  # Hz
    tokens: np.ndarray  # (n, rows, columns) int64
    report: dict[str, Any]  # what JSON has


def generate(
    pipeline: Pipeline,
    prompts: Prompts | None = None,
    n: int = 1,
    seconds: float | None = None,
    *,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    progress: Progress | None = None,
) -> Generated:
    """Return n recordings for each prompt, those of the first prompt first; or n without any prompt.

    What is longer than the model's window is continued: each window knows the half of the one before. What is
    shorter is cut from a full window. A recording that would go beyond full scale is made quieter as a whole; the
    report names its gain.

    Args:
        pipeline: the model.
        prompts: a text, texts, embeddings, or the path of a .npy file of them; None for no condition.
        n: recordings for each prompt, at least 1.
        seconds: length of each, in (0, 600]; a full window where it is not given.
        seed: the same seed gives the same recordings; the first ones stay the same if more are asked for.
        solver: settings of the decoding.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: a number or a length out of its range, or prompts that cannot be read.

    Source: SpecMaskGIT (arXiv:2406.17672), sections 3.4 and 4.2.
    """
    started = perf_counter()
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ParameterError(f"n must be a whole number of at least 1, got {n!r}")
    grid, rate = pipeline.grid, pipeline.sample_rate
    if seconds is not None and not (isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
        raise ParameterError(f"seconds must lie in (0, {MAX_SECONDS:g}], got {seconds:g}")
    condition = pipeline.condition(prompts)
    n_samples = pipeline.window_samples if seconds is None else max(1, round(seconds * rate))
    n_cols = max(pipeline.window_cols, grid.n_columns(n_samples))
    if condition is not None:
        condition = condition.repeat_interleave(n, dim=0)
    n_items = n if condition is None else len(condition)
    seeds = item_seeds(seed, n_items)
    mask = GridMask.full(grid, n_cols).tensor
    waves, tokens, solved = list[np.ndarray](), list[torch.Tensor](), list[SolveResult]()
    starts = range(0, n_items, pipeline.batch_size)
    for number, start in enumerate(starts):
        part = slice(start, start + pipeline.batch_size)
        masks = mask.expand(len(seeds[part]), -1, -1)
        result = pipeline.fill(
            torch.zeros_like(masks, dtype=torch.int64),
            masks,
            seeds[part],
            solver,
            None if condition is None else condition[part],
            round(pipeline.window_cols * _OVERLAP_SHARE),
            share_of(progress, number, len(starts)),
        )
        waves.append(pipeline.decode(result.tokens, n_samples).cpu().numpy())
        tokens.append(result.tokens.cpu())
        solved.append(result)
    rendered = np.concatenate(waves)
    gains = np.minimum(1.0, _PEAK / np.abs(rendered).max(axis=1).clip(min=_PEAK))
    report = {
        "job": "generate",
        "model": pipeline.name,
        "seed": seed,
        "seeds": seeds,
        "prompted": condition is not None,
        "seconds": n_samples / rate,
        "n_steps": solver.n_steps,
        "guidance": solver.guidance if condition is not None else 0.0,
        "temperature": solver.temperature,
        "gains_db": [round(float(20 * np.log10(gain)), 2) for gain in gains],
        "n_forwards": sum(result.n_forwards for result in solved),
        "timings": {
            "solve_s": round(sum(record.seconds for result in solved for record in result.trace), 3),
            "total_s": round(perf_counter() - started, 3),
        },
    }
    return Generated((rendered * gains[:, None]).astype(np.float32), rate, torch.cat(tokens).numpy(), report)
