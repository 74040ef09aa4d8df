"""What a restoration gives back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from masktools.conditioning import Prompts
from masktools.errors import ParameterError
from masktools.pipeline import Pipeline

__all__ = ["Restored", "untouched"]


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored recording, an array of numpy whatever was given, and what was done to it."""

    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz
    report: dict[str, Any]  # what JSON has


def untouched(
    pipeline: Pipeline, samples: np.ndarray, sample_rate: int, prompt: Prompts | None, report: dict[str, Any]
) -> Restored:
    """Return a copy of a recording in which there is nothing to do, with a report that says so.

    Args:
        pipeline: the model.
        samples: (channels, t).
        sample_rate: in Hz.
        prompt: what would have been heard, which is refused as if there were something to do.
        report: what is to be said.

    Raises:
        ParameterError: a prompt that cannot be read, or several.
    """
    condition = pipeline.condition(prompt)
    if condition is not None and len(condition) != 1:
        raise ParameterError(f"a recording is restored by one prompt at most, got {len(condition)}")
    return Restored(samples.copy(), sample_rate, {**report, "samples_changed": 0})
