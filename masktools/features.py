"""Embeddings: what the transformer makes of a recording, as one vector, and as one for each 0.19 s.

Nothing is masked and no condition is given: the prefix is the learned one. Recordings are heard in windows of the
model's length; every window is computed at its own length, so that neither padding nor the batch changes a result.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from masktools.errors import ParameterError, unknown_name
from masktools.io import resample
from masktools.pipeline import Pipeline, Progress
from masktools.segments import Window, cover
from masktools.shapes import Tokens, flatten

__all__ = ["POOLS", "Embedding", "embed", "frame_vectors"]

POOLS = ("mean", "rows", "max", "mean_std")
"""How the vectors of tokens become one.

``mean`` averages over rows and time. ``rows`` keeps the rows apart, one after the other, lowest first, and averages
over time. ``max`` is the largest over rows and time. ``mean_std`` is the mean and the standard deviation over time of
the average over rows.
"""


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a recording is like. With all layers asked for, arrays have one more axis, the first."""

    clip: np.ndarray  # (d,) float32
    frames: np.ndarray | None  # (m, d) float32, or None if they were not asked for
    times_s: np.ndarray | None  # (m,) the middle of each frame


def embed(
    pipeline: Pipeline,
    samples: np.ndarray,
    sample_rate: int,
    layer: int | str = "last",
    pool: str = "mean",
    *,
    frames: bool = True,
    progress: Progress | None = None,
) -> Embedding:
    """Return the embedding of a recording; channels are averaged first.

    Args:
        pipeline: the model.
        samples: (channels, t), full scale 1, of any rate and length.
        sample_rate: in Hz.
        layer: 0 is what enters the first block, 1 what leaves it; negative numbers count from the last one.
            ``last``, or ``all`` of them.
        pool: one of ``POOLS``.
        frames: whether the sequence over time is wanted too: a vector for each column of tokens.
        progress: called with (windows done, windows in all).

    Raises:
        ParameterError: a layer that the model does not have, or an unknown name.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.4, for the use of the model as an encoder.
    """
    if pool not in POOLS:
        raise unknown_name("pool", pool, POOLS)
    layers = _layers(layer, pipeline.transformer.config.depth)
    mono = np.asarray(samples, np.float32).mean(axis=0, keepdims=True)
    wave = torch.from_numpy(resample(mono, sample_rate, pipeline.sample_rate))
    column = pipeline.grid.column_samples
    mel = pipeline.to_mel(wave if wave.shape[1] else torch.zeros(1, 1))
    # A column belongs to the recording if its middle does.
    n_cols = max(1, (wave.shape[1] + column // 2) // column)
    tokens = pipeline.tokenise(mel[..., : n_cols * pipeline.grid.patch_frames])
    states = frame_vectors(pipeline, tokens, layers, progress)
    by_time = _pool_rows(states, pool)
    clip = _pool_time(by_time, pool)
    single = layer != "all"
    times_s = (np.arange(n_cols) + 0.5) * column / pipeline.sample_rate
    return Embedding(
        clip=(clip[0] if single else clip).numpy(),
        frames=(by_time[0] if single else by_time).numpy() if frames else None,
        times_s=times_s if frames else None,
    )


def _layers(layer: int | str, depth: int) -> list[int]:
    if isinstance(layer, str):
        if layer not in ("last", "all"):
            raise unknown_name("layer", layer, ("last", "all", f"a number from {-depth - 1} to {depth}"))
        return [depth] if layer == "last" else list(range(depth + 1))
    if isinstance(layer, bool) or not -depth - 1 <= layer <= depth:
        raise ParameterError(f"layer must lie in [{-depth - 1}, {depth}], got {layer}: this model has {depth} blocks")
    return [layer % (depth + 1)]


@torch.inference_mode()
def frame_vectors(pipeline: Pipeline, tokens: Tokens, layers: list[int], progress: Progress | None = None) -> Tensor:
    """Return the hidden states of one recording's tokens (1, r, w) as (layers, w, r, d), float32, on the CPU.

    Longer recordings are read window by window. The last window ends with the recording; of the columns that it
    shares with the one before, that one's states are taken.
    """
    n_rows, n_cols = tokens.shape[1:]
    windows = cover(n_cols, pipeline.window_cols, pipeline.window_cols)
    transformer = pipeline.transformer
    states = torch.empty(len(layers), n_cols, n_rows, transformer.config.width)
    done, position = 0, 0
    for group in _groups(windows, pipeline.batch_size):
        clips = flatten(torch.cat([tokens[..., window.start : window.stop] for window in group]))
        with pipeline.autocast():
            hidden = transformer.hidden_states(clips, torch.zeros_like(clips, dtype=torch.bool))
        chosen = torch.stack([hidden[layer][:, 1:] for layer in layers]).float().cpu()
        for clip, window in zip(chosen.unflatten(2, (-1, n_rows)).unbind(1), group, strict=True):
            states[:, position : window.stop] = clip[:, position - window.start :]
            position = window.stop
        done += len(group)
        if progress is not None:
            progress(done, len(windows))
    return states


def _groups(windows: list[Window], batch_size: int) -> Iterator[list[Window]]:
    """Yield batches of windows; all but a single one of a short recording are of one length."""
    for _, group in groupby(enumerate(windows), key=lambda numbered: numbered[0] // batch_size):
        yield [window for _, window in group]


def _pool_rows(states: Tensor, pool: str) -> Tensor:
    """Return the states (l, w, r, d) as one vector for each column, (l, w, d or r * d)."""
    if pool == "rows":
        return states.flatten(2)
    return states.amax(dim=2) if pool == "max" else states.mean(dim=2)


def _pool_time(frames: Tensor, pool: str) -> Tensor:
    """Return the vectors of columns (l, w, d) as one for the clip."""
    if pool == "max":
        return frames.amax(dim=1)
    mean = frames.mean(dim=1)
    return torch.cat([mean, frames.std(dim=1, correction=0)], dim=-1) if pool == "mean_std" else mean
