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

__all__ = ["Guess", "guesses_of"]

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
    masks = [_masks(tokens.shape[1], ratio, n_masks, derive_seed(seed, place, round(1e6 * ratio))) for ratio in ratios]
    guesses = []
    for given, condition in told.items():
        nats = _errors(pipeline, tokens, torch.cat(masks).to(tokens.device), condition)
        for ratio, part in zip(ratios, nats.split([len(rows) for rows in masks]), strict=True):
            guesses.append(Guess(ratio, given, float(part.mean())))
    return guesses


def _masks(n_tokens: int, ratio: float, n_masks: int, seed: int) -> Tensor:
    """Return random masks (n_masks, n_tokens) of one ratio, at least one token each; of full masks, one."""
    rng = np.random.default_rng(seed)
    n_masked = max(1, min(n_tokens, int(np.ceil(n_tokens * ratio))))
    rows = 1 if n_masked == n_tokens else n_masks
    ranks = rng.random((rows, n_tokens)).argsort(axis=1).argsort(axis=1)
    return torch.from_numpy(ranks < n_masked)


def _errors(pipeline: Pipeline, tokens: Tensor, masks: Tensor, condition: Tensor | None) -> Tensor:
    """Return the mean cross-entropy (m,) of the masked tokens of one clip (1, n), for each of m masks."""
    many = tokens.expand(len(masks), -1)
    given = None if condition is None else condition.to(tokens.device).expand(len(masks), -1)
    errors = []
    for start in range(0, len(masks), pipeline.batch_size):
        part = slice(start, start + pipeline.batch_size)
        with pipeline.autocast():
            logits = pipeline.transformer.logits(many[part], masks[part], None if given is None else given[part])
        each = F.cross_entropy(logits.float().transpose(1, 2), many[part], reduction="none")
        errors.append((each * masks[part]).sum(dim=1) / masks[part].sum(dim=1))
    return torch.cat(errors).cpu()
