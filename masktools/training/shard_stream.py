"""Random clips of recordings in tar shards: each epoch in another order, each sample once an epoch."""

import functools
import warnings

import numpy as np

from masktools.errors import AudioError, MasktoolsError, ParameterError
from masktools.training.audio_cache import Recording
from masktools.training.clip_stream import USUAL, WaveAugmentation, assembled, augmented, wave_batch
from masktools.training.shards import ShardSet
from masktools.training.streams import Batch, Stream

__all__ = ["ShardClipStream", "epoch_place", "fixed_shard_clips"]

_MAX_BROKEN_RUN = 100  # so many unreadable samples in a row are no accident
_LONGEST_PAUSE_S = 0.4


class ShardClipStream(Stream):
    """Random clips of a split of shards, ``wave`` (n_samples,) and ``caption``, as ``ClipStream`` gives them.

    Shards come in another order each epoch, and their samples are shuffled within a buffer that moves over them; a
    process reads its own samples only. A recording shorter than the clip is repeated, with short pauses. One that
    cannot be decoded gives way to another, is warned of once, and kept in ``broken``.
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
        for name, value in (("n_samples", n_samples), ("n_shuffled", n_shuffled)):
            if value < 1:
                raise ParameterError(f"{name} must be at least 1, got {value}")
        self.shards, self.n_samples, self.augmentation, self.n_shuffled = shards, n_samples, augmentation, n_shuffled
        self.numbers = shards.split(split)
        edges = np.flatnonzero(np.diff(shards.samples["shard"][self.numbers])) + 1
        self._edges = np.concatenate([[0], edges, [len(self.numbers)]])
        self.broken: dict[str, str] = {}  # in this process

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
        """Return a recording, or another one where it cannot be decoded."""
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
        texts = recording.descriptions
        caption = texts[int(rng.integers(len(texts)))]
        if len(wave) >= n_samples:
            start = int(rng.integers(len(wave) - n_samples + 1))
            return wave[start : start + n_samples], caption
        pause_samples = int(_LONGEST_PAUSE_S * self.shards.sample_rate)
        return assembled(wave, lambda: wave, n_samples, pause_samples, rng), caption


def epoch_place(seed: int, epoch: int, place: int, edges: bytes, n_shuffled: int) -> int:
    """Return which sample comes at a place of an epoch; each comes once.

    Args:
        seed: of the order
        epoch: every one has its own order
        place: in the epoch, below the number of samples
        edges: where each shard begins, and the number of samples, as the bytes of an int64 array
        n_shuffled: samples that are shuffled among each other
    """
    starts, sizes, ends = _shard_order(seed, epoch, edges)
    block, within = divmod(place, n_shuffled)
    n_block = min(n_shuffled, int(ends[-1]) - block * n_shuffled)
    moved = block * n_shuffled + int(_block_order(seed, epoch, block, n_block)[within])
    shard = int(np.searchsorted(ends, moved, side="right"))
    return int(starts[shard] + moved - (ends[shard] - sizes[shard]))


@functools.lru_cache(maxsize=4)
def _shard_order(seed: int, epoch: int, edges: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each shard of an epoch begins, how many samples it has, and how many came by its end."""
    whole = np.frombuffer(edges, np.int64)
    order = np.random.default_rng((seed, epoch, 0)).permutation(len(whole) - 1)
    sizes = np.diff(whole)[order]
    return whole[:-1][order], sizes, np.cumsum(sizes)


@functools.lru_cache(maxsize=4)
def _block_order(seed: int, epoch: int, block: int, n_block: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, 1, block)).permutation(n_block)


def fixed_shard_clips(shards: ShardSet, split: str, n_samples: int, n_clips: int) -> list[Batch]:
    """Return up to n_clips clips of a split, the same at each call: evenly chosen, from their middle.

    Raises:
        ParameterError: No recording of the split that was looked at is that long.
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
