"""Statistics of the mel spectrogram that the model reads: what the ear gets before anything is learned."""

from collections.abc import Callable
from math import ceil

import numpy as np
import torch

from masktools.pipeline import Pipeline

Describe = Callable[[np.ndarray, int], np.ndarray]
"""(wave (t,), sample rate in Hz) -> a vector (d,); the rate is the model's."""


def mel_mean(pipeline: Pipeline) -> Describe:
    """Return the function from a wave to the mean over time of its mel spectrogram in dB, (bands,)."""
    return lambda wave, sample_rate: _frames(pipeline, wave).mean(axis=1)


def mel_statistics(pipeline: Pipeline) -> Describe:
    """Return the function from a wave to how its mel spectrogram lies and moves, (4 * bands,).

    Mean and standard deviation over time, and the same of the steps from frame to frame.
    """

    def describe(wave: np.ndarray, sample_rate: int) -> np.ndarray:
        frames = _frames(pipeline, wave)
        steps = np.diff(frames, axis=1, prepend=frames[:, :1])
        return np.concatenate([part for of in (frames, steps) for part in (of.mean(axis=1), of.std(axis=1))])

    return describe


def _frames(pipeline: Pipeline, wave: np.ndarray) -> np.ndarray:
    """Return the mel spectrogram (bands, frames), -1 for the quietest and 1 for full scale, of a wave at its rate."""
    mel = pipeline.to_mel(torch.from_numpy(np.asarray(wave, np.float32))[None])[0]
    return mel[:, : ceil(len(wave) / pipeline.mel.hop_length)].cpu().numpy()
