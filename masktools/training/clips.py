"""Clips of audio for training, drawn by seed and number from a cache or from shards."""

import functools
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from masktools.core.arguments import check_least, settle
from masktools.core.configs import ranged
from masktools.core.errors import AudioError, MasktoolsError, ParameterError
from masktools.io import resample_to
from masktools.training.shards import AudioCache, Recording, ShardSet, build_cache
from masktools.training.streams import Batch, RecordingStream, Stream, StreamData, StreamLoader, assembled, spread_over

_LONGEST_PAUSE_S = 0.4  # between recordings in one clip
_LONGEST_WEIGHT_S = 40.0  # longer recordings are not drawn more often
_SPEED_STEPS = 1000  # of the factor of speed
_QUIETER_DB = 12.0  # level of the second clip of a mixture, at most
_PEAK = 0.99

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, str]]  # a number of samples, and their description


@dataclass(frozen=True)
class WaveAugmentation:
    """Augmentation of training clips: gain, mixing and speed."""

    gain_db: float = ranged(6.0, "[0, inf]", "dB")  # in either direction
    mix_share: float = ranged(0.1, "[0, 1]")  # share of clips that are mixed with a quieter one
    speed: float = ranged(1.0, "[1, 4]")  # greatest factor of speed and pitch, in either direction; 1 for none

    __post_init__ = settle


USUAL = WaveAugmentation()


def augmented(draw: Draw, n_samples: int, settings: WaveAugmentation, rng: np.random.Generator) -> Batch:
    """Return a clip ``wave`` (n_samples,) and its ``caption``, with speed, mixing and gain; its peak is below 1."""
    clip, caption = _at_some_speed(draw, n_samples, settings.speed, rng)
    if rng.random() < settings.mix_share:
        second, _ = _at_some_speed(draw, n_samples, settings.speed, rng)
        clip = clip + second * 10 ** (rng.uniform(-_QUIETER_DB, 0.0) / 20)
    clip = clip * 10 ** (rng.uniform(-settings.gain_db, settings.gain_db) / 20)
    peak = float(np.abs(clip).max())
    return wave_batch(clip * min(1.0, _PEAK / max(peak, 1e-9)), caption)


def wave_batch(wave: np.ndarray, caption: str) -> Batch:
    """Return one clip as an item of a batch."""
    return {"wave": torch.from_numpy(np.ascontiguousarray(wave, np.float32)), "caption": caption}


def _at_some_speed(draw: Draw, n_samples: int, speed: float, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    if speed == 1.0:
        return draw(rng, n_samples)
    steps = round(_SPEED_STEPS * speed ** rng.uniform(-1.0, 1.0))
    clip, caption = draw(rng, ceil(n_samples * steps / _SPEED_STEPS))
    return resample_to(clip, steps, _SPEED_STEPS, n_samples), caption


def _pauses(sample_rate: int) -> tuple[int, int]:
    return 1, 1 + int(_LONGEST_PAUSE_S * sample_rate)


class ClipStream(RecordingStream):
    """Random clips of a split, ``wave`` (n_samples,) and ``caption``, with gain, mixing and speed as augmentation.

    A recording shorter than the clip is followed by others of the same kind and labels. Recordings are drawn in
    proportion
    to their length, up to 40 s, times the weight of their kind.
    """

    def __init__(
        self,
        cache: AudioCache,
        split: str,
        n_samples: int,
        seed: int = 0,
        augmentation: WaveAugmentation = USUAL,
        kind_weights: dict[str, float] | None = None,
    ) -> None:
        check_least(1, n_samples=n_samples)
        self.cache, self.n_samples, self.augmentation = cache, n_samples, augmentation
        self.recordings, self.pauses = cache.split(split), _pauses(cache.sample_rate)
        seconds = np.array([r.n_samples for r in self.recordings]) / cache.sample_rate
        kinds, alike = [r.kind for r in self.recordings], [(r.kind, r.labels) for r in self.recordings]
        super().__init__(seed, seconds.clip(1.0, _LONGEST_WEIGHT_S), kinds, alike, kind_weights, f"of split {split!r}")

    def length(self, index: int) -> int:
        """Return the length of a recording in samples."""
        return self.recordings[index].n_samples

    def read(self, index: int, start: int, n: int) -> np.ndarray:
        """Return samples of a recording."""
        return self.cache.wave(self.recordings[index], start, n)

    def silence(self, n: int) -> np.ndarray:
        """Return zeros."""
        return np.zeros(n, np.float32)

    def sample(self, index: int) -> Batch:
        """Return clip ``index``."""
        return augmented(self._draw, self.n_samples, self.augmentation, np.random.default_rng((self.seed, index)))

    def _draw(self, rng: np.random.Generator, n_samples: int) -> tuple[np.ndarray, str]:
        number = self.drawn(rng)
        caption = self.recordings[number].described(rng)
        return self.clip(number, n_samples, rng)[0], caption


def fixed_clips(cache: AudioCache, split: str, n_samples: int, n_clips: int) -> list[Batch]:
    """Return up to n_clips clips of a split, the same at each call: evenly spread, from the middle of recordings.

    Where no recording is as long as a clip, the longest one is padded with silence.
    """
    recordings = cache.split(split)
    long_enough = [r for r in recordings if r.n_samples >= n_samples] or [max(recordings, key=lambda r: r.n_samples)]
    chosen = spread_over(long_enough, n_clips)
    waves = [cache.wave(r, max(0, (r.n_samples - n_samples) // 2), n_samples) for r in chosen]
    waves = [np.pad(wave, (0, n_samples - len(wave))) for wave in waves]
    return [wave_batch(wave, r.caption) for wave, r in zip(waves, chosen, strict=True)]


_MAX_BROKEN_RUN = 100  # consecutive unreadable samples are an error


class ShardClipStream(Stream):
    """Random clips of a split of shards, ``wave`` (n_samples,) and ``caption``, as ``ClipStream`` gives them.

    Shards come in another order each epoch, and their samples are shuffled within a moving buffer; a
    process reads its own samples only. A recording shorter than the clip is repeated, with short pauses. One that
    cannot be decoded is replaced by another, with one warning, and recorded in ``broken``.
    """

    def __init__(
        self,
        shards: ShardSet,
        split: str,
        n_samples: int,
        seed: int = 0,
        augmentation: WaveAugmentation = USUAL,
        n_shuffled: int = 4096,
    ) -> None:
        super().__init__(seed)
        check_least(1, n_samples=n_samples, n_shuffled=n_shuffled)
        self.shards, self.n_samples, self.augmentation, self.n_shuffled = shards, n_samples, augmentation, n_shuffled
        self.numbers = shards.split(split)
        edges = np.flatnonzero(np.diff(shards.samples["shard"][self.numbers])) + 1
        self._edges = np.concatenate([[0], edges, [len(self.numbers)]])
        self.broken: dict[str, str] = {}  # of this process

    def sample(self, index: int) -> Batch:
        """Return clip ``index``."""
        epoch, place = divmod(index, len(self.numbers))
        first = int(self.numbers[epoch_place(self.seed, epoch, place, self._edges.tobytes(), self.n_shuffled)])
        rng = np.random.default_rng((self.seed, index))
        chosen = [first]

        def draw(rng: np.random.Generator, n_samples: int) -> tuple[np.ndarray, str]:
            number = chosen.pop() if chosen else int(rng.choice(self.numbers))
            return self._cut(*self._readable(number, rng), n_samples, rng)

        return augmented(draw, self.n_samples, self.augmentation, rng)

    def _readable(self, number: int, rng: np.random.Generator) -> tuple[Recording, np.ndarray]:
        """Return a recording, or another one if it cannot be decoded."""
        for _ in range(_MAX_BROKEN_RUN):
            try:
                return self.shards.item(number)
            except AudioError as error:
                name = self.shards.name(number)
                if name not in self.broken:
                    self.broken[name] = str(error)
                    warnings.warn(f"skipped {error}", stacklevel=2)
                number = int(rng.choice(self.numbers))
        raise MasktoolsError(
            f"{_MAX_BROKEN_RUN} samples in a row of the shards below {self.shards.folder} cannot be decoded"
        )

    def _cut(
        self, recording: Recording, wave: np.ndarray, n_samples: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, str]:
        caption = recording.described(rng)
        if len(wave) >= n_samples:
            start = int(rng.integers(len(wave) - n_samples + 1))
            return wave[start : start + n_samples], caption
        pauses = _pauses(self.shards.sample_rate)
        return assembled(np.zeros(n_samples, np.float32), wave, lambda: wave, pauses, rng), caption


def epoch_place(seed: int, epoch: int, place: int, edges: bytes, n_shuffled: int) -> int:
    """Return the index of the sample at a position of an epoch; each occurs once.

    Args:
        seed: random seed of the order
        epoch: number of the epoch; each has its own order
        place: position in the epoch, below the number of samples
        edges: start of each shard, and the number of samples, as the bytes of an int64 array
        n_shuffled: size of the shuffle buffer in samples
    """
    starts, sizes, ends = _shard_order(seed, epoch, edges)
    block, within = divmod(place, n_shuffled)
    n_block = min(n_shuffled, int(ends[-1]) - block * n_shuffled)
    moved = block * n_shuffled + int(_block_order(seed, epoch, block, n_block)[within])
    shard = int(np.searchsorted(ends, moved, side="right"))
    return int(starts[shard] + moved - (ends[shard] - sizes[shard]))


@functools.lru_cache(maxsize=4)
def _shard_order(seed: int, epoch: int, edges: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the start, the number of samples and the cumulative number of samples of each shard of an epoch."""
    whole = np.frombuffer(edges, np.int64)
    order = np.random.default_rng((seed, epoch, 0)).permutation(len(whole) - 1)
    sizes = np.diff(whole)[order]
    return whole[:-1][order], sizes, np.cumsum(sizes)


@functools.lru_cache(maxsize=4)
def _block_order(seed: int, epoch: int, block: int, n_block: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, 1, block)).permutation(n_block)


def fixed_shard_clips(shards: ShardSet, split: str, n_samples: int, n_clips: int) -> list[Batch]:
    """Return up to n_clips clips of a split, the same at each call: evenly spread, from the middle of recordings.

    Raises:
        ParameterError: none of the examined recordings of the split is that long.
    """
    numbers = shards.split(split)
    clips: list[Batch] = []
    for number in numbers[:: max(1, len(numbers) // (2 * n_clips))]:
        try:
            recording, wave = shards.item(int(number))
        except AudioError:
            continue
        if len(wave) >= n_samples:
            start = (len(wave) - n_samples) // 2
            clips.append(wave_batch(wave[start : start + n_samples], recording.caption))
        if len(clips) == n_clips:
            break
    if not clips:
        raise ParameterError(f"no recording of split {split!r} lasts {n_samples} samples")
    return clips


def open_audio(folder: str | os.PathLike[str], sample_rate: int = 22_050) -> AudioCache | ShardSet:
    """Open the audio cache of a folder, or its tar shards at a sample rate.

    Raises:
        ParameterError: there is neither, or the cache is at another rate.
    """
    place = Path(folder)
    if (place / "waves.int16").is_file():
        cache = AudioCache(place)
        if cache.sample_rate != sample_rate:
            raise ParameterError(f"the cache must be at {sample_rate} Hz, got {cache.sample_rate} Hz in {place}")
        return cache
    if place.is_dir() and next(place.rglob("*.tar"), None) is not None:
        return ShardSet(place, sample_rate)
    raise ParameterError(f"no audio cache and no tar shards in {place}: make one with `masktools cache`")


class AudioData(StreamData):
    """Clips of an audio cache or of tar shards: batches of ``wave`` (b, t) and ``caption``.

    With ``sources``, the cache is made of them before training, unless it exists already. Shards have no
    weights of kinds: they are read sequentially.
    """

    def __init__(
        self,
        cache: str,
        n_samples: int = 217_088,
        batch_size: int = 16,
        seed: int = 0,
        n_valid_clips: int = 32,
        n_workers: int = 0,
        gain_db: float = 6.0,
        mix_share: float = 0.1,
        kind_weights: dict[str, float] | None = None,
        speed: float = 1.0,
        sample_rate: int = 22_050,
        sources: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()

    def prepare_data(self) -> None:
        """Make the cache, in one process of each node."""
        own = self.hparams
        if own["sources"]:
            build_cache(own["sources"], own["cache"], own["sample_rate"], n_workers=max(1, own["n_workers"]))

    def setup(self, stage: str | None = None) -> None:
        """Open the cache or the shards."""
        self.audio = open_audio(self.hparams["cache"], self.hparams["sample_rate"])

    def train_dataloader(self) -> StreamLoader:
        """Return the endless training batches."""
        own = self.hparams
        augmentation = WaveAugmentation(own["gain_db"], own["mix_share"], own["speed"])
        if isinstance(self.audio, AudioCache):
            weights = own["kind_weights"]
            stream = ClipStream(self.audio, "train", own["n_samples"], own["seed"], augmentation, weights)
        else:
            stream = ShardClipStream(self.audio, "train", own["n_samples"], own["seed"], augmentation)
        return self.stream_loader(stream, own["batch_size"], own["n_workers"])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the fixed validation batches."""
        own = self.hparams
        asked = ("valid", own["n_samples"], own["n_valid_clips"])
        if isinstance(self.audio, AudioCache):
            clips = fixed_clips(self.audio, *asked)
        else:
            clips = fixed_shard_clips(self.audio, *asked)
        return DataLoader(clips, own["batch_size"])  # type: ignore[arg-type]
