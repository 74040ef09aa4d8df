"""How well the transformer guesses masked tokens, with a condition and without."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.pipeline import Pipeline
from masktools.shapes import flatten
from masktools.solver import derive_seed

__all__ = ["SMOOTHING", "Guess", "GuessScores", "guess_scores", "guesses_of", "random_masks"]

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
    clip, most = clips[place], pipeline.window_samples
    start = max(0, len(clip.wave) - most) // 2
    wave = torch.from_numpy(clip.wave[start : start + most].copy())[None]
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


def random_masks(n_tokens: int, ratio: float, n_masks: int, seed: int) -> Tensor:
    """Return random masks (n_masks, n_tokens) of one ratio, at least one token each; of full masks, one."""
    rng = np.random.default_rng(seed)
    n_masked = max(1, min(n_tokens, int(np.ceil(n_tokens * ratio))))
    rows = 1 if n_masked == n_tokens else n_masks
    ranks = rng.random((rows, n_tokens)).argsort(axis=1).argsort(axis=1)
    return torch.from_numpy(ranks < n_masked)


class GuessScores(NamedTuple):
    """How well the masked tokens of m masks are guessed, each (m,), the mean over a mask's tokens."""

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
