"""Rendering: mel -> tokens -> solver -> tokens -> mel -> wave, for windows in which something is unknown.

``fill_mel`` is the one place where a job asks the model: gaps, regions and bands differ in what is unknown, and in how
the known goes over into the generated at its border.

A texture takes the place of the vocoder. The model says how loud each band is at each moment; what fills it in detail,
harmonics and grain, is made from the recording by a method of ``classical``, and then made louder and quieter band by
band: a vocoder cannot know a recording's own grain, and a classical method cannot know what was there. Where both have
an estimate of the level, half way between them in dB is nearer to the truth than either, as long as their errors have
little in common.
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
"""Waves that fill windows, at the model's rate, and the mel spectrograms of a ``Rendering``."""

MAX_SHAPING_DB = 12.0  # either way
SMOOTHING = (1.0, 3.0)  # standard deviations, in bands and in frames
OVERLAP_SHARE = 22 / 53  # of a window: what the next one knows, where something unknown takes several


@dataclass(eq=False)
class Decoder:
    """A model with the settings of its decoding; it counts what it is asked."""

    model: Any  # a Walk; None as long as nothing is left to it
    plan: Plan
    condition: Tensor | None = None  # what to hear, (1, ...); None for anything
    n_forwards: int = 0
    solve_s: float = 0.0

    @classmethod
    def of(cls, model: Walk | None, job: str, settings: RestorationSettings, done: str) -> "Decoder":
        """Return a model, or none, that decodes as settings say.

        Args:
            model: the model; None as long as nothing is left to it.
            job: what for, one of ``hub.DECODINGS``.
            settings: of the job.
            done: what is done to the recording, for messages.

        Raises:
            ParameterError: what the model cannot do, or a prompt that it cannot read.
        """
        if model is None:
            return cls(None, SolverConfig())
        return cls(model, plan_for(model, job, settings), one_condition(model, settings.prompt, done))

    def fill(
        self, tokens: Tokens, mask: Mask, seeds: Sequence[int], overlap_share: float, progress: Progress | None
    ) -> Tokens:
        """Return tokens without masked ones, by one call of the solver."""
        given = None if self.condition is None else self.condition.expand(len(tokens), *self.condition.shape[1:])
        overlap = round(self.model.window_cols * overlap_share)
        result = self.model.fill(tokens, mask, seeds, self.plan, given, overlap, progress)
        self.n_forwards += result.n_forwards
        self.solve_s += sum(record.seconds for record in result.trace)
        return result.tokens


@dataclass(frozen=True, eq=False)
class Unknown:
    """What is unknown in windows, and how the known goes over into what is generated."""

    masks: Callable[[int], tuple[Mask, Bool[Tensor, "b f m"]]]  # for a number of frames: tokens and mel cells
    n_cols: int | None = None  # of the windows; None: as many as they reach into
    erase: bool = True  # whether unknown tokens' cells are silenced before anything is tokenised
    border: tuple[int, int] = (3, 0)  # frames and mel bins over which the known fades into the unknown
    overlap_share: float = OVERLAP_SHARE
    recall: Callable[[Tokens, Mask], tuple[Tokens, Mask]] | None = None  # puts in tokens that were decided before
    level: Callable[[Mel, Mel], Mel] | None = None  # makes the generated as loud as the known


class FilledMel(NamedTuple):
    """Mel spectrograms (b, f, m) of windows in which nothing is unknown any more."""

    tokens: Tokens
    known: Mel  # of what was given
    said: Mel  # as the tokens say, known cells too
    filled: Mel  # known cells are those of what was given
    deep: Mel  # the same, as far down as the vocoder can tell: what is to be rendered


def fill_mel(
    decoder: Decoder, wave: Wave, unknown: Unknown, seeds: Sequence[int], progress: Progress | None = None
) -> FilledMel:
    """Return the mel spectrograms of waves (b, t) at the model's rate with what is unknown filled."""
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
    return FilledMel(tokens, mel, said, filled, model.deepened(filled, wave, cells))


class Rendering(NamedTuple):
    """What the model made of one window of one voice."""

    wave: np.ndarray  # (t,) at the recording's rate
    mel: np.ndarray  # (f, m) it was rendered from: known cells are the recording's own
    said: np.ndarray  # (f, m) as the tokens say, known cells too
    known: np.ndarray  # (f, m) of the recording


def render_windows(
    model: Walk,
    windows: Sequence[np.ndarray],
    sample_rate: int,
    fill: Callable[[Wave], Filled],
) -> list[Rendering]:
    """Return what is made of windows (t,) of a recording: resampled to the model's rate, filled, and back.

    Args:
        model: whose rate it is.
        windows: at least one.
        sample_rate: of the recording, in Hz.
        fill: makes of waves (b, t) what fills them.
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
    """Which classical methods make the detail, and how far its level goes from theirs to the model's, 0 to 1."""

    gap: str  # of classical.GAP_FILLS
    band: str  # of classical.BAND_FILLS
    share: float


TEXTURES: dict[str, Texture | None] = {
    "blend": Texture("spectral_noise", "replication", 0.5),
    "recording": Texture("copy", "replication", 1.0),
    "model": None,
}
"""What the detail of a restored part is made of; None is the vocoder throughout, as in the paper."""


def shaped_by_mel(model: Walk, wave: np.ndarray, sample_rate: int, mel: np.ndarray, share: float) -> np.ndarray:
    """Return a classical method's wave (t,), float64, brought a share of the way towards the model's mel (f, m)."""
    n_model = ceil(len(wave) * model.sample_rate / sample_rate)
    given = torch.from_numpy(resample_to(wave, sample_rate, model.sample_rate, n_model))
    present = model.to_mel(given[None])[0].cpu().numpy()
    n_frames = min(present.shape[1], mel.shape[1])
    gains_db = band_gains_db(mel[:, :n_frames], present[:, :n_frames], model.mel, share)
    return shape(wave, sample_rate, gains_db, model.mel)


def band_gains_db(wanted: np.ndarray, present: np.ndarray, config: MelConfig, share: float = 1.0) -> np.ndarray:
    """Return the gains in dB, (f, m), that bring a mel spectrogram towards the shape of another, smooth and bounded.

    Args:
        wanted: mel (f, m) in [-1, 1], of the shape to reach.
        present: mel (f, m) of what is to be shaped.
        config: of both.
        share: how far, from 0 (as it is) to 1.
    """
    per_unit = (config.db_max - config.db_min) / 2.0
    difference = (wanted.astype(np.float64) - present.astype(np.float64)) * per_unit
    return share * gaussian_filter(np.clip(difference, -MAX_SHAPING_DB, MAX_SHAPING_DB), SMOOTHING)


def shape(samples: np.ndarray, sample_rate: int, gains_db: np.ndarray, config: MelConfig) -> np.ndarray:
    """Return samples (t,), float64, made louder and quieter as ``gains_db`` (f, m) says, at any sample rate.

    Frame m of the gains belongs to the middle of what the mel front end reads for it; between bands and frames the
    gains are interpolated in dB. What lies above the highest band is shaped as that band is.
    """
    centres_hz = mel_edges_hz(config)[1:-1]
    frames_s = (np.arange(gains_db.shape[1]) + 0.5) * config.hop_length / config.sample_rate
    return shaped(samples, sample_rate, gains_db, centres_hz, frames_s, config.n_fft / config.sample_rate)
