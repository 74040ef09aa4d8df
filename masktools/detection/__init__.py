"""Analysis of a recording: its bandwidth, its damage and its level; numpy and scipy only.

Samples are (channels, t) at any sample rate; recordings of hours are fed block by block to a ``Probe``.
"""

from masktools.detection.bandwidth import Bandwidth, find_bandwidth
from masktools.detection.damage import DAMAGES, Damage
from masktools.detection.probe import DEFAULT_KINDS, GAP_KINDS, Findings, Level, Probe, ProbeSettings, find_damage

__all__ = [
    "DAMAGES", "DEFAULT_KINDS", "GAP_KINDS", "Bandwidth", "Damage", "Findings", "Level", "Probe", "ProbeSettings",
    "find_bandwidth", "find_damage",
]  # fmt: skip
