"""Contrastive training of the text-audio encoder, its data, and its retrieval measures.

A text is a positive for every sound that it is true of, not only for the one it was written for. Two further terms keep
the open vocabulary: words in no caption keep the position that the sentence encoder gave them, and the two kinds of
embedding share one region of the space, so that a model conditioned on sounds understands texts.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from masktools.core.arguments import check_positive, check_within
from masktools.core.configs import from_dict, read_json
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig
from masktools.training.captioned_mels import (
    Augmentation,
    CaptionedMel,
    Phrase,
    asserted_tags,
    captioned_mels,
    collect_phrases,
    training_crop,
    truth_table,
)
from masktools.training.checkpoints import network_state, part_description
from masktools.training.losses import contrastive_loss, geometry_loss
from masktools.training.part import PartTraining
from masktools.training.shards import AudioCache
from masktools.training.streams import Batch, Stream, StreamData, StreamLoader, weighted_by_kind

_USUAL = Augmentation()


class SoundTextStream(Stream):
    """Whole steps: ``mel`` (b, f, m), ``texts`` (n,) by index, and which of them are ``true`` of which sound (b, n).

    A step holds for each sound one of its texts, its own caption half of the time, and ``n_texts`` of other sounds.
    Rare sets of tags are drawn more often than in proportion.
    """

    def __init__(
        self,
        recordings: Sequence[CaptionedMel],
        phrases: Sequence[Phrase],
        batch_size: int,
        n_texts: int,
        mel: MelConfig,
        mix_share: float = 0.3,
        kind_weights: Mapping[str, float] | None = None,
        augmentation: Augmentation = _USUAL,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        check_within("[0, 1]", mix_share=mix_share)
        self.recordings, self.n_sounds, self.n_texts, self.mel = recordings, batch_size, n_texts, mel
        self.mix_share, self.augmentation = mix_share, augmentation
        self.true = truth_table([r.tags for r in recordings], phrases)
        self._phrases_of = [row.nonzero().flatten().numpy() for row in self.true]
        number = {phrase: i for i, phrase in enumerate(phrases)}
        self._caption_of = [number.get(Phrase(r.caption, asserted_tags(r.caption, r.tags))) for r in recordings]
        self._shares = _shares(recordings, kind_weights or {})

    def sample(self, index: int) -> Batch:
        """Return step ``index``."""
        rng = np.random.default_rng((self.seed, index))
        chosen = rng.choice(len(self.recordings), size=(self.n_sounds, 2), p=self._shares)
        mixed = rng.random(self.n_sounds) < self.mix_share
        crops, texts, true = [], set(), []
        for (first, second), is_mixed in zip(chosen, mixed, strict=True):
            other = self.recordings[second].mel if is_mixed else None
            crops.append(training_crop(self.recordings[first].mel, other, self.augmentation, self.mel, rng))
            true.append(self.true[first] | self.true[second] if is_mixed else self.true[first])
            own = self._caption_of[first]
            texts.add(int(rng.choice(self._phrases_of[first])) if own is None or rng.random() < 0.5 else own)
        texts |= set(rng.choice(self.true.shape[1], size=self.n_texts).tolist())
        numbers = torch.tensor(sorted(texts))
        return {"mel": torch.from_numpy(np.stack(crops)), "texts": numbers, "true": torch.stack(true)[:, numbers]}


def _shares(recordings: Sequence[CaptionedMel], kind_weights: Mapping[str, float]) -> np.ndarray:
    """Return the probability of each recording to be drawn."""
    n_alike = Counter(r.tags for r in recordings)
    weights = np.array([1.0 / math.sqrt(n_alike[r.tags]) for r in recordings])
    kinds = np.array([r.kind for r in recordings])
    for kind in set(kinds.tolist()):
        weights[kinds == kind] /= weights[kinds == kind].sum()
    weights = weighted_by_kind(weights, kinds.tolist(), kind_weights)
    return weights / weights.sum()


class SoundTextData(StreamData):
    """The sounds of a cache, their captions, and prompts for their tags, for the text-audio encoder.

    Args:
        cache: an audio cache.
        mels: folder of its mel spectrograms.
        prompts: a JSON file, tag -> further texts for it.
        synonyms: a JSON file, tag -> texts that are not used in training, for zero-shot classification in validation.
        mel: settings of the mel front end.
        batch_size: sounds in a step.
        n_texts: texts of other sounds beside the step's own.
        mix_share: share of crops that are a mixture of two recordings, in [0, 1].
        kind_weights: kind -> weight of its recordings; 1 where it is missing.
        augmentation: settings of the augmentation of crops.
        seed: random seed of all that is drawn.
    """

    def __init__(
        self,
        cache: str,
        mels: str,
        prompts: str | None = None,
        synonyms: str | None = None,
        mel: MelConfig = MelConfig(),
        batch_size: int = 64,
        n_texts: int = 192,
        mix_share: float = 0.3,
        kind_weights: dict[str, float] | None = None,
        augmentation: Augmentation = _USUAL,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["mel", "augmentation"])
        self.mel, self.augmentation = mel, augmentation

    def setup(self, stage: str | None = None) -> None:
        """Compute the missing mel spectrograms, and collect the texts."""
        own = self.hparams
        recordings = captioned_mels(AudioCache(own["cache"]), self.mel, own["mels"])
        self.train = [r for r in recordings if r.split == "train"]
        self.valid = [r for r in recordings if r.split == "valid"]
        self.collect()

    def collect(self) -> None:
        """Collect the texts that are true of the recordings.

        Raises:
            ParameterError: a split has no recordings.
        """
        own = self.hparams
        if not self.train or not self.valid:
            found = f"{len(self.train)} and {len(self.valid)} recordings"
            raise ParameterError(f"training needs the splits train and valid, got {found}")
        self.phrases = collect_phrases([(r.caption, r.tags) for r in self.train], _read(own["prompts"]))
        self.synonyms = _read(own["synonyms"])
        true = truth_table([r.tags for r in self.train], self.phrases)
        self.rarity: Tensor = torch.log(len(self.train) / true.sum(dim=0).clamp_min(1)) + 0.1

    def train_dataloader(self) -> StreamLoader:
        """Return the endless training steps."""
        own = self.hparams
        stream = SoundTextStream(
            self.train,
            self.phrases,
            own["batch_size"],
            own["n_texts"],
            self.mel,
            own["mix_share"],
            own["kind_weights"],
            self.augmentation,
            own["seed"],
        )
        return self.stream_loader(stream, 1)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return whole recordings, one at a time."""
        sounds = [{"mel": torch.from_numpy(np.asarray(r.mel, np.float32).T.copy())} for r in self.valid]
        return DataLoader(sounds, 1)  # type: ignore[arg-type]


def _read(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ParameterError(f"texts for tags must be a JSON file, got {path}: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(texts, list) for texts in content.values()):
        raise ParameterError(f"texts for tags must be given as tag -> list of texts, got {path}")
    return content


class Retrieval(NamedTuple):
    """Scores of text -> audio retrieval, shares in [0, 1]."""

    mean_average_precision: float
    recall_at_1: float  # share of texts whose nearest sound is a true one
    recall_at_10: float  # share of texts with a true sound among the ten nearest
    n_texts: int
    n_sounds: int


def retrieval_scores(similarity: Tensor, relevant: Tensor) -> Retrieval:
    """Return the scores for similarities (texts, sounds) and their truth (texts, sounds) bool.

    Raises:
        ParameterError: a text is true of no sound.
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
    """Return the retrieval scores of the captions of recordings; a caption is true of all recordings that it describes.

    Args:
        encoder: the encoder
        recordings: recordings with captions and tags
        sounds: their embeddings (n, dim)
    """
    phrases = list({Phrase(r.caption, asserted_tags(r.caption, r.tags)): None for r in recordings if r.caption})
    texts = encoder.embed_text([phrase.text for phrase in phrases])
    return retrieval_scores(texts @ sounds.T, truth_table([r.tags for r in recordings], phrases).T)


def zero_shot_accuracy(
    encoder: JointEncoder, recordings: Sequence[CaptionedMel], classes: Mapping[str, Sequence[str]], sounds: Tensor
) -> tuple[float, int]:
    """Return the zero-shot accuracy on recordings, and their number.

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


_N_WORDS = 256  # words of the vocabulary whose distances are kept in a step


class ConditionerTraining(PartTraining):
    """Contrastive training: embeddings of sounds and texts attract each other where the text is true, else repel.

    The text side starts as the distilled sentence encoder, whose network is frozen: two small
    maps on top of it, and the audio side, are trained, and the texts of the data are remembered. Validation embeds
    whole recordings: ``valid_map``, ``valid_recall_1`` and ``valid_recall_10`` of captions as queries, and if the data
    has synonyms, ``valid_synonyms``, the zero-shot accuracy with them.

    Args:
        start_checkpoint: text-audio encoder to start from: of `TextDistillation`, of an earlier run, or of a bundle.
        n_steps: optimiser steps of the learning-rate schedule.
        learning_rate: peak learning rate, after the warm-up.
        n_warmup: steps of linear warm-up.
        weight_decay: weight decay of AdamW.
        temperature: softmax temperature of the contrastive loss, above 0.
        geometry_weight: weight of the loss that preserves the cosines between texts, and between words of the
            vocabulary.
        alignment_weight: weight of the loss on the gap between the mean embeddings of sounds and of texts.
        new_ears: whether the audio side is initialised anew, and the two maps of the text side with it.
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
        forgotten = {"n_remembered": 0} if new_ears else {}
        config = from_dict(JointEncoderConfig, stored["config"] | forgotten | (encoder or {}))
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

    def setup(self, stage: str) -> None:
        """Read the texts of the data and the words of the vocabulary, once, and remember the texts."""
        super().setup(stage)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        pieces = self.net.tokens.wordpiece.vocabulary
        with torch.no_grad():
            self._texts = self._read([phrase.text for phrase in data.phrases])
            self._words = self._read([piece for piece in pieces if piece.isalpha() and len(piece) > 2])
        self.net.remember(self._texts)

    def on_fit_start(self) -> None:
        """Move what was read to the device."""
        super().on_fit_start()
        self._texts, self._words = self._texts.to(self.device), self._words.to(self.device)
        self._rarity = self.trainer.datamodule.rarity.to(self.device)  # type: ignore[attr-defined]

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
        """Drop the sounds of the last validation."""
        self._sounds: list[Tensor] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed a whole recording."""
        self._sounds.append(self.net.encode_mel(batch["mel"]).float())

    def on_validation_epoch_end(self) -> None:
        """Log the retrieval scores."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        sounds = torch.cat(self._sounds)
        recordings = data.valid[: len(sounds)]  # fewer if a run validates on a part of them
        scores = evaluate_retrieval(self.net, recordings, sounds)
        figures = {
            "valid_map": scores.mean_average_precision,
            "valid_recall_1": scores.recall_at_1,
            "valid_recall_10": scores.recall_at_10,
        }
        if any(sum(name in r.tags for name in data.synonyms) == 1 for r in recordings):
            figures["valid_synonyms"] = zero_shot_accuracy(self.net, recordings, data.synonyms, sounds)[0]
        self.log_dict(figures, prog_bar=True)
