"""What one can do without a model: gaps filled and bands extended by the classical methods; numpy and scipy only.

Samples are (channels, t) at any sample rate, in float32 or float64, and come back in the same type.
"""

from masktools.classical.fills import (
    BAND_FILLS,
    CONTEXT_S,
    GAP_FILLS,
    SEARCHES,
    SPAN_FILLS,
    BandFill,
    GapFill,
    SpanFill,
)
from masktools.classical.spans import bridge, burg, extrapolate, interpolate

__all__ = [
    "BAND_FILLS", "CONTEXT_S", "GAP_FILLS", "SEARCHES", "SPAN_FILLS", "BandFill", "GapFill", "SpanFill", "bridge",
    "burg", "extrapolate", "interpolate",
]  # fmt: skip
