"""Generation from a prompt, or unconditional: everything is masked, and the solver fills it."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from masktools.core.arguments import check_within, checked_call, checked_real, checked_whole, shown
from masktools.core.errors import ParameterError
from masktools.core.settings import MAX_SECONDS, DecodingSettings
from masktools.networks.conditioning import Prompts
from masktools.pipeline import Progress, Walk, share_of
from masktools.pipeline.hub import models_for, plan_for
from masktools.solver import Plan, SolveResult, item_seeds, plan_value

MAX_RECORDINGS = 100_000  # of one call, which keeps them all in memory
_PEAK = 0.99  # of full scale, for recordings that would exceed it
_OVERLAP_SHARE = 26 / 53  # of a window: context of a continuation


@dataclass(frozen=True, eq=False)
class Generated:
    """Generated recordings of one length, with a report."""

    samples: np.ndarray  # (n, t) float32
    sample_rate: int  # Hz
    tokens: np.ndarray  # (n, rows, columns) int64
    report: dict[str, Any]  # in JSON types


def generate(
    pipeline: Walk,
    prompts: Prompts | None = None,
    n: int = 1,
    seconds: float | None = None,
    settings: DecodingSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> Generated:
    """Return n recordings for each prompt, those of the first prompt first; or n unconditional ones.

    Recordings longer than the model's window are continued: each window has half of the previous one as context.
    Shorter ones are cropped from a full window. A recording that would exceed full scale is attenuated as a whole; the
    report has its gain.

    Args:
        pipeline: the model.
        prompts: a text, texts, embeddings, or the path of a .npy file of them; None for no condition.
        n: number of recordings for each prompt, at least 1.
        seconds: length of each in seconds, in (0, 600]; a full window by default.
        settings: settings of the decoding; the same seed gives the same recordings, and the first ones do not depend on
            their number.
        progress: called with (steps done, steps in total).
        **changes: fields of ``DecodingSettings`` to change.

    Raises:
        ParameterError: a number or a length out of its range, or prompts that cannot be read.

    Source: SpecMaskGIT (arXiv:2406.17672), sections 3.4 and 4.2.
    """
    started, made = perf_counter(), DecodingSettings.of(settings, changes)
    solver = plan_for(pipeline, "generate", made)
    checked_call("progress", progress)
    n = checked_whole("n", n, 1)
    if n > MAX_RECORDINGS:
        raise ParameterError(f"n must be at most {MAX_RECORDINGS}, got {shown(n)}: ask several times with other seeds")
    rate, n_samples = pipeline.sample_rate, checked_samples(pipeline, seconds)
    if isinstance(prompts, list | tuple) and prompts and all(isinstance(prompt, str) for prompt in prompts):
        condition = conditions_of(pipeline, list[str](prompts))
    else:
        condition = pipeline.condition(prompts)
    if condition is not None:
        condition = condition.repeat_interleave(n, dim=0)
    n_items = n if condition is None else len(condition)
    seeds = item_seeds(made.seed, n_items)
    waves, tokens, solved = list[np.ndarray](), list[np.ndarray](), list[SolveResult]()
    starts = range(0, n_items, pipeline.batch_size)
    for number, start in enumerate(starts):
        part = slice(start, start + pipeline.batch_size)
        given = None if condition is None else condition[part]
        wave, result = decoded(pipeline, given, seeds[part], n_samples, solver, share_of(progress, number, len(starts)))
        waves.append(wave)
        tokens.append(result.tokens.cpu().numpy())
        solved.append(result)
    samples, gains_db = within_full_scale(np.concatenate(waves))
    report = {
        "job": "generate",
        "model": pipeline.name,
        "seed": made.seed,
        "seeds": seeds,
        "prompted": condition is not None,
        "seconds": n_samples / rate,
        "n_steps": plan_value(solver, "n_steps"),
        "guidance": plan_value(solver, "guidance") if condition is not None else 0.0,
        "temperature": plan_value(solver, "temperature"),
        "gains_db": gains_db,
        "n_forwards": sum(result.n_forwards for result in solved),
        "timings": {
            "solve_s": round(sum(record.seconds for result in solved for record in result.trace), 3),
            "total_s": round(perf_counter() - started, 3),
        },
    }
    return Generated(samples, rate, np.concatenate(tokens), report)


def checked_samples(pipeline: Walk, seconds: float | None) -> int:
    """Return the number of samples in a duration; that of a full window for None.

    Raises:
        ParameterError: a length out of (0, 600] s, or longer than the window of a model that cannot continue.
    """
    if seconds is None:
        return pipeline.window_samples
    seconds = checked_real("seconds", seconds)
    check_within(f"(0, {MAX_SECONDS:g}]", seconds=seconds)
    longest_s = pipeline.window_samples / pipeline.sample_rate
    if seconds > longest_s and "continue" not in pipeline.jobs:
        others = " or ".join(models_for("continue"))
        raise ParameterError(
            f"model {pipeline.name!r} makes at most {longest_s:.4g} s, got {seconds:g} s: ask for less"
            + (f", or use --model {others}" if others else "")
        )
    return max(1, round(seconds * pipeline.sample_rate))


def conditions_of(pipeline: Walk, texts: Sequence[str]) -> Tensor:
    """Return the conditions of texts, each encoded separately.

    In a batch they would differ in the last digit, and one token drawn differently is another sound.

    Raises:
        ParameterError: a text that the model cannot encode.
    """
    each = {text: cast(Tensor, pipeline.condition([text])) for text in dict.fromkeys(texts)}
    if next(iter(each.values())).ndim > 2:  # sequences of states: shorter ones are padded with zeros
        longest = max(states.shape[1] for states in each.values())
        each = {text: pad(states, (0, 0, 0, longest - states.shape[1])) for text, states in each.items()}
    return torch.cat([each[text] for text in texts])


def decoded(
    pipeline: Walk,
    condition: Tensor | None,
    seeds: Sequence[int],
    n_samples: int,
    solver: Plan,
    progress: Progress | None = None,
) -> tuple[np.ndarray, SolveResult]:
    """Return recordings (b, t) decoded by the vocoder, and the trace of the decoding.

    A CPU renders them one by one: a batch is not faster, and would change their last digits.

    Args:
        pipeline: the model.
        condition: one condition for each recording, or None.
        seeds: one seed for each recording.
        n_samples: length of each recording.
        solver: settings of the decoding.
        progress: called with (steps done, steps in total).
    """
    n_cols = max(pipeline.window_cols, pipeline.grid.n_columns(n_samples))
    mask = torch.ones(len(seeds), pipeline.shape.n_rows, n_cols, dtype=torch.bool)
    overlap = round(pipeline.window_cols * _OVERLAP_SHARE)
    tokens = torch.zeros_like(mask, dtype=torch.int64)
    result = pipeline.fill(tokens, mask, seeds, solver, condition, overlap, progress)
    parts = result.tokens.split(1 if pipeline.device.type == "cpu" else len(result.tokens))
    return torch.cat([pipeline.decode(part, n_samples) for part in parts]).cpu().numpy(), result


def within_full_scale(waves: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return recordings (b, t), those beyond full scale attenuated as a whole, and the gain of each in dB."""
    gains = np.minimum(1.0, _PEAK / np.abs(waves).max(axis=1).clip(min=_PEAK))
    return (waves * gains[:, None]).astype(np.float32), [round(float(20 * np.log10(gain)), 2) for gain in gains]
