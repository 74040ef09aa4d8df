"""Data of the contrastive training: sounds, texts, and which text is true of which sound."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from masktools.core.arguments import check_within
from masktools.core.errors import ParameterError
from masktools.core.jsons import read_json
from masktools.mel import MelConfig
from masktools.training.audio_cache import AudioCache
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
from masktools.training.streams import Batch, Stream, StreamData, StreamLoader, weighted_by_kind

_USUAL = Augmentation()


class SoundTextStream(Stream):
    """Whole steps: ``mel`` (b, f, m), ``texts`` (n,) by number, and which of them are ``true`` of which sound (b, n).

    A step holds for each sound one of its texts, its own caption half of the time, and ``n_texts`` of other sounds.
    Rare sets of tags are drawn more often than their number says.
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
    """Return how often each recording is drawn."""
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
        mels: where its mel spectrograms are kept.
        prompts: a JSON file, tag -> further texts for it.
        synonyms: a JSON file, tag -> texts that are no training texts, by which validation names sounds.
        mel: settings of the mel front end.
        batch_size: sounds in a step.
        n_texts: texts of other sounds beside the step's own.
        mix_share: share of crops that are a mixture of two recordings, in [0, 1].
        kind_weights: how often a kind is drawn; 1 where it is not named.
        augmentation: how far a crop may depart from its recording.
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
        """Compute the mel spectrograms that are not computed yet, and collect the texts."""
        own = self.hparams
        recordings = captioned_mels(AudioCache(own["cache"]), self.mel, own["mels"])
        self.train = [r for r in recordings if r.split == "train"]
        self.valid = [r for r in recordings if r.split == "valid"]
        self.collect()

    def collect(self) -> None:
        """Collect the texts that are true of the recordings.

        Raises:
            ParameterError: A split has no recordings.
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
