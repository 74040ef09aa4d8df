"""What stands before the tokens: the learned vector, what a conditioner hears in the same audio, or a given vector."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from masktools.arguments import shown
from masktools.errors import ParameterError, unknown_name
from masktools.pipeline import Pipeline
from masktools.shapes import Wave

__all__ = ["PREFIXES", "Prefix", "PrefixLike", "parse_prefix"]

PREFIXES = ("learned", "condition", "clap")
PrefixLike = str | np.ndarray | Tensor
"""One of ``PREFIXES``, or vectors (d,) or (b, d) of the size that the model's conditions have.

``learned`` is the vector that the model was trained with where it had no condition. ``condition``, of which ``clap`` is
another name, is what the model's conditioner makes of the same audio, window by window: a probe on such embeddings
measures the conditioner too.
"""

Prefix = Callable[[int, Wave | None], Tensor | None]
"""(number of the recording, what the window sounds like) -> a condition (d,), or None for the learned vector."""


def parse_prefix(prefix: PrefixLike, pipeline: Pipeline, n_recordings: int) -> tuple[Prefix, bool]:
    """Return the function that gives the condition of a window, and whether it needs to hear it.

    Raises:
        ParameterError: an unknown name, a model without a conditioner, or vectors of another size or number.
    """
    if not isinstance(prefix, str):
        return _given(prefix, pipeline, n_recordings), False
    if prefix not in PREFIXES:
        raise unknown_name("prefix", prefix, (*PREFIXES, "a vector"))
    if prefix == "learned":
        return lambda index, wave: None, False
    conditioner = pipeline.conditioner
    if conditioner is None:
        raise ParameterError(f"prefix {prefix!r} needs a model with a conditioner, {pipeline.name!r} has none")

    def heard(index: int, wave: Wave | None) -> Tensor | None:
        return None if wave is None else conditioner.embed_audio(wave, pipeline.sample_rate)[0]

    return heard, True


def _given(vectors: np.ndarray | Tensor, pipeline: Pipeline, n_recordings: int) -> Prefix:
    if not isinstance(vectors, np.ndarray | Tensor):
        raise ParameterError(f"prefix must be one of {', '.join(PREFIXES)}, or vectors, got {shown(vectors)}")
    conditions = pipeline.condition(vectors)
    if conditions is None or len(conditions) not in (1, n_recordings):
        got = 0 if conditions is None else len(conditions)
        raise ParameterError(f"prefix must be one vector, or one for each of the {n_recordings} waves, got {got}")
    return lambda index, wave: conditions[index % len(conditions)]
