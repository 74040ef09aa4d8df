"""What a restoration gives back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Restored"]


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored recording, and what was done to it."""

    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz
    report: dict[str, Any]  # what JSON has
