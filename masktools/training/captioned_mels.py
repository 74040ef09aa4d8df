"""Mel spectrograms of whole recordings with their captions and tags.

A recording has tags (its labels, and words measured from its signal); a phrase asserts tags. The phrase is true of
every recording that has them all: "a dog barking" is true of all dogs, whichever clip it was written for.

In packed files a cell is a 255th of the mel's range, 0.4 dB of 100; the bytes are differences from frame to frame,
compressed.
"""

import json
import lzma
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from masktools.core.arguments import settle
from masktools.core.configs import parse_json, ranged
from masktools.core.errors import ParameterError
from masktools.io import replacing
from masktools.mel import DB_PER_NEPER, MelConfig, MelFrontEnd
from masktools.training.shards import AudioCache

_TEMPLATES = ("{}", "the sound of {}", "a recording of {}")


@dataclass(frozen=True)
class Phrase:
    """A text and the tags that it asserts."""

    text: str
    tags: frozenset[str]


def tag_words(tag: str) -> str:
    """Return the words of a tag: ``"sea waves"`` for ``"sea_waves"``."""
    return tag.replace("_", " ")


def asserted_tags(caption: str, tags: Iterable[str]) -> frozenset[str]:
    """Return the tags whose words occur in the caption; all of them if none does.

    >>> sorted(asserted_tags("A slow ambient piece.", {"ambient", "slow", "rain"}))
    ['ambient', 'slow']
    """
    every = frozenset(tags)
    said = f" {' '.join(re.findall(r'[a-z0-9]+', caption.lower()))} "
    return frozenset(tag for tag in every if f" {tag_words(tag).lower()} " in said) or every


def collect_phrases(
    captions: Sequence[tuple[str, frozenset[str]]], prompts: Mapping[str, Sequence[str]]
) -> list[Phrase]:
    """Return every phrase that is true of some recording, without duplicates: captions, and prompts for single tags.

    Args:
        captions: the caption and the tags of each recording
        prompts: tag -> further texts for it; a tag without an entry gets its own words
    """
    found = {Phrase(text, asserted_tags(text, tags)): None for text, tags in captions if text}
    for tag in sorted({tag for _, tags in captions for tag in tags}):
        texts = [template.format(tag_words(tag)) for template in _TEMPLATES] + list(prompts.get(tag, ()))
        found |= {Phrase(text, frozenset({tag})): None for text in texts}
    return list(found)


def truth_table(recordings: Sequence[frozenset[str]], phrases: Sequence[Phrase]) -> Tensor:
    """Return the truth of each phrase for each recording: bool, (recordings, phrases)."""
    return torch.tensor([[phrase.tags <= tags for phrase in phrases] for tags in recordings], dtype=torch.bool).view(
        len(recordings), len(phrases)
    )


_SILENCE = -1.0


@dataclass(frozen=True)
class CaptionedMel:
    """One recording: its mel spectrogram (m, f) in [-1, 1], and its metadata."""

    mel: np.ndarray
    tags: frozenset[str]
    caption: str
    kind: str
    split: str
    bandwidth_hz: float = 0.0  # upper limit of its band; 0 if unknown


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training crops: gain, tilt, speed, shift, low-pass and erased stripes."""

    n_frames: int = ranged(320, "[1, inf]")
    gain_db: float = ranged(6.0, "[0, inf]", "dB")  # in either direction
    tilt_db: float = ranged(4.0, "[0, inf]", "dB")  # from the lowest to the highest band, in either direction
    speed: float = ranged(1.2, "[1, inf]")  # greatest factor of the time axis, in either direction
    shift_bands: int = ranged(2, "[0, inf]")  # of the frequency axis, in either direction
    low_pass_share: float = ranged(0.15, "[0, 1]")  # share of crops that lose their upper bands
    stripe_bands: int = ranged(10, "[0, inf]")  # widest erased stripe of bands
    stripe_frames: int = ranged(40, "[0, inf]")  # widest erased stripe of frames

    __post_init__ = settle


def captioned_mels(cache: AudioCache, config: MelConfig, folder: str | os.PathLike[str]) -> list[CaptionedMel]:
    """Return the recordings of a cache as mel spectrograms, computed once and stored in ``folder`` (float16).

    Their tags are their labels, the measured tags, and their kind.

    Raises:
        ParameterError: the cache has another sample rate, or ``folder`` holds mels of another cache or configuration.
    """
    if cache.sample_rate != config.sample_rate:
        raise ParameterError(f"the cache must be at {config.sample_rate} Hz, got {cache.sample_rate} Hz")
    lengths = [max(1, recording.n_samples // config.hop_length) for recording in cache.recordings]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / "mels.lock"):  # one rank computes, the others wait
        mels = _computed(cache, config, target, lengths)
    found, start = [], 0
    for recording, n_frames in zip(cache.recordings, lengths, strict=True):
        tags = [*recording.labels.split(";"), *recording.measured.split(";"), recording.kind]
        told = (frozenset(filter(None, tags)), recording.caption, recording.kind, recording.split)
        found.append(CaptionedMel(mels[start : start + n_frames], *told, recording.bandwidth_hz))
        start += n_frames
    return found


def _computed(cache: AudioCache, config: MelConfig, folder: Path, lengths: list[int]) -> np.ndarray:
    """Return the mels of all recordings concatenated, (m, f), read from ``folder`` or computed into it."""
    key = json.dumps([repr(config), [[r.path, r.n_samples] for r in cache.recordings]])
    done, values = folder / "mels.json", folder / "mels.npy"
    if done.is_file():
        if done.read_text(encoding="utf-8") != key:
            raise ParameterError(f"{folder} holds mels of another cache or configuration: choose another folder")
        return np.load(values, mmap_mode="r", allow_pickle=False)
    front_end = MelFrontEnd(config)
    shape = (sum(lengths), config.n_mels)
    mels = np.lib.format.open_memmap(values, mode="w+", dtype=np.float16, shape=shape)
    start = 0
    for recording, n_frames in zip(cache.recordings, lengths, strict=True):
        mels[start : start + n_frames] = long_mel(front_end, cache.wave(recording), n_frames)
        start += n_frames
    mels.flush()
    done.write_text(key, encoding="utf-8")
    return mels


def training_crop(
    first: np.ndarray, second: np.ndarray | None, settings: Augmentation, config: MelConfig, rng: np.random.Generator
) -> np.ndarray:
    """Return a random, augmented crop of a recording, float32 (f, n_frames), mixed with ``second`` if there is one."""
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
    """Return n_frames of a recording at another speed and pitch; the livelier of two random positions."""
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
    """Return the mel of two sounds at once, by adding their magnitudes; ``span_db`` is the range from -1 to 1."""
    nepers = span_db / 2.0 / DB_PER_NEPER
    return np.logaddexp(one * nepers, other * nepers) / nepers


_WINDOW_FRAMES = 4096  # of the front end, computed at a time


@torch.no_grad()
def long_mel(front_end: MelFrontEnd, wave: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the first n_frames (m, f) of the mel spectrogram of a wave (t,), window by window, equal to the whole.

    A wave that is too short is padded with silence.
    """
    hop, margin = front_end.config.hop_length, front_end.config.margin
    shortest = max(n_frames * hop, margin + 1)
    padded = torch.from_numpy(np.pad(wave, (0, max(0, shortest - len(wave)))))
    step = _WINDOW_FRAMES * hop
    if len(padded) <= 2 * step:
        return _mel(front_end, padded)[:n_frames]
    context = -(-margin // hop) * hop  # whole hops on either side, so that windows fit seamlessly
    parts = []
    for start in range(0, n_frames * hop, step):
        first = max(0, start - context)
        piece = padded[first : min(len(padded), start + step + context)]
        if len(piece) > margin:
            skipped = (start - first) // hop
            parts.append(_mel(front_end, piece)[skipped : skipped + _WINDOW_FRAMES])
    return np.concatenate(parts)[:n_frames]


def _mel(front_end: MelFrontEnd, wave: torch.Tensor) -> np.ndarray:
    return front_end(wave[None].to(front_end.window))[0].T.cpu().numpy()


SUFFIX = ".mels"
_LEVELS = 255
_MAGIC = b"masktools mels 1\n"
_PRESET = 1  # of LZMA: higher ones save little here and are slow


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a file of packed mel spectrograms."""
    return Path(path).suffix == SUFFIX and Path(path).is_file()


def pack_mels(recordings: Sequence[CaptionedMel], path: str | os.PathLike[str], max_bytes: int) -> int:
    """Write as many recordings as fit, in order, and return their number.

    Raises:
        ParameterError: the name does not end in .mels, or not even the first recording fits.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise ParameterError(f"packed mel spectrograms are a file that ends in {SUFFIX}, got {target}")
    rows, pieces, size = [], [], len(_MAGIC) + 8
    for recording in recordings:
        cells = ((np.asarray(recording.mel, np.float32) + 1.0) * (_LEVELS / 2.0)).round().clip(0, _LEVELS)
        steps = np.diff(cells.astype(np.uint8), axis=0, prepend=np.uint8(0))
        piece = lzma.compress(np.ascontiguousarray(steps.T).tobytes(), preset=_PRESET)
        told = asdict(recording) | {"tags": sorted(recording.tags), "mel": list(cells.shape), "n_bytes": len(piece)}
        size += len(piece) + len(json.dumps(told)) + 2
        if size > max_bytes:
            break
        rows.append(told)
        pieces.append(piece)
    if not rows:
        raise ParameterError(f"no recording fits into {max_bytes} bytes")
    head = json.dumps(rows).encode()
    with replacing(target) as part:
        part.write_bytes(b"".join([_MAGIC, len(head).to_bytes(8, "little"), head, *pieces]))
    return len(rows)


def read_packed(path: str | os.PathLike[str]) -> list[CaptionedMel]:
    """Read the recordings in a file of packed mel spectrograms, with mels as float16.

    Raises:
        ParameterError: it is no such file, or it is truncated.
    """
    content = Path(path).read_bytes()
    start = len(_MAGIC) + 8
    try:
        if not content.startswith(_MAGIC):
            raise ValueError("it begins otherwise")
        length = int.from_bytes(content[len(_MAGIC) : start], "little")
        rows, start = parse_json(content[start : start + length]), start + length
        found = []
        for row in rows:
            n_frames, n_mels = row["mel"]
            steps = np.frombuffer(lzma.decompress(content[start : start + row["n_bytes"]]), np.uint8)
            cells = np.cumsum(steps.reshape(n_mels, n_frames), axis=1, dtype=np.uint8).T
            start += row.pop("n_bytes")
            mel = (cells * (2.0 / _LEVELS) - 1.0).astype(np.float16)
            found.append(CaptionedMel(**{**row, "mel": mel, "tags": frozenset(row["tags"])}))
    except (ValueError, KeyError, TypeError, lzma.LZMAError) as error:
        raise ParameterError(f"{path} holds no packed mel spectrograms ({error})") from error
    return found
