"""Audio from a description or from nothing; of a recording's coarse scales alone, or with other detail."""

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
from masktools.core.settings import MAX_SECONDS, DecodingSettings, VariationSettings
from masktools.core.shapes import Tokens
from masktools.io import resample, resample_to
from masktools.networks.conditioning import Prompts
from masktools.pipeline import Progress, Walk, share_of
from masktools.pipeline.hub import check_job, models_for, plan_for
from masktools.solver import Plan, SolveResult, item_seeds, plan_value

MAX_RECORDINGS = 100_000  # of one call, which holds them all
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
    pipeline: Walk,
    prompts: Prompts | None = None,
    n: int = 1,
    seconds: float | None = None,
    settings: DecodingSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
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
        settings: of the decoding; the same seed gives the same recordings, and the first ones stay the same if more
            are asked for.
        progress: called with (steps done, steps in all).
        **changes: fields of ``DecodingSettings`` that are to be otherwise.

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
    """Return how many samples so many seconds are; those of a full window for None.

    Raises:
        ParameterError: a length out of (0, 600] s, or longer than a window of a model that cannot go on.
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
    """Return the conditions of texts, each read by itself.

    Read together they differ in the last digit from what each is alone, and one token drawn otherwise is another sound.

    Raises:
        ParameterError: a text that the model cannot read.
    """
    each = {text: cast(Tensor, pipeline.condition([text])) for text in dict.fromkeys(texts)}
    if next(iter(each.values())).ndim > 2:  # texts of several states: what a shorter one lacks is zeros
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
    """Return recordings (b, t) as they come out of the vocoder, and how they were decoded.

    A CPU renders them one by one: a batch is no faster there, and would change their last digits.

    Args:
        pipeline: the model.
        condition: one for each recording, or None.
        seeds: one for each recording.
        n_samples: length of each.
        solver: settings of the decoding.
        progress: called with (steps done, steps in all).
    """
    n_cols = max(pipeline.window_cols, pipeline.grid.n_columns(n_samples))
    mask = torch.ones(len(seeds), pipeline.shape.n_rows, n_cols, dtype=torch.bool)
    overlap = round(pipeline.window_cols * _OVERLAP_SHARE)
    tokens = torch.zeros_like(mask, dtype=torch.int64)
    result = pipeline.fill(tokens, mask, seeds, solver, condition, overlap, progress)
    parts = result.tokens.split(1 if pipeline.device.type == "cpu" else len(result.tokens))
    return torch.cat([pipeline.decode(part, n_samples) for part in parts]).cpu().numpy(), result


def within_full_scale(waves: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return recordings (b, t), those beyond full scale made quieter as a whole, and the gain of each in dB."""
    gains = np.minimum(1.0, _PEAK / np.abs(waves).max(axis=1).clip(min=_PEAK))
    return (waves * gains[:, None]).astype(np.float32), [round(float(20 * np.log10(gain)), 2) for gain in gains]


@dataclass(frozen=True, eq=False)
class Variations:
    """Versions of a recording, all of its rate and length, and how they were made."""

    samples: list[np.ndarray]  # (channels, t) float32 of each
    report: dict[str, Any]  # what JSON has


def coarsen(pipeline: Any, recording: np.ndarray, sample_rate: int, n_scales: int) -> Variations:
    """Return a recording as the model rebuilds it of its coarsest scales.

    Args:
        pipeline: the model, one over scales.
        recording: (channels, t), finite.
        sample_rate: of it, in Hz.
        n_scales: that it is made of, 1 to all.

    Raises:
        ParameterError: a model that has no scales, or not so many.
    """
    check_job(pipeline, "coarsen")
    tokens = _encoded(pipeline, recording, sample_rate)
    made = _rendered(pipeline, tokens, recording, sample_rate, n_scales)
    kept = [f"{rows}x{cols}" for rows, cols in pipeline.pyramid.scales[:n_scales]]
    return Variations([made], {"job": "coarsen", "model": pipeline.name, "scales": kept})


def refinements(pipeline: Any, recording: np.ndarray, sample_rate: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the spectrogram (f, m) of a recording's first channel, and those of one scale, of two, and so on.

    Args:
        pipeline: the model, one over scales.
        recording: (channels, t), finite.
        sample_rate: of it, in Hz.

    Raises:
        ParameterError: a model that has no scales.
    """
    check_job(pipeline, "coarsen")
    wave = _at_rate(pipeline, recording[:1], sample_rate)
    tokens, mel = pipeline.encode(wave), pipeline.to_mel(wave)[0]
    made = [pipeline.to_spectrogram(tokens, n + 1)[0, :, : mel.shape[1]] for n in range(len(pipeline.pyramid))]
    return mel.cpu().numpy(), [one.cpu().numpy() for one in made]


def vary(
    pipeline: Any,
    recording: np.ndarray,
    sample_rate: int,
    n: int,
    settings: VariationSettings,
    progress: Progress | None = None,
) -> Variations:
    """Return n versions of a recording whose coarse scales are its own and whose finer ones are drawn: other detail.

    Channels are drawn with the same random numbers.

    Args:
        pipeline: the model, one over scales.
        recording: (channels, t), finite.
        sample_rate: of it, in Hz.
        n: versions, at least 1; the first ones stay the same if more are asked for.
        settings: which scales stay, 0 to all but one, and how the others are drawn.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: a model that has no scales, or not so many.
    """
    check_job(pipeline, "vary")
    solver, keep = plan_for(pipeline, "generate", settings), settings.keep
    tokens = _encoded(pipeline, recording, sample_rate)
    mask = pipeline.finer_than(keep, tokens)
    condition = pipeline.condition(settings.prompt)
    if condition is not None:
        if len(condition) != 1:
            raise ParameterError(f"prompt must be one text or one vector, got {len(condition)}")
        condition = condition.expand(len(tokens), -1)
    seeds, made = item_seeds(settings.seed, n), list[np.ndarray]()
    for number, own in enumerate(seeds):
        told = share_of(progress, number, n)
        drawn = pipeline.fill(tokens, mask, [own] * len(tokens), solver, condition, progress=told)
        made.append(_rendered(pipeline, drawn.tokens, recording, sample_rate))
    kept = [f"{rows}x{cols}" for rows, cols in pipeline.pyramid.scales[:keep]]
    return Variations(
        made,
        {
            "job": "vary",
            "model": pipeline.name,
            "seed": settings.seed,
            "seeds": seeds,
            "kept_scales": kept,
            "prompted": condition is not None,
        },
    )


def _at_rate(pipeline: Any, recording: np.ndarray, sample_rate: int) -> Tensor:
    wave = resample(recording, sample_rate, pipeline.sample_rate)
    return torch.from_numpy(wave if wave.shape[1] else np.zeros((len(recording), 1), np.float32))


def _encoded(pipeline: Any, recording: np.ndarray, sample_rate: int) -> Tokens:
    return pipeline.encode(_at_rate(pipeline, recording, sample_rate))


def _rendered(
    pipeline: Any, tokens: Tokens, recording: np.ndarray, sample_rate: int, n_scales: int | None = None
) -> np.ndarray:
    """Return the waves (channels, t) of tokens, of the recording's rate and length, within full scale."""
    wave = pipeline.decode(tokens, n_scales=n_scales).cpu().numpy()
    return within_full_scale(resample_to(wave, pipeline.sample_rate, sample_rate, recording.shape[1]))[0]
