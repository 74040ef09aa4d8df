"""Restoration: gaps filled, bandwidth extended, regions repaired, ends continued; what is known is never changed."""

from masktools.restoration.band_level import choose_cutoff, cutoff_limits_hz
from masktools.restoration.bandwidth import bwe, extend_blocks
from masktools.restoration.ends import continuation, continue_recording, loop, loop_pieces
from masktools.restoration.gap_plan import look_through, wanted_gaps
from masktools.restoration.inpaint import Inpainting, inpaint, inpaint_pieces
from masktools.restoration.recordings import FilledGap, Reader, Restored, Signal
from masktools.restoration.regions import Region, check_regions, parse_regions, read_regions
from masktools.restoration.repair import repair, repair_pieces

__all__ = [
    "FilledGap", "Inpainting", "Reader", "Region", "Restored", "Signal", "bwe", "check_regions", "choose_cutoff",
    "continuation", "continue_recording", "cutoff_limits_hz", "extend_blocks", "inpaint", "inpaint_pieces",
    "look_through", "loop", "loop_pieces", "parse_regions", "read_regions", "repair", "repair_pieces", "wanted_gaps",
]  # fmt: skip
