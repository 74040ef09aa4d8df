"""Recordings as users hold them -> sources: what can be read piece by piece, mono, at the model's rate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from torch import Tensor

from masktools.core.arguments import plain, shown
from masktools.core.arrays import as_recording, checked_rate
from masktools.core.errors import AudioError, MasktoolsError, ParameterError
from masktools.io import Recording

Rates = int | float | np.integer | np.floating | Sequence[int | None] | np.ndarray | Tensor | None
"""Hz: one for all, one for each, or None where every recording has its own."""

_BLOCK = 1 << 17  # samples a channel that are read at once


@dataclass(frozen=True, eq=False)
class Source:
    """A recording that is read piece by piece.

    Attributes:
        read: (start, stop) -> samples (channels, stop - start) as floats, full scale 1.
        n_samples: for each channel.
        sample_rate: in Hz.
        name: what errors call it.
    """

    read: Callable[[int, int], np.ndarray]
    n_samples: int
    sample_rate: int
    name: str = "the recording"

    def __post_init__(self) -> None:
        """Check that there is something to read."""
        checked_rate(self.sample_rate)
        if self.n_samples < 1:
            raise AudioError(f"{self.name} must have at least one sample, got {self.n_samples}")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def samples_at(self, sample_rate: int) -> int:
        """Return its length at another rate, rounded to the nearest, at least 1."""
        return max(1, (2 * self.n_samples * sample_rate + self.sample_rate) // (2 * self.sample_rate))


Waves = np.ndarray | Tensor | Recording | Source | Sequence[Any]
"""A recording, or a list or tuple of recordings: arrays, tensors, open audio files or sources."""


def as_sources(waves: Waves, sample_rate: Rates) -> tuple[list[Source], bool]:
    """Return recordings as sources, and whether there was one that stood alone.

    Args:
        waves: numpy (t,) or (t, channels); torch (t,), (channels, t) or (b, channels, t); an open audio file; a source;
            or a list or tuple of these.
        sample_rate: in Hz, one for all or one for each; files and sources have their own.

    Raises:
        AudioError: no samples, or some that are not finite.
        ParameterError: another kind or shape, or rates that do not fit.
    """
    if isinstance(waves, Tensor) and waves.ndim == 3:
        waves = list(waves)
    if not isinstance(waves, list | tuple):
        return [_source(waves, _one_rate(sample_rate, waves))], True
    rates = _rates(sample_rate, len(waves))
    sources = []
    for index, (wave, rate) in enumerate(zip(waves, rates, strict=True)):
        try:
            sources.append(_source(wave, rate))
        except MasktoolsError as error:
            raise type(error)(f"wave {index} of {len(waves)}: {error}") from error
    return sources, False


def _one_rate(sample_rate: Any, wave: object) -> Any:
    sample_rate = plain(sample_rate)
    if isinstance(sample_rate, list | tuple | np.ndarray | Tensor):
        raise ParameterError(f"one wave has one sample_rate, got {shown(sample_rate)} for a {type(wave).__name__}")
    return sample_rate


def _rates(sample_rate: Any, n_waves: int) -> Sequence[Any]:
    sample_rate = plain(sample_rate)
    if not isinstance(sample_rate, list | tuple | np.ndarray | Tensor):
        return [sample_rate] * n_waves
    try:
        rates = sample_rate.tolist() if isinstance(sample_rate, Tensor) else list(sample_rate)
    except (RuntimeError, NotImplementedError):  # a tensor that holds no numbers, or not one by one
        raise ParameterError(f"sample_rate must be numbers of Hz, got {shown(sample_rate)}") from None
    if len(rates) != n_waves:
        raise ParameterError(f"sample_rate must be one for all or one for each wave, got {len(rates)} for {n_waves}")
    return rates


def _source(wave: object, rate: Any) -> Source:
    if isinstance(wave, Source):
        return wave
    if isinstance(wave, Recording):
        return Source(wave.read, wave.n_samples, wave.sample_rate, str(wave.path))
    if rate is None:
        raise ParameterError("sample_rate must be given in Hz for arrays and tensors, got None")
    if not isinstance(wave, np.ndarray | Tensor):
        raise ParameterError(
            "a wave must be a numpy array (t,) or (t, channels), a torch tensor (t,) or (channels, t), an open audio "
            f"file or a Source, got {type(wave).__name__}"
        )
    channels = as_recording(wave, rate)
    return Source(lambda start, stop: channels[:, start:stop], channels.shape[1], checked_rate(rate))


def mono_blocks(source: Source, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the average of a source's channels at another rate, piece after piece, float32 (t,).

    Pieces together are what resampling at once gives, bit for bit, ``source.samples_at(sample_rate)`` long.

    Raises:
        AudioError: samples that are not finite, or fewer than there should be.
    """
    n_left = source.samples_at(sample_rate)
    same = source.sample_rate == sample_rate
    stream = None if same else soxr.ResampleStream(source.sample_rate, sample_rate, 1, dtype="float32", quality="VHQ")
    for start in range(0, source.n_samples, _BLOCK):
        stop = min(start + _BLOCK, source.n_samples)
        mono = _mono(source, start, stop)
        piece = mono if stream is None else stream.resample_chunk(mono, last=stop == source.n_samples)
        piece = piece[:n_left]
        n_left -= len(piece)
        if len(piece):
            yield piece
    if n_left:  # the rates round up by a sample
        yield np.zeros(n_left, np.float32)


def _mono(source: Source, start: int, stop: int) -> np.ndarray:
    block = np.asarray(source.read(start, stop))
    if block.ndim != 2 or block.shape[1] != stop - start or not len(block) or block.dtype.kind != "f":
        raise AudioError(
            f"{source.name} must give floats (channels, {stop - start}) for the samples from {start} to {stop}, "
            f"got {block.dtype} of shape {block.shape}"
        )
    mono = block.astype(np.float32, copy=False).mean(axis=0)
    if not np.isfinite(mono).all():
        first = start + int(np.argmin(np.isfinite(mono)))
        raise AudioError(
            f"samples must be finite, but at {first / source.sample_rate:.4f} s (sample {first}) of {source.name} "
            "there is NaN or infinity: silence it first"
        )
    return mono
