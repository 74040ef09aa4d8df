"""Restoration: gaps filled, bandwidth extended; what is known is never changed."""

from masktools.restoration.band_stereo import CHANNEL_MODES as CHANNELS
from masktools.restoration.bandwidth import bwe, cutoff_limits_hz
from masktools.restoration.gap_filling import GapFilling
from masktools.restoration.gap_settings import METHODS, GapSettings
from masktools.restoration.gap_tasks import needs_model
from masktools.restoration.inpaint import FilledGap, inpaint, inpaint_candidates, inpaint_pieces
from masktools.restoration.restored import Restored
from masktools.restoration.surroundings import Reader

__all__ = [
    "CHANNELS",
    "METHODS",
    "FilledGap",
    "GapFilling",
    "GapSettings",
    "Reader",
    "Restored",
    "bwe",
    "cutoff_limits_hz",
    "inpaint",
    "inpaint_candidates",
    "inpaint_pieces",
    "needs_model",
]
