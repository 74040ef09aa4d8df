"""Mel spectrograms with tags and captions, computed once; and the crops and changes that training draws from them."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masktools.errors import ParameterError
from masktools.mel import DB_PER_NEPER, MelConfig, MelFrontEnd
from masktools.training.audio_cache import AudioCache
from masktools.training.long_mels import long_mel

__all__ = ["Augmentation", "CaptionedMel", "captioned_mels", "mixed_mels", "training_crop"]

_SILENCE = -1.0


@dataclass(frozen=True)
class CaptionedMel:
    """One recording: its mel spectrogram (m, f) in [-1, 1], and what is known of it."""

    mel: np.ndarray
    tags: frozenset[str]
    caption: str
    kind: str
    split: str
    bandwidth_hz: float = 0.0  # the highest frequency it reaches; 0 where nobody knows


@dataclass(frozen=True)
class Augmentation:
    """How far a training crop may depart from its recording."""

    n_frames: int = 320
    gain_db: float = 6.0  # either way
    tilt_db: float = 4.0  # from the lowest to the highest band, either way
    speed: float = 1.2  # largest factor of the time axis, either way
    shift_bands: int = 2  # of the frequency axis, either way
    low_pass_share: float = 0.15  # of crops lose their upper bands
    stripe_bands: int = 10  # widest erased stripe of bands
    stripe_frames: int = 40  # widest erased stripe of frames

    def __post_init__(self) -> None:
        """Check every range."""
        if self.n_frames < 1:
            raise ParameterError(f"n_frames must be at least 1, got {self.n_frames}")
        if self.speed < 1.0:
            raise ParameterError(f"speed must be at least 1, got {self.speed:g}")
        if not 0.0 <= self.low_pass_share <= 1.0:
            raise ParameterError(f"low_pass_share must lie in [0, 1], got {self.low_pass_share:g}")
        for name in ("gain_db", "tilt_db", "shift_bands", "stripe_bands", "stripe_frames"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{name} must not be negative, got {getattr(self, name):g}")


def captioned_mels(
    cache: AudioCache,
    config: MelConfig,
    folder: str | os.PathLike[str],
    progress: Callable[[int, int], None] | None = None,
) -> list[CaptionedMel]:
    """Return the recordings of a cache as mel spectrograms, computed into ``folder`` once (float16).

    Their tags are their labels, the tags that were measured, and their kind.

    Raises:
        ParameterError: The cache has another sample rate, or ``folder`` holds mels of another cache or configuration.
    """
    if cache.sample_rate != config.sample_rate:
        raise ParameterError(f"the cache must be at {config.sample_rate} Hz, got {cache.sample_rate} Hz")
    lengths = [max(1, recording.n_samples // config.hop_length) for recording in cache.recordings]
    mels = _computed(cache, config, Path(folder), lengths, progress)
    found, start = [], 0
    for recording, n_frames in zip(cache.recordings, lengths, strict=True):
        tags = [*recording.labels.split(";"), *recording.measured.split(";"), recording.kind]
        told = (frozenset(filter(None, tags)), recording.caption, recording.kind, recording.split)
        found.append(CaptionedMel(mels[start : start + n_frames], *told, recording.bandwidth_hz))
        start += n_frames
    return found


def _computed(
    cache: AudioCache,
    config: MelConfig,
    folder: Path,
    lengths: list[int],
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """Return the mels of all recordings end to end, (m, f), from ``folder`` or computed into it."""
    key = json.dumps([repr(config), [[r.path, r.n_samples] for r in cache.recordings]])
    done, values = folder / "mels.json", folder / "mels.npy"
    if done.is_file():
        if done.read_text(encoding="utf-8") != key:
            raise ParameterError(f"{folder} holds mels of another cache or configuration: choose another folder")
        return np.load(values, mmap_mode="r", allow_pickle=False)
    folder.mkdir(parents=True, exist_ok=True)
    front_end = MelFrontEnd(config)
    shape = (sum(lengths), config.n_mels)
    mels = np.lib.format.open_memmap(values, mode="w+", dtype=np.float16, shape=shape)
    start = 0
    for i, (recording, n_frames) in enumerate(zip(cache.recordings, lengths, strict=True)):
        mels[start : start + n_frames] = long_mel(front_end, cache.wave(recording), n_frames)
        start += n_frames
        if progress is not None:
            progress(i + 1, len(lengths))
    mels.flush()
    done.write_text(key, encoding="utf-8")
    return mels


def training_crop(
    first: np.ndarray, second: np.ndarray | None, settings: Augmentation, config: MelConfig, rng: np.random.Generator
) -> np.ndarray:
    """Return a random, altered stretch of a recording, float32 (f, n_frames), mixed with ``second`` if there is one."""
    crop = _stretch(first, settings, rng)
    if second is not None:
        quieter = _stretch(second, settings, rng) - _share(rng.uniform(0.0, 10.0), config)
        crop = mixed_mels(crop, quieter, config.db_max - config.db_min)
    n_bands = crop.shape[1]
    tilt = rng.uniform(-0.5, 0.5) * settings.tilt_db * np.linspace(-1, 1, n_bands)
    gain = rng.uniform(-1, 1) * settings.gain_db + tilt
    crop = np.where(crop <= _SILENCE, _SILENCE, crop + _share(gain, config)).clip(-1.0, 1.0)
    if rng.random() < settings.low_pass_share:
        crop[:, rng.integers(n_bands // 2, n_bands + 1) :] = _SILENCE
    for axis, widest in ((0, settings.stripe_frames), (1, settings.stripe_bands)):
        width = int(rng.integers(min(widest, crop.shape[axis] - 1) + 1))
        start = int(rng.integers(crop.shape[axis] - width + 1))
        crop[(slice(None),) * axis + (slice(start, start + width),)] = _SILENCE
    return crop.T.astype(np.float32)


def _share(decibels: float | np.ndarray, config: MelConfig) -> float | np.ndarray:
    """Return a change of level in the unit of the mel spectrogram."""
    return 2.0 * decibels / (config.db_max - config.db_min)


def _stretch(mel: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return n_frames of a recording at another speed and pitch; the liveliest of two places."""
    speed = settings.speed ** rng.uniform(-1.0, 1.0)
    wanted = max(1, round(settings.n_frames * speed))
    starts = rng.integers(max(0, len(mel) - wanted) + 1, size=2)
    pieces = [np.asarray(mel[start : start + wanted], dtype=np.float32) for start in starts]
    piece = max(pieces, key=lambda frames: float(frames.max(axis=1).mean()))
    n_frames = min(settings.n_frames, max(1, round(len(piece) / speed)))
    picked = piece[np.linspace(0, len(piece) - 1, n_frames).round().astype(int)]
    shift = int(rng.integers(-settings.shift_bands, settings.shift_bands + 1))
    crop = np.full((settings.n_frames, mel.shape[1]), _SILENCE, np.float32)
    start = int(rng.integers(settings.n_frames - n_frames + 1))
    bands = np.clip(np.arange(mel.shape[1]) - shift, 0, mel.shape[1] - 1)
    crop[start : start + n_frames] = picked[:, bands]
    return crop


def mixed_mels(one: np.ndarray, other: np.ndarray, span_db: float) -> np.ndarray:
    """Return the mel of two sounds at once, as if their magnitudes added; ``span_db`` is what -1 to 1 stands for."""
    nepers = span_db / 2.0 / DB_PER_NEPER
    return np.logaddexp(one * nepers, other * nepers) / nepers
