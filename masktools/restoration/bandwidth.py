"""Bandwidth extension: what a recording lacks above a cutoff is generated; what it has below stays as it was."""

from math import ceil
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from masktools.classical import BAND_FILLS
from masktools.conditioning import Prompts
from masktools.errors import ParameterError, unknown_name
from masktools.grid import GridMask
from masktools.io import resample_to
from masktools.mel import mel_edges_hz, mel_to_db
from masktools.pipeline import Pipeline, Progress, keep_known
from masktools.restoration.restored import CHANNELS, Restored
from masktools.restoration.splice import MATCHED_BAND, MAX_GAIN_DB, SMOOTHING_S, band_gain, high_pass, loudness_gate
from masktools.restoration.texture import TEXTURES, Texture, band_gains_db, shape
from masktools.shapes import Condition, Mel, Wave
from masktools.solver import SolverConfig, SolveResult, derive_seed

__all__ = ["bwe", "cutoff_limits_hz"]

_HIGHEST_SHARE = 0.86  # of the model's band: above it there is next to nothing left to add
_OVERLAP_SHARE = 13 / 53  # of a window: what the next one knows
_N_BINS = 4  # over which the generated spectrum leaves the original


def cutoff_limits_hz(pipeline: Pipeline) -> tuple[float, float]:
    """Return the lowest and the highest cutoff that a model can work with.

    It must hear its lowest row of tokens at least, and have something left to add.
    """
    return pipeline.grid.row_edges_hz[1], _HIGHEST_SHARE * pipeline.mel.f_max


def bwe(
    pipeline: Pipeline,
    samples: np.ndarray,
    sample_rate: int,
    cutoff_hz: float,
    *,
    lfr: bool = True,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = "linked",
    texture: str = "model",
    leak_free: bool = True,
    progress: Progress | None = None,
) -> Restored:
    """Return a band-limited recording with its missing band added.

    A recording of a lower rate than the model's comes back at the model's rate; any other keeps its own, and
    what it has above the model's band.

    Args:
        pipeline: the model.
        samples: (channels, t), full scale 1, of any rate and length.
        sample_rate: in Hz.
        cutoff_hz: where the recording's own band ends. Every row of tokens that reaches above it is generated.
        lfr: low-frequency replacement: the original plus what was generated above the cutoff. Without it the
            model's version of everything is returned.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what the recording is of; without one the known band alone decides, as in the paper.
        channels: ``linked`` decodes all channels with the same random numbers, ``independent`` each with its own.
        texture: what the added band is made of in detail, one of ``TEXTURES``; without ``lfr`` always the model's.
        leak_free: False computes the known tokens from the recording as it is, whatever it has above the cutoff.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: a cutoff outside what the recording or the model has, several prompts, or an unknown name.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3; the replacement is additive (no filter on the original).
    """
    started = perf_counter()
    if channels not in CHANNELS:
        raise unknown_name("channels", channels, CHANNELS)
    if texture not in TEXTURES:
        raise unknown_name("texture", texture, TEXTURES)
    _check_cutoff(pipeline, cutoff_hz, sample_rate)
    condition = pipeline.condition(prompt)
    if condition is not None and len(condition) != 1:
        raise ParameterError(f"a recording is extended by one prompt at most, got {len(condition)}")
    n_samples, rate = samples.shape[1], pipeline.sample_rate
    output_rate = max(sample_rate, rate)
    distinct, sources = _distinct_channels(samples, linked=channels == "linked")
    seeds = [derive_seed(seed, 0) if channels == "linked" else derive_seed(seed, source) for source in sources]

    n_model = ceil(n_samples * rate / sample_rate)
    known = resample_to(samples[sources], sample_rate, rate, n_model)
    wave, mel, result = _extended(
        pipeline,
        torch.from_numpy(known),
        cutoff_hz,
        seeds,
        solver,
        None if condition is None else condition.expand(len(known), -1),
        put_back=lfr,
        leak_free=leak_free,
        progress=progress,
    )
    n_output = n_samples if output_rate == sample_rate else round(n_samples * rate / sample_rate)
    original = samples if output_rate == sample_rate else resample_to(samples, sample_rate, rate, n_output)
    added = np.empty((len(known), n_output), np.float32)
    made_of = TEXTURES[texture] if lfr else None
    for row, own, rendered, shape_of in zip(added, known, wave.cpu().numpy(), mel.cpu().numpy(), strict=True):
        if made_of is None:
            generated = rendered * band_gain(own, rendered, rate, cutoff_hz)
        else:
            generated = _shaped(pipeline, made_of, own, shape_of, cutoff_hz, seed)
        levelled = generated * loudness_gate(own)
        row[:] = resample_to(high_pass(levelled, rate, cutoff_hz) if lfr else levelled, rate, output_rate, n_output)
    extended = original + added[distinct] if lfr else added[distinct].astype(original.dtype)
    report = {
        "job": "bwe",
        "model": pipeline.name,
        "seed": seed,
        "prompted": condition is not None,
        "cutoff_hz": float(cutoff_hz),
        "lfr": lfr,
        "texture": texture,
        "leak_free": leak_free,
        "rows_generated": [
            row for row in range(pipeline.grid.n_rows) if pipeline.grid.row_edges_hz[row + 1] > cutoff_hz
        ],
        "top_hz": pipeline.mel.f_max,
        "n_steps": solver.n_steps,
        "n_forwards": result.n_forwards,
        "sample_rate": output_rate,
        "timings": {
            "solve_s": round(sum(record.seconds for record in result.trace), 3),
            "total_s": round(perf_counter() - started, 3),
        },
    }
    return Restored(extended, output_rate, report)


def _check_cutoff(pipeline: Pipeline, cutoff_hz: float, sample_rate: int) -> None:
    if not 0 < cutoff_hz <= sample_rate / 2:
        raise ParameterError(
            f"cutoff must lie in (0, {sample_rate / 2:g}] Hz, half the recording's sample rate, got {cutoff_hz:g} Hz"
        )
    lowest, highest = cutoff_limits_hz(pipeline)
    if cutoff_hz > highest:
        raise ParameterError(
            f"cutoff must be at most {highest:.0f} Hz, got {cutoff_hz:g} Hz: this model's band ends at "
            f"{pipeline.mel.f_max:g} Hz, so that it has next to nothing to add to such a recording"
        )
    if cutoff_hz < lowest:
        raise ParameterError(
            f"cutoff must be at least {lowest:.0f} Hz, got {cutoff_hz:g} Hz: below it this model hears nothing "
            "that it could extend"
        )


def _distinct_channels(samples: np.ndarray, linked: bool) -> tuple[list[int], list[int]]:
    """Return for each channel its place among those that differ, and the first channel at each place."""
    sources: list[int] = []
    places: list[int] = []
    for channel, wave in enumerate(samples):
        twin = next((n for n, source in enumerate(sources) if linked and np.array_equal(samples[source], wave)), None)
        if twin is None:
            sources.append(channel)
        places.append(len(sources) - 1 if twin is None else twin)
    return places, sources


def _extended(
    pipeline: Pipeline,
    wave: Wave,
    cutoff_hz: float,
    seeds: list[int],
    solver: SolverConfig,
    condition: Condition | None,
    put_back: bool,
    leak_free: bool,
    progress: Progress | None,
) -> tuple[Wave, Mel, SolveResult]:
    """Return waves and mels with everything above the cutoff generated, at the model's rate: one call of the solver."""
    mel = pipeline.to_mel(wave)
    n_cols = mel.shape[-1] // pipeline.grid.patch_frames
    above = GridMask.band(pipeline.grid, n_cols, cutoff_hz, pipeline.mel.f_max).tensor
    mask = above.expand(len(mel), -1, -1).to(mel.device)
    tokens = pipeline.tokenise(pipeline.erase(mel, mask) if leak_free else mel)
    overlap = round(pipeline.window_cols * _OVERLAP_SHARE)
    result = pipeline.fill(tokens, mask, seeds, solver, condition, overlap, progress)
    generated = pipeline.to_mel_from(result.tokens)
    if put_back:
        generated = _put_back(pipeline, generated, mel, cutoff_hz)
    return pipeline.render(generated)[:, : wave.shape[1]], generated, result


def _shaped(
    pipeline: Pipeline, texture: Texture, known: np.ndarray, mel: np.ndarray, cutoff_hz: float, seed: int
) -> np.ndarray:
    """Return a wave (t,) with a classical method's band above the cutoff, brought towards the model's mel (f, m)."""
    rate = pipeline.sample_rate
    top_hz = min(pipeline.mel.f_max, 0.5 * rate)
    grain = BAND_FILLS[texture.band](known[None], rate, cutoff_hz, top_hz, seed)[0].astype(np.float32)
    present = pipeline.to_mel(torch.from_numpy(grain)[None])[0].cpu().numpy()
    n_frames = min(present.shape[1], mel.shape[1])
    gains_db = band_gains_db(mel[:, :n_frames], present[:, :n_frames], pipeline.mel, texture.share)
    return shape(grain, rate, gains_db, pipeline.mel)


def _put_back(pipeline: Pipeline, generated: Mel, original: Mel, cutoff_hz: float) -> Mel:
    """Return the generated spectrogram, levelled, with the original's bins wherever they lie below the cutoff."""
    edges_hz = torch.from_numpy(mel_edges_hz(pipeline.mel).copy()).to(original.device)
    levelled = generated + _level_offset(pipeline, generated, original, edges_hz[1:-1], cutoff_hz)
    unknown = (edges_hz[2:] > cutoff_hz)[None, :, None].expand_as(original)
    return keep_known(levelled, original, unknown, n_frames=0, n_bins=_N_BINS)


def _level_offset(
    pipeline: Pipeline, generated: Mel, original: Mel, centres_hz: Tensor, cutoff_hz: float
) -> Float[Tensor, "b 1 m"]:
    """Return what to add to the generated spectrogram so that it is as loud as the original just below the cutoff.

    The row of tokens that the cutoff runs through is generated as a whole: its lower part tells how loud the model
    takes the missing band to be, and how loud it should. Powers are averaged over a second, and moved by 6 dB at most.
    """
    low, high = (share * cutoff_hz for share in MATCHED_BAND)
    band = (centres_hz >= low) & (centres_hz <= high)
    if not band.any():
        return torch.zeros_like(original[:, :1])
    n_frames = round(SMOOTHING_S * pipeline.sample_rate / pipeline.mel.hop_length) | 1
    wanted, got = (
        F.avg_pool1d(
            (10 ** (mel_to_db(mel[:, band], pipeline.mel) / 10)).mean(dim=1, keepdim=True),
            n_frames,
            stride=1,
            padding=n_frames // 2,
            count_include_pad=False,
        )
        for mel in (original, generated)
    )
    gain_db = (10 * (wanted / got).log10()).clamp(-MAX_GAIN_DB, MAX_GAIN_DB)
    return gain_db * (2.0 / (pipeline.mel.db_max - pipeline.mel.db_min))
