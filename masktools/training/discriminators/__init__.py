"""Discriminators: judges of patches of a mel spectrogram, and of waves at many periods, scales and resolutions."""

from masktools.training.discriminators.patch import NORMS, MelPatchDiscriminator, PatchGan, PatchGanConfig
from masktools.training.discriminators.san import SlicedConv, normalise_directions
from masktools.training.discriminators.waves import JUDGES, JudgesConfig, Verdict, WaveDiscriminator

__all__ = [
    "JUDGES",
    "NORMS",
    "JudgesConfig",
    "MelPatchDiscriminator",
    "PatchGan",
    "PatchGanConfig",
    "SlicedConv",
    "Verdict",
    "WaveDiscriminator",
    "normalise_directions",
]
