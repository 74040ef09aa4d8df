"""What every renderer returns."""

from dataclasses import dataclass

import numpy as np

BANK_LICENCE, OWN_LICENCE = "MIT", "CC0-1.0"
"""Of what is played with the samples of FluidR3, and of what contains nobody's recordings."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A render and what is known of it."""

    wave: np.ndarray  # (t,) float32
    labels: tuple[str, ...]
    caption: str
    licence: str = OWN_LICENCE
    voice: str = ""  # whose it is, where somebody speaks
