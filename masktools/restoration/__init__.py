"""Restoration: gaps filled, bandwidth extended, regions repaired, ends continued; what is known is never changed."""

from masktools.restoration.band_plan import choose_cutoff, cutoff_limits_hz
from masktools.restoration.bandwidth import bwe, extend_blocks
from masktools.restoration.ends import continue_recording, loop
from masktools.restoration.gap_plan import METHODS, GapSettings, needs_model
from masktools.restoration.inpaint import Inpainting, inpaint, inpaint_pieces
from masktools.restoration.recordings import CHANNEL_MODES as CHANNELS
from masktools.restoration.recordings import FilledGap, Reader, Restored, untouched
from masktools.restoration.regions import Region, check_regions, parse_regions, read_regions
from masktools.restoration.repair import repair, repair_pieces

__all__ = [
    "CHANNELS",
    "METHODS",
    "FilledGap",
    "GapSettings",
    "Inpainting",
    "Reader",
    "Region",
    "Restored",
    "bwe",
    "check_regions",
    "choose_cutoff",
    "continue_recording",
    "cutoff_limits_hz",
    "extend_blocks",
    "inpaint",
    "inpaint_pieces",
    "loop",
    "needs_model",
    "parse_regions",
    "read_regions",
    "repair",
    "repair_pieces",
    "untouched",
]
