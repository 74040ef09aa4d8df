"""Recordings from coarse to fine, by models over scales: rebuilt from coarse scales, or with other detail."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.core.settings import VariationSettings
from masktools.core.shapes import Tokens
from masktools.io import resample, resample_to
from masktools.pipeline import Progress, share_of
from masktools.pipeline.hub import check_job, plan_for
from masktools.restoration.generation.recordings import within_full_scale
from masktools.solver import item_seeds


@dataclass(frozen=True, eq=False)
class Variations:
    """Versions of a recording, all of its rate and length, with a report."""

    samples: list[np.ndarray]  # (channels, t) float32 of each
    report: dict[str, Any]  # in JSON types


def coarsen(pipeline: Any, recording: np.ndarray, sample_rate: int, n_scales: int) -> Variations:
    """Return a recording as rebuilt by the model from its coarsest scales.

    Args:
        pipeline: a model over scales.
        recording: (channels, t), finite.
        sample_rate: sampling rate of the recording in Hz.
        n_scales: number of scales that are used, 1 to all.

    Raises:
        ParameterError: a model without scales, or with fewer.
    """
    check_job(pipeline, "coarsen")
    tokens = _encoded(pipeline, recording, sample_rate)
    made = _rendered(pipeline, tokens, recording, sample_rate, n_scales)
    kept = [f"{rows}x{cols}" for rows, cols in pipeline.pyramid.scales[:n_scales]]
    return Variations([made], {"job": "coarsen", "model": pipeline.name, "scales": kept})


def refinements(pipeline: Any, recording: np.ndarray, sample_rate: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the spectrogram (f, m) of a recording's first channel, and those from one scale, from two, and so on.

    Args:
        pipeline: a model over scales.
        recording: (channels, t), finite.
        sample_rate: sampling rate of the recording in Hz.

    Raises:
        ParameterError: a model without scales.
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
    """Return n variations of a recording with its coarse scales and redrawn finer ones.

    Channels share their random numbers.

    Args:
        pipeline: a model over scales.
        recording: (channels, t), finite.
        sample_rate: sampling rate of the recording in Hz.
        n: number of variations, at least 1; the first ones do not depend on it.
        settings: number of scales that are kept, 0 to all but one, and decoding of the others.
        progress: called with (steps done, steps in total).

    Raises:
        ParameterError: a model without scales, or with fewer.
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
