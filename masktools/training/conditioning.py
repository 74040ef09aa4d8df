"""Contrastive training of the joint text-audio encoder, on one CPU core within half an hour.

A text is a positive of every sound that it is true of, not only of the one it was written for. Three further terms
keep the open vocabulary: words that no caption has stay where the sentence encoder put them, and the two kinds of
embedding share one region of the space, so that a model conditioned on sounds understands texts.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.conditioning.joint import JointEncoder
from masktools.errors import CheckpointError, ParameterError
from masktools.training.captioned_mels import Augmentation, CaptionedMel, training_crop
from masktools.training.captions import Phrase, asserted_tags, collect_phrases, truth_table
from masktools.training.retrieval import Retrieval, evaluate_retrieval
from masktools.training.streams import weighted_by_kind

__all__ = ["JointTrainingConfig", "contrastive_loss", "geometry_loss", "train_joint_encoder"]


@dataclass(frozen=True)
class JointTrainingConfig:
    """Settings of the contrastive training; the defaults made the bundled encoder."""

    n_steps: int = 1400
    batch_size: int = 64
    n_texts: int = 192  # phrases of other sounds beside the batch's own
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: int = 100  # steps
    temperature: float = 0.07
    geometry: float = 10.0  # weight of keeping the distances between words
    alignment: float = 1.0  # weight of closing the gap between the two kinds of embedding
    mix_share: float = 0.3  # of crops are two recordings at once
    kind_weights: Mapping[str, float] = field(default_factory=dict)  # how often a kind is drawn; 1 where not named
    evaluate_every: int = 100  # steps
    patience: int = 14  # evaluations without a better one before the end
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Check every range."""
        for name in ("n_steps", "batch_size", "evaluate_every", "patience"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} must be positive, got {getattr(self, name):g}")
        for name in ("n_texts", "weight_decay", "warm_up", "geometry", "alignment"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{name} must not be negative, got {getattr(self, name):g}")
        if not 0.0 <= self.mix_share <= 1.0:
            raise ParameterError(f"mix_share must lie in [0, 1], got {self.mix_share:g}")


def contrastive_loss(sounds: Tensor, texts: Tensor, true: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of sounds -> texts and of texts -> sounds, with several positives each.

    Args:
        sounds: embeddings (b, d)
        texts: embeddings (n, d)
        true: which text is true of which sound, (b, n)
        weights: of the texts among the positives of a sound, (n,); a rare text says more than a common one
        temperature: of the softmax

    Source: InfoNCE as in CLIP (arXiv:2103.00020), section 2.3, with the positives of supervised contrastive learning
    (arXiv:2004.11362), Eq. 2.
    """
    logits = sounds @ texts.T / temperature
    return (_towards(logits, true * weights) + _towards(logits.T, true.T.to(logits.dtype))) / 2


def _towards(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the rows that have a target at all."""
    total = targets.sum(dim=1, keepdim=True)
    has_target = total.squeeze(1) > 0
    losses = -(logits.log_softmax(dim=1) * targets / total.clamp_min(1e-12)).sum(dim=1)
    return (losses * has_target).sum() / has_target.sum().clamp_min(1)


def geometry_loss(before: Tensor, after: Tensor) -> Tensor:
    """Return the mean squared change of the cosines between vectors of unit norm, (n, d) -> (n, d')."""
    return (before @ before.T - after @ after.T).square().mean()


class _Draw:
    """What a step sees: everything follows from the seed and the step's number."""

    def __init__(
        self,
        encoder: JointEncoder,
        recordings: Sequence[CaptionedMel],
        phrases: Sequence[Phrase],
        config: JointTrainingConfig,
    ) -> None:
        self.config, self.mel_config = config, encoder.config.mel
        self.recordings, self.phrases = recordings, phrases
        self.true = truth_table([r.tags for r in recordings], phrases)
        self.weights = torch.log(len(recordings) / self.true.sum(dim=0).clamp_min(1)) + 0.1
        self.vectors = encoder.tokens([phrase.text for phrase in phrases])
        index = {phrase: i for i, phrase in enumerate(phrases)}
        captions = [Phrase(r.caption, asserted_tags(r.caption, r.tags)) for r in recordings]
        self.caption_ids = [index.get(phrase) for phrase in captions]
        self.phrase_ids = [row.nonzero().flatten().numpy() for row in self.true]
        self.shares = self._shares()
        words = [i for i, piece in enumerate(encoder.tokens.wordpiece.vocabulary) if piece.isalpha() and len(piece) > 2]
        self.words = F.normalize(encoder.tokens.codes[words].float(), dim=-1)

    def _shares(self) -> np.ndarray:
        """Return how often each recording is drawn: rare sets of tags more often than their number says."""
        n_alike = Counter(r.tags for r in self.recordings)
        weights = np.array([1.0 / math.sqrt(n_alike[r.tags]) for r in self.recordings])
        kinds = np.array([r.kind for r in self.recordings])
        for kind in set(kinds.tolist()):
            weights[kinds == kind] /= weights[kinds == kind].sum()
        weights = weighted_by_kind(weights, kinds.tolist(), self.config.kind_weights)
        return weights / weights.sum()

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mels (b, f, m), phrase indices (n,), truth (b, n) and indices of words for the geometry."""
        config = self.config
        rng = np.random.default_rng((config.seed, step))
        chosen = rng.choice(len(self.recordings), size=(config.batch_size, 2), p=self.shares)
        mixed = rng.random(config.batch_size) < config.mix_share
        crops, texts, true = [], set(), []
        for (first, second), is_mixed in zip(chosen, mixed, strict=True):
            other = self.recordings[second].mel if is_mixed else None
            crops.append(training_crop(self.recordings[first].mel, other, config.augmentation, self.mel_config, rng))
            true.append(self.true[first] | self.true[second] if is_mixed else self.true[first])
            own = self.caption_ids[first]
            texts.add(int(rng.choice(self.phrase_ids[first])) if own is None or rng.random() < 0.5 else own)
        texts |= set(rng.choice(len(self.phrases), size=config.n_texts).tolist())
        ids = torch.tensor(sorted(texts))
        words = torch.from_numpy(rng.choice(len(self.words), size=min(256, len(self.words)), replace=False))
        return torch.from_numpy(np.stack(crops)), ids, torch.stack(true)[:, ids], words


def _loss(encoder: JointEncoder, draw: _Draw, step: int, config: JointTrainingConfig) -> Tensor:
    mels, ids, true, words = draw.batch(step)
    sounds, texts = encoder.encode_mel(mels), encoder.encode_vectors(draw.vectors[ids])
    weights = true * draw.weights[ids]
    loss = contrastive_loss(sounds, texts, true, draw.weights[ids], config.temperature)
    before = torch.cat([draw.vectors[ids], draw.words[words]])
    loss = loss + config.geometry * geometry_loss(before, torch.cat([texts, encoder.encode_vectors(draw.words[words])]))
    described = (weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)) @ texts
    return loss + config.alignment * (sounds.mean(dim=0) - described.mean(dim=0)).square().sum()


def _rate(step: int, config: JointTrainingConfig) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then half a cosine."""
    warm = min(1.0, (step + 1) / max(1, config.warm_up))
    return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / config.n_steps)))


def train_joint_encoder(
    encoder: JointEncoder,
    recordings: Sequence[CaptionedMel],
    prompts: Mapping[str, Sequence[str]],
    config: JointTrainingConfig,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, float, Retrieval], None] | None = None,
) -> Retrieval:
    """Train ``encoder`` in place, on the CPU, and return the score of its best state on the split ``valid``.

    Args:
        encoder: from ``JointEncoder.from_vectors``
        recordings: with splits ``train`` and ``valid``
        prompts: tag -> further texts for it
        config: the settings
        checkpoint: a file that is written at each evaluation; if it is there, the training goes on from it
        progress: called at each evaluation with (step, mean loss since the last, score on ``valid``)

    Raises:
        ParameterError: A split has no recordings.
        CheckpointError: ``checkpoint`` was written with other settings.
    """
    train = [r for r in recordings if r.split == "train"]
    valid = [r for r in recordings if r.split == "valid"]
    if not train or not valid:
        raise ParameterError(f"training needs the splits train and valid, got {len(train)} and {len(valid)} recordings")
    draw = _Draw(encoder, train, collect_phrases([(r.caption, r.tags) for r in train], prompts), config)
    optimizer = torch.optim.AdamW(encoder.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    run = _Run(encoder, optimizer, config, checkpoint)
    losses: list[float] = []
    while run.step < config.n_steps and run.n_worse < config.patience:
        encoder.train()
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _rate(run.step, config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed * 1_000_003 + run.step)  # dropout, whatever happened before
            loss = _loss(encoder, draw, run.step, config)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        run.step += 1
        if run.step % config.evaluate_every == 0 or run.step == config.n_steps:
            score = evaluate_retrieval(encoder, valid)
            run.note(score)
            if progress is not None:
                progress(run.step, sum(losses) / len(losses), score)
            losses.clear()
    encoder.load_state_dict(run.best_state)
    encoder.eval()
    return run.best


class _Run:
    """Where a training stands, in memory and in its checkpoint."""

    def __init__(
        self,
        encoder: JointEncoder,
        optimizer: torch.optim.Optimizer,
        config: JointTrainingConfig,
        checkpoint: str | os.PathLike[str] | None,
    ) -> None:
        self.encoder, self.optimizer = encoder, optimizer
        self.settings = repr((encoder.config, config))
        self.path = None if checkpoint is None else Path(checkpoint)
        self.step, self.n_worse = 0, 0
        self.best, self.best_state = Retrieval(-1.0, 0.0, 0.0, 0, 0), _copy(encoder)
        if self.path is not None and self.path.is_file():
            self._resume(torch.load(self.path, map_location="cpu", weights_only=True))

    def _resume(self, saved: dict) -> None:
        if saved["settings"] != self.settings:
            raise CheckpointError(f"{self.path} was written with other settings: remove it, or choose another file")
        self.encoder.load_state_dict(saved["state"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.n_worse = saved["step"], saved["n_worse"]
        self.best, self.best_state = Retrieval(*saved["best"]), saved["best_state"]

    def note(self, score: Retrieval) -> None:
        """Keep the state if it is the best so far, and write the checkpoint."""
        if score.mean_average_precision > self.best.mean_average_precision:
            self.best, self.best_state, self.n_worse = score, _copy(self.encoder), 0
        else:
            self.n_worse += 1
        if self.path is None:
            return
        content = {"settings": self.settings, "step": self.step, "n_worse": self.n_worse, "best": tuple(self.best)}
        content |= {"state": self.encoder.state_dict(), "optimizer": self.optimizer.state_dict()}
        partial = self.path.with_name(self.path.name + ".part")
        torch.save(content | {"best_state": self.best_state}, partial)
        partial.replace(self.path)


def _copy(encoder: JointEncoder) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in encoder.state_dict().items()}
