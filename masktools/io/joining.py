"""Recordings of one file that were joined become one: all with the sample rate and the channels of the first."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr

from masktools.errors import AudioError
from masktools.io.decoders import Decoder

__all__ = ["brought"]


def brought(path: Path, part: Decoder, sample_rate: int, n_channels: int) -> Iterator[np.ndarray]:
    """Yield the blocks of a recording, (t, n_channels) float32, at a sample rate.

    Raises:
        AudioError: channels that cannot be brought together.
    """
    if part.n_channels != n_channels and 1 not in (part.n_channels, n_channels):
        raise AudioError(
            f"{path} holds recordings of {n_channels} and of {part.n_channels} channels, joined: split it first"
        )
    if part.sample_rate == sample_rate:
        for block in part.blocks():
            yield _with_channels(block, n_channels)
        return
    stream = soxr.ResampleStream(part.sample_rate, sample_rate, n_channels, "float32", "VHQ")
    for block in part.blocks():
        yield stream.resample_chunk(np.ascontiguousarray(_with_channels(block, n_channels))).reshape(-1, n_channels)
    yield stream.resample_chunk(np.zeros((0, n_channels), np.float32), last=True).reshape(-1, n_channels)


def _with_channels(block: np.ndarray, n_channels: int) -> np.ndarray:
    if block.shape[1] == n_channels:
        return block
    if block.shape[1] == 1:
        return np.repeat(block, n_channels, axis=1)
    return block.mean(axis=1, keepdims=True, dtype=np.float32)
