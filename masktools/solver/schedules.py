"""Curves over the course of a decoding: the share that stays masked, and the scale of the guidance."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

__all__ = ["GUIDANCE_SCHEDULES", "SCHEDULES"]


def _cosine(progress: float) -> float:
    return math.cos(math.pi * progress / 2)


def _arccos(progress: float) -> float:
    return 2 / math.pi * math.acos(progress)


SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "cosine": _cosine,  # MaskGIT, MAGE, SpecMaskGIT
        "arccos": _arccos,
        "linear": lambda progress: 1 - progress,
        "square": lambda progress: 1 - progress**2,
        "cubic": lambda progress: 1 - progress**3,
        "root": lambda progress: 1 - math.sqrt(progress),
    }
)
"""Share of the unknown tokens that is still masked at a progress in [0, 1]; falls from 1 to 0."""


def _linear_up(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance * progress


def _constant(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance


def _cosine_up(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance * (1 - math.cos(math.pi * progress)) / 2


def _linear_down(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance + (guidance_min - guidance) * progress


def _share_down(progress: float, guidance: float, guidance_min: float) -> float:
    return guidance_min + (guidance - guidance_min) * _cosine(progress)


GUIDANCE_SCHEDULES: Mapping[str, Callable[[float, float, float], float]] = MappingProxyType(
    {
        "linear_up": _linear_up,  # SpecMaskGIT: from 0 to the guidance
        "constant": _constant,
        "cosine": _cosine_up,  # from 0 to the guidance, flat at both ends
        "linear_down": _linear_down,  # from the guidance to guidance_min
        "share_down": _share_down,  # MAGNeT: from the guidance to guidance_min, as the share of masked tokens falls
        "interval": _constant,  # the guidance inside guidance_interval, 1 outside
    }
)
"""Guidance scale at a progress in [0, 1], given the guidance and the least guidance."""
