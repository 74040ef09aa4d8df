"""The transformer alone: how well it guesses tokens that are masked at random, or in a gap."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip, Clips
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.protocols.common import Meter, check_clips, described, make_report
from masktools.evaluation.protocols.guessing import SMOOTHING, GuessScores, guess_scores, random_masks
from masktools.evaluation.report import Report, Row
from masktools.evaluation.scores import Statistics
from masktools.gaps import Gap
from masktools.grid import GridMask
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress
from masktools.runtime import threads
from masktools.shapes import flatten
from masktools.solver import derive_seed

__all__ = ["TransformerSettings", "evaluate_transformer"]

_METHOD = "transformer"
_METRICS = ("smoothed_cross_entropy", "cross_entropy", "first_right")


@dataclass(frozen=True)
class TransformerSettings:
    """Settings of the measurement of a transformer."""

    mask_ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # of tokens that are masked at random
    gaps_s: tuple[float, ...] = (0.372, 1.0, 1.858)  # of gaps in the middle, of which all tokens are masked
    n_masks: int = 4  # random masks of each clip and ratio
    seed: int = 0
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        if any(not 0 < ratio <= 1 for ratio in self.mask_ratios):
            raise ParameterError(f"mask_ratios must lie in (0, 1], got {self.mask_ratios}")
        if any(not 0.001 <= gap <= 60 for gap in self.gaps_s):
            raise ParameterError(f"gaps_s must be lengths in [0.001, 60] s, got {self.gaps_s}")
        if not self.mask_ratios and not self.gaps_s:
            raise ParameterError("there must be mask_ratios or gaps_s, got neither")
        if self.n_masks < 1:
            raise ParameterError(f"n_masks must be at least 1, got {self.n_masks}")


def evaluate_transformer(
    model: Model,
    clips: Sequence[Clip],
    settings: TransformerSettings = TransformerSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return the cross-entropy of masked tokens, and how often the right one of all codes is the likeliest.

    Tokens around a gap are computed without what is in it, as when a gap is filled; those beside random masks from the
    whole, as in training. Of a clip longer than the model's window, the middle is taken. Nothing is told besides.

    Args:
        model: the model.
        clips: at the model's rate; those too short for the longest gap are left out.
        settings: of the measurement.
        embedders: not used.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, none that is long enough, or clips at another rate.

    Source: MaskGIT (arXiv:2202.04200), section 3.1: the loss on masked tokens.
    """
    check_clips(model, clips)
    column_s = model.pipeline.grid.column_s
    wanted_s = max(settings.gaps_s, default=0.0) + 4 * column_s
    clips = Clips.keeping(
        clips,
        "short",
        lambda clip: f"{clip.duration_s:.3g} s of {wanted_s:.3g} s" if clip.duration_s < wanted_s else None,
        f"of {wanted_s:.3g} s",
    )
    meter = Meter(progress, len(clips))
    rows: list[Row] = []
    with threads(model.threads):
        for place, clip in enumerate(clips):
            for case, scores in _cases(model.pipeline, clip, settings, place).items():
                means = (scores.smoothed.mean(), scores.nats.mean(), scores.first.mean())
                rows += [
                    Row.of(clip, _METHOD, metric, float(mean), case)
                    for metric, mean in zip(_METRICS, means, strict=True)
                ]
            meter.step()
    about = described("transformer", model, clips, settings, [])
    notes = (
        f"Cross-entropies are in nats, smoothed ones of labels smoothed by {SMOOTHING:g} as in training; ln of the "
        f"number of codes is {np.log(model.pipeline.tokenizer.n_codes):.2f}",
        "first_right: share of masked tokens of which the right code is the likeliest",
    )
    figures = settings.statistics.summary(rows, _METRICS)
    return make_report("Guessing of masked tokens", about, clips, rows, figures, notes)


class _Masked(NamedTuple):
    """Masks of a clip, what is known beside them, and what is right: each (m, n)."""

    known: Tensor
    masks: Tensor
    targets: Tensor


@torch.inference_mode()
def _cases(pipeline: Pipeline, clip: Clip, settings: TransformerSettings, place: int) -> dict[str, GuessScores]:
    most = pipeline.window_samples
    start = max(0, len(clip.wave) - most) // 2
    wave = torch.from_numpy(clip.wave[start : start + most].copy())[None]
    mel = pipeline.to_mel(wave)
    tokens = flatten(pipeline.tokenise(mel))
    masked: dict[str, _Masked] = {}
    for ratio in settings.mask_ratios:
        seed = derive_seed(settings.seed, place, round(1e6 * ratio))
        masks = random_masks(tokens.shape[1], ratio, settings.n_masks, seed).to(tokens.device)
        many = tokens.expand(len(masks), -1)
        masked[f"ratio {ratio:g}"] = _Masked(many, masks, many)
    for gap_s in settings.gaps_s:
        first_s = (wave.shape[1] / clip.sample_rate - gap_s) / 2
        mask = GridMask.gaps(pipeline.grid, pipeline.grid.n_columns(wave.shape[1]), [Gap(first_s, first_s + gap_s)])
        erased = mask.tensor[None].to(mel.device)
        known = flatten(pipeline.tokenise(pipeline.erase(mel, erased)))
        masked[f"gap {1000 * gap_s:.0f} ms"] = _Masked(known, flatten(erased), tokens)
    return {case: guess_scores(pipeline, one.known, one.targets, one.masks) for case, one in masked.items()}
