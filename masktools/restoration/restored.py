"""What a restoration gives back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CHANNELS", "Restored"]

CHANNELS = ("linked", "independent")
"""Whether all channels are decoded with the same random numbers, or each with its own."""


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored recording, and what was done to it."""

    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz
    report: dict[str, Any]  # what JSON has
