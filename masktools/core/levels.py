"""Expected levels of the upper bands of a recording, frame by frame, given those of the lower bands.

The levels of 29 bands from 200 Hz to 20 kHz, in frames of 23 ms and as averages of the half second around them, are
modelled by a mixture of normal distributions. Given the bands below any cutoff, the mean of the others is a sum of
linear predictions, so that one small table serves every cutoff. It needs no network.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from masktools.core.errors import BundleError, ParameterError

BAND_EDGES_HZ = np.concatenate([200 * 2 ** (np.arange(16) / 3), [7200, 8000], np.arange(9000, 20_001, 1000)])
FRAME_S, HOPS = 1024 / 44_100, 4  # seconds of a frame, and hops per frame
CONTEXT_S = 0.5  # seconds of the averages
FLOOR_DB = -125.0  # dB per Hz, full scale 0; lower levels count as this
ENOUGH = 0.4  # least share of a band that must be known
_OBSERVED_DB = 1.0  # standard deviation of a known level, for noise in a frame
_BLOCK = 2048  # frames


@runtime_checkable
class Levels(Protocol):
    """Predictor of the levels of unknown bands."""

    def given(self, known: np.ndarray, doubt_db: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return a function that completes levels (frames, bands) of which some bands are known.

        Args:
            known: (bands,) True for known bands.
            doubt_db: (bands,) standard deviation of the known levels in dB.

        Returns:
            Function of levels in dB per Hz and of the number of frames in the context, to levels.
        """
        ...


def frame_length(sample_rate: int) -> int:
    """Return the length of a frame in samples, the power of two that is nearest to 23 ms.

    >>> frame_length(44_100), frame_length(48_000), frame_length(192_000)
    (1024, 1024, 4096)
    """
    return max(64, 2 ** round(np.log2(FRAME_S * sample_rate)))


def frames_of(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the spectra (frames, bins) complex64 of a wave (t,), with a hop of a quarter frame.

    Frame m is centred on sample m times the hop; the last frame is the first one centred on or behind the last sample.
    A full-scale sine at the centre of a bin has a magnitude of a quarter of the frame length.
    """
    n_fft = frame_length(sample_rate)
    hop = n_fft // HOPS
    n_frames = 1 + -(-len(wave) // hop)
    padded = np.pad(wave.astype(np.float32), (n_fft // 2, n_fft // 2 + (n_frames - 1) * hop - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = window_of(n_fft).astype(np.float32)
    parts = [np.fft.rfft(frames[i : i + _BLOCK] * window).astype(np.complex64) for i in range(0, n_frames, _BLOCK)]
    return np.concatenate(parts)


def window_of(n_fft: int) -> np.ndarray:
    """Return the Hann window of a frame."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def band_matrix(sample_rate: int, below_hz: float = np.inf) -> np.ndarray:
    """Return the matrix from powers (frames, bins) to densities (frames, bands) per Hz, below a limit in Hz.

    A band of which less than 40 % is below the limit has a column of zeros.
    """
    n_fft = frame_length(sample_rate)
    hertz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    lows, highs = BAND_EDGES_HZ[:-1], BAND_EDGES_HZ[1:]
    inside = (hertz[:, None] >= lows) & (hertz[:, None] < np.minimum(highs, below_hz))
    covered = np.minimum(min(below_hz, sample_rate / 2), highs) - lows >= ENOUGH * (highs - lows)
    counts = inside.sum(axis=0)
    scale = 2.0 / (sample_rate * float(np.sum(window_of(n_fft) ** 2)))
    return np.where(covered & (counts > 0), scale * inside / np.maximum(counts, 1), 0.0).astype(np.float32)


def context_of(levels_db: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the averages of levels (frames, bands) over ``n_frames`` frames around each."""
    half = max(1, n_frames) // 2
    padded = np.pad(levels_db, ((half + 1, half), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0, dtype=np.float64)
    return (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)


@dataclass(frozen=True)
class FixedSlope:
    """Levels that fall by a fixed number of dB per octave above the last known bands: for models without a mixture."""

    db_per_octave: float = -12.0

    def given(self, known: np.ndarray, doubt_db: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return a function that continues known levels."""
        octaves = np.log2(np.sqrt(BAND_EDGES_HZ[:-1] * BAND_EDGES_HZ[1:]))
        last = np.flatnonzero(known)[-2:]
        if not len(last):
            return lambda levels_db, n_context: np.full_like(levels_db, FLOOR_DB)
        fall = np.minimum(0.0, self.db_per_octave * (octaves - octaves[last].mean()))

        def continued(levels_db: np.ndarray, n_context: int) -> np.ndarray:
            return np.where(known, levels_db, levels_db[:, last].mean(axis=1, keepdims=True) + fall)

        return continued


@dataclass(frozen=True, eq=False)
class LevelMixture:
    """Mixture of normal distributions of levels and their averages, 58 dimensions in dB."""

    weights: np.ndarray  # (components,), with sum 1
    means: np.ndarray  # (components, 58)
    roots: np.ndarray  # (components, 58 * 59 / 2): the lower triangles of the covariances' Cholesky factors

    def __post_init__(self) -> None:
        """Check every shape."""
        n, size = len(self.weights), 2 * (len(BAND_EDGES_HZ) - 1)
        if self.means.shape != (n, size) or self.roots.shape != (n, size * (size + 1) // 2):
            raise ParameterError(
                f"a mixture of levels must have means ({n}, {size}) and roots ({n}, {size * (size + 1) // 2}), "
                f"got {self.means.shape} and {self.roots.shape}"
            )
        values = (self.weights, self.means, self.roots)
        if not all(np.isfinite(value).all() for value in values) or not (self.weights > 0).all():
            raise ParameterError("a mixture of levels must be finite, and each of its weights above 0")

    @cached_property
    def covariances(self) -> np.ndarray:
        """The covariances, (components, 58, 58)."""
        size = self.means.shape[1]
        factors = np.zeros((len(self.weights), size, size))
        factors[:, *np.tril_indices(size)] = self.roots
        return factors @ factors.transpose(0, 2, 1)

    def given(self, known: np.ndarray, doubt_db: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return a function from known levels to the conditional mean of all levels.

        Levels below the floor of the training data are shifted up to it, and the result is shifted back.

        Source: C. M. Bishop, Pattern Recognition and Machine Learning (2006), Eq. 2.81 and 9.12.
        """
        both = np.flatnonzero(np.concatenate([known, known]))
        doubt = np.concatenate([doubt_db, doubt_db])[both]
        parts = []
        for weight, mean, covariance in zip(self.weights, self.means, self.covariances, strict=True):
            seen = covariance[np.ix_(both, both)] + np.diag(_OBSERVED_DB**2 + doubt**2)
            gain = np.linalg.solve(seen, covariance[both, : len(known)])
            whitening = np.linalg.inv(np.linalg.cholesky(seen))
            offset = np.log(weight) + np.log(np.diag(whitening)).sum()
            parts.append((mean, gain, whitening.T, offset))

        def expected(levels_db: np.ndarray, n_context: int) -> np.ndarray:
            clipped = np.maximum(levels_db, FLOOR_DB)
            seen = np.concatenate([clipped, context_of(clipped, n_context)], axis=1)[:, both]
            likely = np.stack(
                [off - 0.5 * np.square((seen - mean[both]) @ white).sum(axis=1) for mean, _, white, off in parts]
            )
            shares = np.exp(likely - likely.max(axis=0))
            shares /= shares.sum(axis=0)
            found = sum(
                share[:, None] * (mean[: len(known)] + (seen - mean[both]) @ gain)
                for share, (mean, gain, _, _) in zip(shares, parts, strict=True)
            )
            below = np.minimum(0.0, levels_db[:, known] - FLOOR_DB).mean(axis=1, keepdims=True) if known.any() else 0.0
            return np.where(known, levels_db, found + below)

        return expected

    def to_bytes(self) -> bytes:
        """Return the mixture as the bytes of a safetensors file."""
        types = {"weights": np.float32, "means": np.float32, "roots": np.float16}
        return save({name: np.ascontiguousarray(getattr(self, name), kind) for name, kind in types.items()})


def read_levels(path: str | os.PathLike[str]) -> LevelMixture:
    """Read the mixture in a safetensors file.

    Raises:
        BundleError: a file without such a mixture.
    """
    try:
        stored = load_file(path)
        return LevelMixture(*(stored[name].astype(np.float64) for name in ("weights", "means", "roots")))
    except (SafetensorError, OSError, ValueError, KeyError, ParameterError) as error:
        raise BundleError(f"{os.fspath(path)} holds no mixture of levels ({error}): write the bundle anew") from error
