"""How near recordings come to others, silence left aside: what was learned by heart comes very near."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from masktools.errors import ParameterError
from masktools.evaluation.embedders import Embedder
from masktools.metrics import Interval
from masktools.pipeline import Pipeline

__all__ = ["Space", "embedded_space", "heard_parts", "mel_space", "nearest_medians", "ratio_of_medians"]

_SILENCE = 1e-3  # RMS of full scale: -60 dB
_MEL_COLS = 8  # columns of a window, 1.5 s
_MEL_HOP = 4
_SMALLEST = 1e-12

Space = Callable[[np.ndarray], np.ndarray]
"""A wave (t,) -> the vectors (n, d) of its parts, silent ones left out; n may be 0."""


def embedded_space(embedder: Embedder, sample_rate: int) -> Space:
    """Return the space of an embedder's vectors."""
    return lambda wave: heard_parts(np.asarray(embedder.embed(wave, sample_rate), np.float64), wave)


def heard_parts(vectors: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Return the vectors (n, d) of equal parts of a wave (t,) without those of silent ones."""
    parts = np.array_split(wave, len(vectors))
    return vectors[[_is_heard(part) for part in parts]]


def mel_space(pipeline: Pipeline, hop_cols: int = _MEL_HOP) -> Space:
    """Return the space of mel spectrograms: windows of 1.5 s, averaged over each column of tokens.

    A distance divided by the square root of the vectors' size is in the unit of the mel spectrogram.

    Args:
        pipeline: whose mel spectrogram.
        hop_cols: columns from one window to the next.
    """
    column, frames = pipeline.grid.column_samples, pipeline.grid.patch_frames

    def vectors(wave: np.ndarray) -> np.ndarray:
        mel = pipeline.to_mel(torch.from_numpy(np.ascontiguousarray(wave, np.float32))[None])[0].cpu().numpy()
        columns = mel.reshape(len(mel), -1, frames).mean(axis=2).T.astype(np.float64)  # (w, f)
        columns = np.pad(columns, ((0, max(0, _MEL_COLS - len(columns))), (0, 0)), constant_values=-1.0)
        starts = range(0, len(columns) - _MEL_COLS + 1, hop_cols)
        heard = [start for start in starts if _is_heard(wave[start * column : (start + _MEL_COLS) * column])]
        return np.array([columns[start : start + _MEL_COLS].ravel() for start in heard]).reshape(
            len(heard), _MEL_COLS * len(mel)
        )

    return vectors


def _is_heard(part: np.ndarray) -> bool:
    return bool(part.size) and float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) >= _SILENCE


def nearest_medians(samples: Sequence[np.ndarray], training: Iterable[np.ndarray]) -> np.ndarray:
    """Return for each sample the median over its vectors of the distance to the nearest training vector; NaN for none.

    Args:
        samples: the vectors (n_i, d) of each.
        training: vectors (m_j, d), one recording after the other.

    Raises:
        ParameterError: no training vectors, or other dimensions.
    """
    filled = [vectors for vectors in samples if len(vectors)]
    if not filled:
        return np.full(len(samples), np.nan)
    queries = np.concatenate(filled).astype(np.float64)
    squares = np.square(queries).sum(axis=1)
    nearest = np.full(len(queries), np.inf)
    for vectors in training:
        if not len(vectors):
            continue
        if vectors.shape[1] != queries.shape[1]:
            raise ParameterError(f"both sets must be of one dimension, got {queries.shape[1]} and {vectors.shape[1]}")
        rows = vectors.astype(np.float64)
        found = squares[:, None] - 2 * queries @ rows.T + np.square(rows).sum(axis=1)
        nearest = np.minimum(nearest, found.min(axis=1))
    if not np.isfinite(nearest).all():
        raise ParameterError("there must be at least one training recording that is not silent, got none")
    distances = np.split(np.sqrt(nearest.clip(0)), np.cumsum([len(vectors) for vectors in samples])[:-1])
    return np.array([np.median(one) if len(one) else np.nan for one in distances])


def ratio_of_medians(
    values: np.ndarray, references: np.ndarray, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return the median of values (n,) over that of references (m,), with its bootstrap interval over both.

    Args:
        values: what is compared.
        references: what it is compared with.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.
        level: of the interval, in (0, 1).

    Raises:
        ParameterError: nothing to compare.
    """
    one, other = (np.asarray(x, np.float64)[np.isfinite(x)] for x in (values, references))
    if not len(one) or not len(other):
        raise ParameterError(f"a ratio of medians needs values on both sides, got {len(one)} and {len(other)}")
    rng = np.random.default_rng(seed)
    draws = [_ratio(rng.choice(one, len(one)), rng.choice(other, len(other))) for _ in range(n_resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(_ratio(one, other), float(low), float(high))


def _ratio(values: np.ndarray, references: np.ndarray) -> float:
    return float(np.median(values)) / max(float(np.median(references)), _SMALLEST)
