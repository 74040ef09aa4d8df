"""How well texts find sounds: retrieval and zero-shot classification with a text-audio encoder."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.conditioning.joint import JointEncoder
from masktools.errors import ParameterError
from masktools.training.captioned_mels import CaptionedMel
from masktools.training.captions import Phrase, asserted_tags, truth_table

__all__ = ["Retrieval", "embed_mels", "evaluate_retrieval", "modality_gap", "retrieval_scores", "zero_shot_accuracy"]


class Retrieval(NamedTuple):
    """Scores of text -> audio retrieval, shares in [0, 1]."""

    mean_average_precision: float
    recall_at_1: float  # texts whose nearest sound is a true one
    recall_at_10: float  # texts with a true sound among the ten nearest
    n_texts: int
    n_sounds: int


@torch.no_grad()
def embed_mels(encoder: JointEncoder, recordings: Sequence[CaptionedMel]) -> Tensor:
    """Return the embeddings of whole recordings, (n, dim)."""
    encoder.eval()
    rows = [torch.from_numpy(recording.mel.astype("float32").T)[None] for recording in recordings]
    return torch.cat([encoder.encode_mel(mel) for mel in rows])


def retrieval_scores(similarity: Tensor, relevant: Tensor) -> Retrieval:
    """Return the scores of a similarity (texts, sounds) against the truth (texts, sounds) bool.

    Raises:
        ParameterError: A text is true of no sound.
    """
    if not relevant.any(dim=1).all():
        raise ParameterError("each text must be true of a sound, but some are true of none")
    ranked = relevant.gather(1, similarity.argsort(dim=1, descending=True, stable=True)).float()
    precision = ranked.cumsum(dim=1) / torch.arange(1, ranked.shape[1] + 1)
    return Retrieval(
        float(((precision * ranked).sum(dim=1) / ranked.sum(dim=1)).mean()),
        float(ranked[:, 0].mean()),
        float(ranked[:, :10].amax(dim=1).mean()),
        *ranked.shape,
    )


def evaluate_retrieval(
    encoder: JointEncoder, recordings: Sequence[CaptionedMel], embeddings: Tensor | None = None
) -> Retrieval:
    """Return how well the captions of the recordings find them; a caption is true of all that it describes."""
    sounds = embed_mels(encoder, recordings) if embeddings is None else embeddings
    phrases = list({Phrase(r.caption, asserted_tags(r.caption, r.tags)): None for r in recordings if r.caption})
    texts = encoder.embed_text([phrase.text for phrase in phrases])
    return retrieval_scores(texts @ sounds.T, truth_table([r.tags for r in recordings], phrases).T)


def zero_shot_accuracy(
    encoder: JointEncoder,
    recordings: Sequence[CaptionedMel],
    classes: Mapping[str, Sequence[str]],
    embeddings: Tensor | None = None,
) -> tuple[float, int]:
    """Return the share of recordings whose nearest class is theirs, and their number.

    Args:
        encoder: the encoder
        recordings: recordings; those with none of the classes among their tags, or several, are left out
        classes: tag -> texts that describe it; a class is the mean of their embeddings
        embeddings: those of the recordings, where they are known already
    """
    names = list(classes)
    targets = torch.stack([F.normalize(encoder.embed_text(list(classes[name])).mean(dim=0), dim=0) for name in names])
    sounds = embed_mels(encoder, recordings) if embeddings is None else embeddings
    own = [[i for i, name in enumerate(names) if name in recording.tags] for recording in recordings]
    rows = [i for i, found in enumerate(own) if len(found) == 1]
    if not rows:
        raise ParameterError(f"no recording has exactly one of the tags {', '.join(names)}")
    nearest = (sounds[rows] @ targets.T).argmax(dim=1)
    return float((nearest == torch.tensor([own[i][0] for i in rows])).float().mean()), len(rows)


def modality_gap(sounds: Tensor, texts: Tensor) -> float:
    """Return the distance between the mean embedding of sounds and that of their texts, 0 to 2.

    Source: Liang et al., "Mind the gap" (arXiv:2203.02053), section 2.
    """
    return float((sounds.mean(dim=0) - texts.mean(dim=0)).norm())
