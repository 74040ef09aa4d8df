"""Rendering: mel -> tokens -> solver -> tokens -> mel -> wave, for windows with unknown parts.

``fill_mel`` is the only call of the model in jobs: gaps, regions and bands differ in the unknown part, and in the
transition from known to generated at its border.

A texture replaces the vocoder. The model determines the level of each band over time; the fine structure,
harmonics and grain, is made from the recording by a method of ``classical``, and then equalised band by
band: a vocoder does not know a recording's own grain, and a classical method does not know the missing levels. Where
both have an estimate of the level, the mean of them in dB is nearer to the truth than either, as long as their errors
have little correlation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter
from torch import Tensor

from masktools.classical.spans import shaped
from masktools.core.settings import RestorationSettings
from masktools.core.shapes import Mask, Mel, Tokens, Wave
from masktools.io import resample_to
from masktools.mel import MelConfig, mel_edges_hz
from masktools.pipeline import Progress, Walk, keep_known
from masktools.pipeline.hub import plan_for
from masktools.restoration.recordings import one_condition
from masktools.solver import Plan, SolverConfig

Filled = tuple[Float[Tensor, "b n"], Mel, Mel, Mel]
"""Waves for windows, at the model's rate, and the mel spectrograms of a ``Rendering``."""

MAX_SHAPING_DB = 12.0  # in either direction
SMOOTHING = (1.0, 3.0)  # standard deviations, in bands and in frames
OVERLAP_SHARE = 22 / 53  # of a window, whose tokens are known in the next, where the unknown part is longer than one


@dataclass(eq=False)
class Decoder:
    """A model with its decoding settings; it counts calls."""

    model: Any  # a Walk; None as long as nothing needs it
    plan: Plan
    condition: Tensor | None = None  # (1, ...) condition; None for none
    n_forwards: int = 0
    solve_s: float = 0.0

    @classmethod
    def of(cls, model: Walk | None, job: str, settings: RestorationSettings, done: str) -> "Decoder":
        """Return a model, or none, with decoding settings.

        Args:
            model: the model; None as long as nothing needs it.
            job: name of the job, one of ``hub.DECODINGS``.
            settings: settings of the job.
            done: description of the job, for messages.

        Raises:
            ParameterError: a job that the model does not support, or a prompt that it cannot encode.
        """
        if model is None:
            return cls(None, SolverConfig())
        return cls(model, plan_for(model, job, settings), one_condition(model, settings.prompt, done))

    def fill(
        self, tokens: Tokens, mask: Mask, seeds: Sequence[int], overlap_share: float, progress: Progress | None
    ) -> Tokens:
        """Return tokens with all masked ones filled, by one call of the solver."""
        given = None if self.condition is None else self.condition.expand(len(tokens), *self.condition.shape[1:])
        overlap = round(self.model.window_cols * overlap_share)
        result = self.model.fill(tokens, mask, seeds, self.plan, given, overlap, progress)
        self.n_forwards += result.n_forwards
        self.solve_s += sum(record.seconds for record in result.trace)
        return result.tokens


@dataclass(frozen=True, eq=False)
class Unknown:
    """The unknown part of windows, and the transition from known to generated."""

    masks: Callable[[int], tuple[Mask, Bool[Tensor, "b f m"]]]  # from n_frames to those of tokens and mel cells
    n_cols: int | None = None  # of the windows; None: as many as they overlap
    erase: bool = True  # whether cells of unknown tokens are silenced before tokenisation
    border: tuple[int, int] = (3, 0)  # frames and mel bins of the transition
    overlap_share: float = OVERLAP_SHARE
    recall: Callable[[Tokens, Mask], tuple[Tokens, Mask]] | None = None  # inserts tokens that were decided before
    level: Callable[[Mel, Mel], Mel] | None = None  # matches the level of generated to known cells


class FilledMel(NamedTuple):
    """Mel spectrograms (b, f, m) of windows with all unknown parts filled."""

    tokens: Tokens
    known: Mel  # of the input
    said: Mel  # decoded from tokens, known cells too
    filled: Mel  # with the known cells of the input
    deep: Mel  # the same with grain, and with the vocoder's full range of levels: to be rendered


def fill_mel(
    decoder: Decoder, wave: Wave, unknown: Unknown, seeds: Sequence[int], progress: Progress | None = None
) -> FilledMel:
    """Return the mel spectrograms of waves (b, t) at the model's rate with the unknown parts filled."""
    model = decoder.model
    mel = model.to_mel(wave)
    if unknown.n_cols is not None:
        mel = mel[..., : unknown.n_cols * model.grid.patch_frames]
    mask, cells = (part.to(mel.device) for part in unknown.masks(mel.shape[-1]))
    tokens = model.tokenise(model.erase(mel, mask) if unknown.erase else mel)
    if unknown.recall is not None:
        tokens, mask = unknown.recall(tokens, mask)
    tokens = decoder.fill(tokens, mask, seeds, unknown.overlap_share, progress)
    said = model.to_mel_from(tokens)
    levelled = said if unknown.level is None else unknown.level(said, mel)
    filled = keep_known(levelled, mel, cells, *unknown.border)
    grained = model.grained(filled).where(cells, filled)
    return FilledMel(tokens, mel, said, filled, model.deepened(grained, wave, cells))


class Rendering(NamedTuple):
    """The model's output for one window of one voice."""

    wave: np.ndarray  # (t,) at the recording's rate
    mel: np.ndarray  # (f, m) input of the vocoder: known cells are the recording's own
    said: np.ndarray  # (f, m) decoded from tokens, known cells too
    known: np.ndarray  # (f, m) of the recording


def render_windows(
    model: Walk,
    windows: Sequence[np.ndarray],
    sample_rate: int,
    fill: Callable[[Wave], Filled],
) -> list[Rendering]:
    """Inpaint windows (t,) of a recording: resample to the model's rate, fill, and resample back.

    Args:
        model: model, for its rate.
        windows: windows, at least one.
        sample_rate: sampling rate of the recording in Hz.
        fill: function that fills waves (b, t).
    """
    rate = model.sample_rate
    lengths = [ceil(len(window) * rate / sample_rate) for window in windows]
    wave = np.zeros((len(windows), max(lengths)), np.float32)
    for row, window, n in zip(wave, windows, lengths, strict=True):
        row[:n] = resample_to(window, sample_rate, rate, n)
    arrays = zip(*(part.float().cpu().numpy() for part in fill(torch.from_numpy(wave))), strict=True)
    return [
        Rendering(resample_to(row[:n], rate, sample_rate, len(window)), *mels)
        for (row, *mels), window, n in zip(arrays, windows, lengths, strict=True)
    ]


class Texture(NamedTuple):
    """Classical methods for the detail, and the share of the way from their levels to the model's, 0 to 1."""

    gap: str  # of classical.GAP_FILLS
    band: str  # of classical.BAND_FILLS
    share: float


TEXTURES: dict[str, Texture | None] = {
    "blend": Texture("spectral_noise", "replication", 0.5),
    "recording": Texture("copy", "replication", 1.0),
    "model": None,
}
"""Textures: sources of the detail of a restored part; None is the vocoder, as in the paper."""


def shaped_by_mel(model: Walk, wave: np.ndarray, sample_rate: int, mel: np.ndarray, share: float) -> np.ndarray:
    """Return a classical method's wave (t,), float64, moved a share of the way towards the model's mel (f, m)."""
    n_model = ceil(len(wave) * model.sample_rate / sample_rate)
    given = torch.from_numpy(resample_to(wave, sample_rate, model.sample_rate, n_model))
    present = model.to_mel(given[None])[0].cpu().numpy()
    n_frames = min(present.shape[1], mel.shape[1])
    gains_db = band_gains_db(mel[:, :n_frames], present[:, :n_frames], model.mel, share)
    return shape(wave, sample_rate, gains_db, model.mel)


def band_gains_db(wanted: np.ndarray, present: np.ndarray, config: MelConfig, share: float = 1.0) -> np.ndarray:
    """Return the gains in dB, (f, m), that move a mel spectrogram towards another, smoothed and limited.

    Args:
        wanted: mel (f, m) in [-1, 1], the target.
        present: mel (f, m) of the wave to be shaped.
        config: mel settings of both.
        share: share of the way, from 0 (unchanged) to 1.
    """
    per_unit = (config.db_max - config.db_min) / 2.0
    difference = (wanted.astype(np.float64) - present.astype(np.float64)) * per_unit
    return share * gaussian_filter(np.clip(difference, -MAX_SHAPING_DB, MAX_SHAPING_DB), SMOOTHING)


def shape(samples: np.ndarray, sample_rate: int, gains_db: np.ndarray, config: MelConfig) -> np.ndarray:
    """Return samples (t,), float64, equalised by ``gains_db`` (f, m), at any sample rate.

    Frame m of the gains is centred where the mel front end centres it; between bands and frames the
    gains are interpolated in dB. Frequencies above the highest band have its gain.
    """
    centres_hz = mel_edges_hz(config)[1:-1]
    frames_s = (np.arange(gains_db.shape[1]) + 0.5) * config.hop_length / config.sample_rate
    return shaped(samples, sample_rate, gains_db, centres_hz, frames_s, config.n_fft / config.sample_rate)
