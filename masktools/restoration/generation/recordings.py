"""Generation from a prompt, or unconditional; and recordings rebuilt from coarse scales, or with other detail."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from masktools.core.arguments import check_within, checked_call, checked_real, checked_whole, shown
from masktools.core.errors import ParameterError
from masktools.core.settings import MAX_SECONDS, PromptSettings, VariationSettings
from masktools.core.shapes import Tokens
from masktools.io import resample, resample_to
from masktools.networks.conditioning import Prompts
from masktools.pipeline import Progress, Walk, share_of
from masktools.pipeline.hub import check_job, models_for, plan_for
from masktools.restoration.band_level import peak_gain
from masktools.solver import Plan, StepTrace, candidate_seeds, item_seeds, plan_value

MAX_RECORDINGS = 100_000  # of one call, which keeps them all in memory
_PEAK = 0.99  # of full scale, for recordings that would exceed it
_LIMITED = 10 ** (3 / 20)  # how far single peaks are brought down
_OVERLAP_SHARE = 26 / 53  # of a window: context of a continuation


@dataclass(frozen=True, eq=False)
class Generated:
    """Generated recordings of one length, with a report."""

    EACH: ClassVar = ("seeds", "gains_db", "similarities")  # entries of the report with a value for each recording

    samples: np.ndarray  # (n, t) float32
    sample_rate: int  # Hz
    tokens: np.ndarray  # (n, rows, columns) int64
    report: dict[str, Any]  # in JSON types


def generate(
    pipeline: Walk,
    prompts: Prompts | None = None,
    n: int = 1,
    seconds: float | None = None,
    settings: PromptSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> Generated:
    """Return n recordings for each prompt, those of the first prompt first; or n unconditional ones.

    Recordings longer than the model's window are continued: each window has half of the previous one as context.
    Shorter ones are cropped from a full window. Peaks beyond full scale are limited, by 3 dB at most; a recording with
    higher ones is attenuated as a whole, too, and the report has its gain. Of several candidates for a text, the
    nearest to it is kept, as heard by the model's text-audio encoder.

    Args:
        pipeline: the model.
        prompts: a text, texts, embeddings, or the path of a .npy file of them; None for no condition.
        n: number of recordings for each prompt, at least 1.
        seconds: length of each in seconds, in (0, 600]; a full window by default.
        settings: settings of the decoding; the same seed gives the same recordings, and the first ones do not depend on
            their number.
        progress: called with (steps done, steps in total).
        **changes: fields of ``PromptSettings`` to change.

    Raises:
        ParameterError: a number or a length out of its range, prompts that cannot be read, or candidates without a
            text or of a model that hears no sounds.

    Source: SpecMaskGIT (arXiv:2406.17672), sections 3.4 and 4.2; DALL-E (arXiv:2102.12092), section 2.6, for the
        candidates.
    """
    started, made = perf_counter(), PromptSettings.of(settings, changes)
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
    check_candidates(pipeline, condition, made.n_candidates)
    n_items = n if condition is None else len(condition)
    seeds = item_seeds(made.seed, n_items)
    parts = list[Decoded]()
    starts = range(0, n_items, pipeline.batch_size)
    for number, start in enumerate(starts):
        batch = slice(start, start + pipeline.batch_size)
        given = None if condition is None else condition[batch]
        share = share_of(progress, number, len(starts))
        parts.append(best_of(pipeline, given, seeds[batch], n_samples, solver, made.n_candidates, share))
    samples, gains_db = within_full_scale(np.concatenate([part.waves for part in parts]), rate)
    report = {
        "job": "generate",
        "model": pipeline.name,
        "seed": made.seed,
        "seeds": [seed for part in parts for seed in part.seeds],
        "n_candidates": made.n_candidates,
        "similarities": [value for part in parts for value in part.similarities],
        "prompted": condition is not None,
        "seconds": n_samples / rate,
        "n_steps": plan_value(solver, "n_steps"),
        "guidance": plan_value(solver, "guidance") if condition is not None else 0.0,
        "temperature": plan_value(solver, "temperature"),
        "gains_db": gains_db,
        "n_forwards": sum(record.forwards for part in parts for record in part.trace),
        "timings": {
            "solve_s": round(sum(record.seconds for part in parts for record in part.trace), 3),
            "total_s": round(perf_counter() - started, 3),
        },
    }
    return Generated(samples, rate, np.concatenate([part.tokens for part in parts]), report)


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


def check_candidates(pipeline: Walk, condition: Tensor | None, n: int) -> None:
    """Raise, before any work, where the best of several candidates cannot be told.

    Raises:
        ParameterError: candidates without a text, or of a model that hears no sounds.
    """
    if n == 1:
        return
    if condition is None:
        raise ParameterError(f"n_candidates must be 1 without a text, got {n}: candidates are compared with it")
    pipeline.similarity(torch.zeros(1, pipeline.sample_rate, device=pipeline.device), condition[:1])


@dataclass(frozen=True, eq=False)
class Decoded:
    """Recordings as the vocoder gives them, with what they were made of."""

    waves: np.ndarray  # (b, t) float32
    tokens: np.ndarray  # (b, rows, columns) int64
    seeds: list[int]
    trace: tuple[StepTrace, ...]  # of all decodings
    similarities: list[float] = field(default_factory=list)  # to the texts, if there were candidates


def best_of(
    pipeline: Walk,
    condition: Tensor | None,
    seeds: Sequence[int],
    n_samples: int,
    solver: Plan,
    n_candidates: int = 1,
    progress: Progress | None = None,
) -> Decoded:
    """Return one recording for each seed: of its candidates, the one nearest to its condition.

    The first candidate is what one alone would be. Candidates are computed ``batch_size`` at once.

    Args:
        pipeline: the model.
        condition: one condition for each recording, or None.
        seeds: one seed for each recording.
        n_samples: length of each recording.
        solver: settings of the decoding.
        n_candidates: candidates for each recording; 1 without a condition.
        progress: called with (steps done, steps in total).
    """
    if condition is None or n_candidates == 1:
        return _decoded(pipeline, condition, seeds, n_samples, solver, progress)
    everyone = [one for seed in seeds for one in candidate_seeds(seed, n_candidates)]
    conditions = condition.repeat_interleave(n_candidates, dim=0)
    starts = range(0, len(everyone), pipeline.batch_size)
    parts, near = list[Decoded](), list[Tensor]()
    for number, start in enumerate(starts):
        batch = slice(start, start + pipeline.batch_size)
        wanted, share = conditions[batch], share_of(progress, number, len(starts))
        parts.append(_decoded(pipeline, wanted, everyone[batch], n_samples, solver, share))
        near.append(pipeline.similarity(torch.from_numpy(parts[-1].waves).to(pipeline.device), wanted))
    similarities = torch.cat(near).cpu().view(len(seeds), n_candidates)
    best = [n_candidates * place + int(which) for place, which in enumerate(similarities.argmax(dim=1))]
    return Decoded(
        np.concatenate([part.waves for part in parts])[best],
        np.concatenate([part.tokens for part in parts])[best],
        [everyone[place] for place in best],
        tuple(record for part in parts for record in part.trace),
        [round(value, 4) for value in similarities.amax(dim=1).tolist()],
    )


def _decoded(
    pipeline: Walk,
    condition: Tensor | None,
    seeds: Sequence[int],
    n_samples: int,
    solver: Plan,
    progress: Progress | None = None,
) -> Decoded:
    """Return a recording for each seed; a CPU renders them one by one, as a batch would change their last digits."""
    n_cols = max(pipeline.window_cols, pipeline.grid.n_columns(n_samples))
    mask = torch.ones(len(seeds), pipeline.shape.n_rows, n_cols, dtype=torch.bool)
    overlap = round(pipeline.window_cols * _OVERLAP_SHARE)
    tokens = torch.zeros_like(mask, dtype=torch.int64)
    result = pipeline.fill(tokens, mask, seeds, solver, condition, overlap, progress)
    parts = result.tokens.split(1 if pipeline.device.type == "cpu" else len(result.tokens))
    waves = torch.cat([pipeline.decode(part, n_samples) for part in parts]).cpu().numpy()
    return Decoded(waves, result.tokens.cpu().numpy(), list(seeds), result.trace)


def within_full_scale(waves: np.ndarray, sample_rate: int) -> tuple[np.ndarray, list[float]]:
    """Return recordings (b, t) within full scale, and the gain of each as a whole in dB.

    Peaks are limited by 3 dB at most. What has higher ones is attenuated as a whole: a few peaks would otherwise make
    all of a recording quiet.
    """
    gains = np.minimum(1.0, _PEAK * _LIMITED / np.abs(waves).max(axis=1).clip(min=_PEAK * _LIMITED))
    whole = waves * gains[:, None]
    made = [
        one if np.abs(one).max() <= _PEAK else one * peak_gain(np.zeros((1, one.size)), one[None] / _PEAK, sample_rate)
        for one in whole
    ]
    return np.array(made, np.float32), [round(float(20 * np.log10(gain)), 2) for gain in gains]


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
    resampled = resample_to(wave, pipeline.sample_rate, sample_rate, recording.shape[1])
    return within_full_scale(resampled, sample_rate)[0]
