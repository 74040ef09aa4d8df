"""Restoration: gaps filled, bandwidth extended, regions repaired, ends continued; what is known is never changed."""

from masktools.restoration.band_stereo import CHANNEL_MODES as CHANNELS
from masktools.restoration.bandwidth import bwe, extend_blocks
from masktools.restoration.band_cutoff import choose_cutoff, cutoff_limits_hz
from masktools.restoration.continuation import continue_recording
from masktools.restoration.gap_filling import GapFilling
from masktools.restoration.gap_settings import METHODS, GapSettings
from masktools.restoration.gap_tasks import needs_model
from masktools.restoration.gap_fill import FilledGap
from masktools.restoration.inpaint import inpaint, inpaint_candidates, inpaint_pieces
from masktools.restoration.looping import loop
from masktools.restoration.regions import Region, check_regions, parse_regions, read_regions
from masktools.restoration.repair import repair, repair_pieces
from masktools.restoration.restored import Restored, untouched
from masktools.restoration.surroundings import Reader

__all__ = [
    "CHANNELS",
    "METHODS",
    "FilledGap",
    "GapFilling",
    "GapSettings",
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
    "inpaint_candidates",
    "inpaint_pieces",
    "loop",
    "needs_model",
    "parse_regions",
    "read_regions",
    "repair",
    "repair_pieces",
    "untouched",
]
