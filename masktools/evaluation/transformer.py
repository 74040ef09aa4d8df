"""Masked-token prediction: how well the transformer predicts tokens masked at random, or in a gap."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.arguments import check_least
from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap
from masktools.core.runtime import threads
from masktools.core.shapes import flatten
from masktools.evaluation.clips import Clip, Clips
from masktools.evaluation.common import Meter, check_clips, described, make_report
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Report, Row
from masktools.evaluation.scores import Statistics
from masktools.mel.grid import gap_mask
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress
from masktools.solver import derive_seed

SMOOTHING = 0.1
"""Of labels, as the transformer is trained with."""

NOTHING, SOUND, CAPTION, OTHER = "nothing", "sound", "caption", "another caption"


class Guess(NamedTuple):
    """One of the errors of a clip."""

    ratio: float  # of masked tokens
    given: str  # what the transformer was told: nothing, the sound, its caption, or the caption of another clip
    nats: float  # cross-entropy of the masked tokens


@torch.inference_mode()
def guesses_of(
    pipeline: Pipeline, clips: Sequence[Clip], place: int, ratios: Sequence[float], n_masks: int = 1, seed: int = 0
) -> list[Guess]:
    """Return the cross-entropy in nats of masked tokens of a clip, for each ratio and each thing that is told.

    The masks are the same whatever is told. Of a clip longer than the model's window, the middle is taken.

    Args:
        pipeline: the model, with a text-audio encoder.
        clips: at its rate; their captions are the others that may be told.
        place: of the clip; without a caption, only the sound is told.
        ratios: shares of tokens that are masked, in (0, 1].
        n_masks: random masks of each clip and ratio.
        seed: of the masks.

    Raises:
        ParameterError: the model has no text-audio encoder.

    Source: MaskGIT (arXiv:2202.04200), section 3.1: the loss on masked tokens, here without label smoothing.
    """
    conditioner = pipeline.conditioner
    if conditioner is None:
        raise ParameterError(f"the model {pipeline.name} has no text-audio encoder, and cannot be told anything")
    clip = clips[place]
    wave = middle_of(pipeline, clip)
    told: dict[str, Tensor | None] = {NOTHING: None, SOUND: conditioner.embed_audio(wave, clip.sample_rate)}
    if clip.caption:
        told[CAPTION] = conditioner.embed_text([clip.caption])
        others = sorted({one.caption for one in clips if one.caption} - {clip.caption})
        if others:
            rng = np.random.default_rng(derive_seed(seed, place))
            told[OTHER] = conditioner.embed_text([others[int(rng.integers(len(others)))]])
    tokens = flatten(pipeline.encode(wave))
    masks = [
        random_masks(tokens.shape[1], ratio, n_masks, derive_seed(seed, place, round(1e6 * ratio))) for ratio in ratios
    ]
    guesses = []
    for given, condition in told.items():
        asked = torch.cat(masks).to(tokens.device)
        many = tokens.expand(len(asked), -1)
        nats = guess_scores(pipeline, many, many, asked, condition).nats
        for ratio, part in zip(ratios, nats.split([len(rows) for rows in masks]), strict=True):
            guesses.append(Guess(ratio, given, float(part.mean())))
    return guesses


def check_ratios(mask_ratios: Sequence[float]) -> None:
    """Refuse shares of masked tokens that are none.

    Raises:
        ParameterError: one lies outside (0, 1].
    """
    if any(not 0 < ratio <= 1 for ratio in mask_ratios):
        raise ParameterError(f"mask_ratios must lie in (0, 1], got {mask_ratios}")


def middle_of(pipeline: Pipeline, clip: Clip) -> Tensor:
    """Return a clip (1, t), or its middle where it is longer than the model's window."""
    start = max(0, len(clip.wave) - pipeline.window_samples) // 2
    return torch.from_numpy(clip.wave[start : start + pipeline.window_samples].copy())[None]


def random_masks(n_tokens: int, ratio: float, n_masks: int, seed: int) -> Tensor:
    """Return random masks (n_masks, n_tokens) of one ratio, at least one token each; of full masks, one."""
    rng = np.random.default_rng(seed)
    n_masked = max(1, min(n_tokens, int(np.ceil(n_tokens * ratio))))
    rows = 1 if n_masked == n_tokens else n_masks
    ranks = rng.random((rows, n_tokens)).argsort(axis=1).argsort(axis=1)
    return torch.from_numpy(ranks < n_masked)


class GuessScores(NamedTuple):
    """Prediction scores of m masks, each (m,), the mean over a mask's tokens."""

    nats: Tensor  # cross-entropy
    smoothed: Tensor  # cross-entropy with smoothed labels, as in training
    first: Tensor  # share of tokens of which the right code is the likeliest


@torch.inference_mode()
def guess_scores(
    pipeline: Pipeline, known: Tensor, targets: Tensor, masks: Tensor, condition: Tensor | None = None
) -> GuessScores:
    """Return how well the transformer guesses masked tokens.

    Args:
        pipeline: the model.
        known: flat tokens (m, n), read where they are not masked.
        targets: flat tokens (m, n), the right ones.
        masks: (m, n) bool.
        condition: (1, d), the same for all; None where nothing is told.
    """
    given = None if condition is None else condition.to(known.device).expand(len(masks), -1)
    found: list[Tensor] = []
    for start in range(0, len(masks), pipeline.batch_size):
        part = slice(start, start + pipeline.batch_size)
        with pipeline.autocast():
            logits = pipeline.transformer.logits(known[part], masks[part], None if given is None else given[part])
        classes, right = logits.float().transpose(1, 2), targets[part]
        each = torch.stack(
            [
                F.cross_entropy(classes, right, reduction="none"),
                F.cross_entropy(classes, right, reduction="none", label_smoothing=SMOOTHING),
                (classes.argmax(dim=1) == right).float(),
            ]
        )
        found.append((each * masks[part]).sum(dim=2) / masks[part].sum(dim=1))
    return GuessScores(*torch.cat(found, dim=1).cpu())


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
        check_ratios(self.mask_ratios)
        if any(not 0.001 <= gap <= 60 for gap in self.gaps_s):
            raise ParameterError(f"gaps_s must be lengths in [0.001, 60] s, got {self.gaps_s}")
        if not self.mask_ratios and not self.gaps_s:
            raise ParameterError("there must be mask_ratios or gaps_s, got neither")
        check_least(1, n_masks=self.n_masks)


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
                means = (float(values.mean()) for values in (scores.smoothed, scores.nats, scores.first))
                rows += Row.each(clip, _METHOD, dict(zip(_METRICS, means, strict=True)), case)
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
    wave = middle_of(pipeline, clip)
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
        mask = gap_mask(pipeline.grid, pipeline.grid.n_columns(wave.shape[1]), [Gap(first_s, first_s + gap_s)])
        erased = mask[None].to(mel.device)
        known = flatten(pipeline.tokenise(pipeline.erase(mel, erased)))
        masked[f"gap {1000 * gap_s:.0f} ms"] = _Masked(known, flatten(erased), tokens)
    return {case: guess_scores(pipeline, one.known, one.targets, one.masks) for case, one in masked.items()}
