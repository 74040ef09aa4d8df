"""The conditioner alone: what the model's text-audio encoder, CLAP or the bundled one, says of a recording."""

from collections.abc import Callable

import numpy as np
import torch

from masktools.core.errors import ParameterError
from masktools.core.shapes import cover
from masktools.pipeline import Pipeline


def conditioner_vector(pipeline: Pipeline) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return the function from a wave to the mean of the conditioner's embeddings of its windows, (d,).

    The windows are as long as the transformer's, so that the conditioner hears what it hears as a prefix.

    Args:
        pipeline: the model.

    Raises:
        ParameterError: a model without a conditioner.
    """
    conditioner = pipeline.conditioner
    if conditioner is None:
        raise ParameterError(f"the baseline conditioner needs a model with a conditioner, {pipeline.name!r} has none")

    def describe(wave: np.ndarray, sample_rate: int) -> np.ndarray:
        length = max(1, round(pipeline.window_samples * sample_rate / pipeline.sample_rate))
        samples = torch.from_numpy(np.asarray(wave, np.float32))[None]
        windows = cover(samples.shape[1], length, length)
        heard = [conditioner.embed_audio(samples[:, one.start : one.stop], sample_rate)[0] for one in windows]
        return torch.stack(heard).mean(dim=0).float().cpu().numpy()

    return describe
