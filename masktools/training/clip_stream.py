"""Random clips of an audio cache for training, and fixed ones for validation."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch

from masktools.errors import ParameterError
from masktools.io import resample_to
from masktools.training.audio_cache import AudioCache, Recording
from masktools.training.streams import Batch, Stream, drawn_index, weighted_by_kind

__all__ = [
    "USUAL",
    "ClipStream",
    "WaveAugmentation",
    "assembled",
    "augmented",
    "fixed_clips",
    "wave_batch",
]

_LONGEST_PAUSE_S = 0.4  # between recordings that fill a clip together
_LONGEST_WEIGHT_S = 40.0  # from here on a recording is not drawn more often for being longer
_SPEED_STEPS = 1000  # of the factor of speed
_QUIETER_DB = 12.0  # the second clip of a mixture, at most
_PEAK = 0.99

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, str]]  # so many samples, and what they are


@dataclass(frozen=True)
class WaveAugmentation:
    """How far a training clip may depart from its recording."""

    gain_db: float = 6.0  # either way
    mix_share: float = 0.1  # of clips have a second, quieter one under them
    speed: float = 1.0  # largest factor of speed, and with it of pitch, either way; 1 for none

    def __post_init__(self) -> None:
        """Check every range."""
        if self.gain_db < 0:
            raise ParameterError(f"gain_db must not be negative, got {self.gain_db:g} dB")
        if not 0.0 <= self.mix_share <= 1.0:
            raise ParameterError(f"mix_share must lie in [0, 1], got {self.mix_share:g}")
        if not 1.0 <= self.speed <= 4.0:
            raise ParameterError(f"speed must lie in [1, 4], got {self.speed:g}")


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
    """Return one clip as training takes it."""
    return {"wave": torch.from_numpy(np.ascontiguousarray(wave, np.float32)), "caption": caption}


def _at_some_speed(draw: Draw, n_samples: int, speed: float, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    if speed == 1.0:
        return draw(rng, n_samples)
    steps = round(_SPEED_STEPS * speed ** rng.uniform(-1.0, 1.0))
    clip, caption = draw(rng, ceil(n_samples * steps / _SPEED_STEPS))
    return resample_to(clip, steps, _SPEED_STEPS, n_samples), caption


def assembled(
    first: np.ndarray, following: Callable[[], np.ndarray], n_samples: int, pause_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return n_samples of short recordings one after the other, with short pauses, from a random place on."""
    clip = np.zeros(n_samples, np.float32)
    piece, position = first, 0
    while position < n_samples:
        piece = piece[: n_samples - position]
        clip[position : position + len(piece)] = piece
        position += len(piece) + 1 + int(rng.integers(pause_samples + 1))
        piece = following()
    return np.roll(clip, int(rng.integers(n_samples)))


class ClipStream(Stream):
    """Random clips of a split, ``wave`` (n_samples,) and ``caption``, with gain, mixing and speed as augmentation.

    A recording shorter than the clip is followed by others of the same kind and labels, with short pauses between. A
    recording is drawn as often as it is long, up to 40 s, times the weight of its kind.
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
        super().__init__(seed)
        if n_samples < 1:
            raise ParameterError(f"n_samples must be at least 1, got {n_samples}")
        self.cache, self.n_samples, self.augmentation = cache, n_samples, augmentation
        self.recordings = cache.split(split)
        self._alike: dict[tuple[str, str], list[Recording]] = defaultdict(list)
        for recording in self.recordings:
            self._alike[recording.kind, recording.labels].append(recording)
        seconds = np.array([r.n_samples for r in self.recordings]) / cache.sample_rate
        kinds, seconds = [r.kind for r in self.recordings], seconds.clip(1.0, _LONGEST_WEIGHT_S)
        self._cumulative = np.cumsum(weighted_by_kind(seconds, kinds, kind_weights, f"of split {split!r}"))

    def sample(self, index: int) -> Batch:
        """Return clip ``index``."""
        return augmented(self._draw, self.n_samples, self.augmentation, np.random.default_rng((self.seed, index)))

    def _draw(self, rng: np.random.Generator, n_samples: int) -> tuple[np.ndarray, str]:
        recording = self.recordings[drawn_index(self._cumulative, rng)]
        texts = recording.descriptions
        caption = texts[int(rng.integers(len(texts)))]
        if recording.n_samples >= n_samples:
            start = int(rng.integers(recording.n_samples - n_samples + 1))
            return self.cache.wave(recording, start, n_samples), caption
        alike = self._alike[recording.kind, recording.labels]

        def following() -> np.ndarray:
            return self.cache.wave(alike[int(rng.integers(len(alike)))], 0, n_samples)

        pause_samples = int(_LONGEST_PAUSE_S * self.cache.sample_rate)
        return assembled(self.cache.wave(recording), following, n_samples, pause_samples, rng), caption


def fixed_clips(cache: AudioCache, split: str, n_samples: int, n_clips: int) -> list[Batch]:
    """Return up to n_clips clips of a split, the same at each call: evenly chosen, from their middle.

    Where no recording lasts as long as a clip, silence follows the longest one.
    """
    recordings = cache.split(split)
    long_enough = [r for r in recordings if r.n_samples >= n_samples] or [max(recordings, key=lambda r: r.n_samples)]
    chosen = long_enough[:: max(1, len(long_enough) // n_clips)][:n_clips]
    waves = [cache.wave(r, max(0, (r.n_samples - n_samples) // 2), n_samples) for r in chosen]
    waves = [np.pad(wave, (0, n_samples - len(wave))) for wave in waves]
    return [wave_batch(wave, r.caption) for wave, r in zip(waves, chosen, strict=True)]
