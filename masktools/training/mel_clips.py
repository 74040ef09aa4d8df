"""Clips for the transformer: mel spectrograms and embeddings of the audio, computed once for a cache.

Training on mels instead of waves saves the front end and the text-audio encoder at every step, and keeps the
important augmentation: any start, any gain, any erased cell.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from masktools.core import configs
from masktools.core.errors import ParameterError
from masktools.io import replacing
from masktools.mel import MelConfig
from masktools.networks.conditioning.joint import JointEncoder
from masktools.networks.transformer import TransformerConfig
from masktools.pipeline import bundles
from masktools.training import checkpoints, shards, streams, token_cache
from masktools.training.captioned_mels import CaptionedMel, captioned_mels, is_packed, mixed_mels, read_packed

MIXED_BELOW_DB = (6.0, 18.0)  # least and greatest attenuation of the second clip of a mixture
_SILENCE = -1.0


def sound_embeddings(encoder: JointEncoder, mel: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the embeddings (s, d) of windows of ``n_frames`` of a mel (m, f), with a hop of half a window."""
    hop = n_frames // 2
    starts = range(0, max(1, len(mel) - hop), hop)
    parts = [torch.from_numpy(np.asarray(mel[s : s + n_frames], np.float32).T)[None] for s in starts]
    with torch.inference_mode():
        return np.concatenate([encoder.encode_mel(part).numpy() for part in parts])


class MelClipStream(streams.RecordingStream):
    """Endless random clips: ``mel`` (f, n_frames), ``condition`` (d,) of their audio, ``caption``, ``full_band``.

    A recording shorter than the clip is followed by others of the same tags, with short silences between. A share
    of the clips is mixed with a quieter one, which is not in their condition. ``full_band`` says whether a
    clip extends to the upper rows, or comes from a recording that never had them.
    """

    pauses = (0, 31)  # frames

    def __init__(
        self,
        recordings: Sequence[CaptionedMel],
        embeddings: Sequence[np.ndarray],
        n_frames: int,
        seed: int = 0,
        gain_share: float = 0.12,
        kind_weights: dict[str, float] | None = None,
        mix_share: float = 0.0,
        span_db: float = 100.0,
    ) -> None:
        if not recordings:
            raise ParameterError("there are no recordings to draw clips from")
        self.recordings, self.embeddings, self.n_frames = recordings, embeddings, n_frames
        self.gain_share, self.mix_share = gain_share, mix_share
        self.span_db = span_db  # of the mel spectrogram's unit, -1 to 1
        lengths = np.array([min(max(len(r.mel), 80), 3440) for r in recordings], float)
        super().__init__(seed, lengths, [r.kind for r in recordings], [r.tags for r in recordings], kind_weights)

    def length(self, index: int) -> int:
        """Return the length of a recording in frames."""
        return len(self.recordings[index].mel)

    def read(self, index: int, start: int, n: int) -> np.ndarray:
        """Return frames (n, f) of a recording."""
        return np.asarray(self.recordings[index].mel[start : start + n], np.float32)

    def silence(self, n: int) -> np.ndarray:
        """Return frames of silence."""
        return np.full((n, self.recordings[0].mel.shape[1]), _SILENCE, np.float32)

    def _is_full_band(self, index: int) -> bool:
        bandwidth_hz = self.recordings[index].bandwidth_hz
        return bandwidth_hz == 0 or bandwidth_hz >= streams.FULL_BAND_HZ

    def sample(self, index: int) -> streams.Batch:
        """Return clip ``index``."""
        rng = np.random.default_rng((self.seed, index))
        number = self.drawn(rng)
        clip, start = self.clip(number, self.n_frames, rng)
        full_band = self._is_full_band(number)
        if rng.random() < self.mix_share:
            second = self.drawn(rng)
            other, _ = self.clip(second, self.n_frames, rng)
            below_db = rng.uniform(*MIXED_BELOW_DB)
            clip = mixed_mels(clip, other - 2.0 * below_db / self.span_db, self.span_db)
            full_band = full_band and self._is_full_band(second)
        stretch = min(round(2 * start / self.n_frames), len(self.embeddings[number]) - 1)
        gain = rng.uniform(-self.gain_share, self.gain_share)
        louder = np.where(clip <= _SILENCE, _SILENCE, clip + gain).clip(-1.0, 1.0)
        return {
            "mel": torch.from_numpy(np.ascontiguousarray(louder.T, np.float32)),
            "caption": self.recordings[number].caption or "sound",
            "full_band": full_band,
            **_condition(self.embeddings[number][stretch]),
        }


class MelClipData(streams.StreamData):
    """Random training clips and fixed validation clips of a cache, for the transformer.

    Args:
        cache: an audio cache, or a file of packed mel spectrograms; with ``folder``, a cache is made of that folder.
        conditioner: a text-audio encoder, or a bundle that has one; without one, clips have no condition.
        mels: folder of mel spectrograms and embeddings.
        folder: a folder of recordings, or another source for `masktools cache`.
        base: a bundle to train further: its mel settings, its clip length and its text-audio encoder are used.
        mel: settings of the mel front end.
        n_frames: mel frames of a clip.
        batch_size: clips in a batch.
        seed: random seed of all that is drawn.
        n_valid_clips: number of validation clips, at most.
        gain_share: greatest gain, up or down, as a share of the range of levels.
        kind_weights: kind -> weight of its recordings; 1 where it is missing.
        mix_share: share of clips that are a mixture of two, in [0, 1].
        n_workers: number of processes that draw clips.
    """

    def __init__(
        self,
        cache: str,
        mels: str,
        conditioner: str | None = None,
        folder: str | None = None,
        base: str | None = None,
        mel: MelConfig = MelConfig(),
        n_frames: int = 848,
        batch_size: int = 16,
        seed: int = 0,
        n_valid_clips: int = 48,
        gain_share: float = 0.12,
        kind_weights: dict[str, float] | None = None,
        mix_share: float = 0.0,
        n_workers: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["mel"])
        self.mel, self.n_frames, self.conditioner = mel, n_frames, conditioner
        if base is not None:
            told, _ = bundles.stored_part(base, "transformer")
            self.mel, self.conditioner = configs.from_dict(MelConfig, told["mel"]), base
            self.n_frames = 16 * configs.from_dict(TransformerConfig, told["config"]).n_cols

    def prepare_data(self) -> None:
        """Decode the recordings of the folder, if there is one, in one process of each node."""
        own = self.hparams
        if own["folder"]:
            shards.build_cache([own["folder"]], own["cache"], self.mel.sample_rate)

    def _embeddings(self, recordings: Sequence[CaptionedMel]) -> list[np.ndarray]:
        """Return the embeddings of each recording, read from the folder or computed into it."""
        own = self.hparams
        if self.conditioner is None:
            return [np.zeros((1, 0), np.float32) for _ in recordings]
        encoder = checkpoints.load_joint_encoder(self.conditioner)
        key = f"{token_cache.fingerprint(encoder)}-{self.n_frames}"
        stored = Path(own["mels"], f"embeddings-{key}.npz")
        if stored.is_file():
            with np.load(stored, allow_pickle=False) as found:
                return np.split(found["vectors"], found["edges"])
        parts = [sound_embeddings(encoder, r.mel, self.n_frames) for r in recordings]
        edges = np.cumsum([len(p) for p in parts])[:-1]
        with replacing(stored) as part, part.open("wb") as file:
            np.savez(file, vectors=np.concatenate(parts), edges=edges)
        return parts

    def setup(self, stage: str | None = None) -> None:
        """Compute what is missing, and split the recordings."""
        own = self.hparams
        if is_packed(own["cache"]):
            recordings = read_packed(own["cache"])
            Path(own["mels"]).mkdir(parents=True, exist_ok=True)
        else:
            recordings = captioned_mels(shards.AudioCache(own["cache"]), self.mel, own["mels"])
        pairs = list(zip(recordings, self._embeddings(recordings), strict=True))
        self.train = [pair for pair in pairs if pair[0].split == "train"]
        of_split = [p for p in pairs if p[0].split == "valid"]
        if not self.train or not of_split:
            raise ParameterError(f"training needs the splits train and valid, {own['cache']} has not both")
        longest = max(of_split, key=lambda pair: len(pair[0].mel))
        long_enough = [p for p in of_split if len(p[0].mel) >= self.n_frames] or [longest]
        self.valid = streams.spread_over(long_enough, own["n_valid_clips"])

    def train_dataloader(self) -> streams.StreamLoader:
        """Return the endless training batches."""
        own = self.hparams
        recordings, embeddings = zip(*self.train, strict=True)
        stream = MelClipStream(
            recordings,
            embeddings,
            self.n_frames,
            own["seed"],
            own["gain_share"],
            own["kind_weights"],
            own["mix_share"],
            self.mel.db_max - self.mel.db_min,
        )
        return self.stream_loader(stream, own["batch_size"], own["n_workers"])

    def val_dataloader(self) -> DataLoader[streams.Batch]:
        """Return the fixed validation batches: the beginning of each recording, short ones padded with silence."""
        n_frames = self.n_frames
        clips = [
            {"mel": torch.from_numpy(_beginning(r.mel, n_frames)), "caption": r.caption or "sound", **_condition(e[0])}
            for r, e in self.valid
        ]
        return DataLoader(clips, self.hparams["batch_size"])  # type: ignore[arg-type]


def _condition(embedding: np.ndarray) -> dict[str, torch.Tensor]:
    """Return the condition of a clip, None without an embedding."""
    return {"condition": torch.from_numpy(embedding)} if embedding.size else {}


def _beginning(mel: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the first frames of a mel spectrogram (m, f), padded with silence: float32 (f, n_frames)."""
    given = np.asarray(mel[:n_frames], np.float32).T
    return np.pad(given, ((0, 0), (0, n_frames - given.shape[1])), constant_values=_SILENCE)
