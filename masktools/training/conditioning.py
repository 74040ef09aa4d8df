"""Contrastive training of the text-audio encoder, and its retrieval measures.

A text is a positive of every sound that it is true of, not only of the one it was written for. Two further terms keep
the open vocabulary: words that no caption has stay where the sentence encoder put them, and the two kinds of embedding
share one region of the space, so that a model conditioned on sounds understands texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.arguments import check_positive
from masktools.core.configs import from_dict
from masktools.core.errors import ParameterError
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig
from masktools.training.captioned_mels import CaptionedMel, Phrase, asserted_tags, truth_table
from masktools.training.checkpoints import network_state, part_description
from masktools.training.losses import contrastive_loss, geometry_loss
from masktools.training.part import PartTraining
from masktools.training.streams import Batch


class Retrieval(NamedTuple):
    """Scores of text -> audio retrieval, shares in [0, 1]."""

    mean_average_precision: float
    recall_at_1: float  # texts whose nearest sound is a true one
    recall_at_10: float  # texts with a true sound among the ten nearest
    n_texts: int
    n_sounds: int


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


def evaluate_retrieval(encoder: JointEncoder, recordings: Sequence[CaptionedMel], sounds: Tensor) -> Retrieval:
    """Return how well the captions of the recordings find them; a caption is true of all that it describes.

    Args:
        encoder: the encoder
        recordings: with their captions and tags
        sounds: their embeddings (n, dim)
    """
    phrases = list({Phrase(r.caption, asserted_tags(r.caption, r.tags)): None for r in recordings if r.caption})
    texts = encoder.embed_text([phrase.text for phrase in phrases])
    return retrieval_scores(texts @ sounds.T, truth_table([r.tags for r in recordings], phrases).T)


def zero_shot_accuracy(
    encoder: JointEncoder, recordings: Sequence[CaptionedMel], classes: Mapping[str, Sequence[str]], sounds: Tensor
) -> tuple[float, int]:
    """Return the share of recordings whose nearest class is theirs, and their number.

    Args:
        encoder: the encoder
        recordings: recordings; those with none of the classes among their tags, or several, are left out
        classes: tag -> texts that describe it; a class is the mean of their embeddings
        sounds: the embeddings (n, dim) of the recordings
    """
    names = list(classes)
    targets = torch.stack([F.normalize(encoder.embed_text(list(classes[name])).mean(dim=0), dim=0) for name in names])
    own = [[i for i, name in enumerate(names) if name in recording.tags] for recording in recordings]
    rows = [i for i, found in enumerate(own) if len(found) == 1]
    if not rows:
        raise ParameterError(f"no recording has exactly one of the tags {', '.join(names)}")
    nearest = (sounds[rows] @ targets.T).argmax(dim=1)
    return float((nearest == torch.tensor([own[i][0] for i in rows])).float().mean()), len(rows)


_N_WORDS = 256  # of the vocabulary, whose distances are kept at each step


class ConditionerTraining(PartTraining):
    """Sounds and texts are drawn together where they are true of each other, and pushed apart where they are not.

    The text side begins as the sentence encoder that it was distilled from, and what reads a text is frozen: two small
    maps from there, and the audio side, are trained. Validation embeds whole recordings: ``valid_map``,
    ``valid_recall_1`` and ``valid_recall_10`` of captions that look for their sounds, and where the data has synonyms,
    ``valid_synonyms``, the share of sounds that are named right by them.

    Args:
        start_checkpoint: a text-audio encoder to begin with: of `TextDistillation`, of an earlier run, or of a bundle.
        n_steps: optimiser steps of the learning-rate schedule.
        learning_rate: peak learning rate, after the warm-up.
        n_warmup: steps of linear warm-up.
        weight_decay: weight decay of AdamW.
        temperature: softmax temperature of the contrastive loss, above 0.
        geometry_weight: weight of the loss that keeps the cosines between texts, and between words of the vocabulary.
        alignment_weight: weight of the loss that closes the gap between embeddings of sounds and of texts.
        new_ears: whether the audio side begins anew, and the two maps of the text side with it.
        encoder: settings that differ from those of the checkpoint: those of the audio side, with ``new_ears``.

    Source: CLIP (arXiv:2103.00020), with several positives as in supervised contrastive learning (arXiv:2004.11362).
    """

    part, kind = "conditioner", "joint"
    net: JointEncoder

    def __init__(
        self,
        start_checkpoint: str,
        n_steps: int = 1400,
        learning_rate: float = 2e-3,
        n_warmup: int = 100,
        weight_decay: float = 0.05,
        temperature: float = 0.07,
        geometry_weight: float = 10.0,
        alignment_weight: float = 1.0,
        new_ears: bool = False,
        encoder: dict[str, Any] | None = None,
    ) -> None:
        check_positive(temperature=temperature)
        stored = part_description(start_checkpoint, self.part)
        if (stored["part"], stored["kind"]) != (self.part, self.kind):
            raise ParameterError(f"start_checkpoint must hold a text-audio encoder, got a {stored['part']}")
        if encoder and not new_ears:
            raise ParameterError("settings of the encoder are those of the checkpoint, unless new_ears is true")
        config = from_dict(JointEncoderConfig, stored["config"] | (encoder or {}))
        super().__init__(config.mel)
        self.save_hyperparameters()
        self.net = JointEncoder(config)
        state = network_state(start_checkpoint, part=self.part)
        kept = ("tokens.", "reader.") if new_ears else ("",)
        left = self.net.load_state_dict({k: v for k, v in state.items() if k.startswith(kept)}, strict=not new_ears)
        lacking = [name for name in left.missing_keys if name.startswith(kept)]
        if lacking:
            raise ParameterError(f"start_checkpoint lacks {lacking[0]} of the text side")
        if self.net.reader is not None:
            self.net.reader.requires_grad_(False)

    def on_fit_start(self) -> None:
        """Read the texts of the data and the words of the vocabulary, once."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        pieces = self.net.tokens.wordpiece.vocabulary
        with torch.no_grad():
            self._texts = self._read([phrase.text for phrase in data.phrases])
            self._words = self._read([piece for piece in pieces if piece.isalpha() and len(piece) > 2])
        self._rarity = data.rarity.to(self.device)

    def _read(self, texts: list[str]) -> Tensor:
        self.net.eval()
        found = torch.cat([self.net.read(texts[start : start + 256]) for start in range(0, len(texts), 256)])
        self.net.train()
        return found

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        return self.adamw(weight_decay=self.hparams["weight_decay"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a step of ``SoundTextStream``, which comes as a batch of one."""
        own = self.hparams
        mel, numbers, true = batch["mel"][0], batch["texts"][0], batch["true"][0]
        drawn = torch.randperm(len(self._words), device=self._words.device)[:_N_WORDS]
        read, words = self._texts[numbers], self._words[drawn]
        sounds, texts = self.net.encode_mel(mel).float(), self.net.encode_vectors(read).float()
        weights = self._rarity[numbers]
        contrast = contrastive_loss(sounds, texts, true, weights, own["temperature"])
        kept = geometry_loss(torch.cat([read, words]), torch.cat([texts, self.net.encode_vectors(words).float()]))
        shares = true * weights
        described = (shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-12)) @ texts
        gap = (sounds.mean(dim=0) - described.mean(dim=0)).square().sum()
        self.log_dict({"contrast": contrast, "geometry": kept}, prog_bar=True, batch_size=len(mel))
        return contrast + own["geometry_weight"] * kept + own["alignment_weight"] * gap

    def on_validation_epoch_start(self) -> None:
        """Forget the sounds of the last validation."""
        self._sounds: list[Tensor] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed a whole recording."""
        self._sounds.append(self.net.encode_mel(batch["mel"]).float())

    def on_validation_epoch_end(self) -> None:
        """Log how well texts find sounds."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        sounds = torch.cat(self._sounds)
        recordings = data.valid[: len(sounds)]  # fewer where a run validates on a part of them
        scores = evaluate_retrieval(self.net, recordings, sounds)
        figures = {
            "valid_map": scores.mean_average_precision,
            "valid_recall_1": scores.recall_at_1,
            "valid_recall_10": scores.recall_at_10,
        }
        if any(sum(name in r.tags for name in data.synonyms) == 1 for r in recordings):
            figures["valid_synonyms"] = zero_shot_accuracy(self.net, recordings, data.synonyms, sounds)[0]
        self.log_dict(figures, prog_bar=True)
