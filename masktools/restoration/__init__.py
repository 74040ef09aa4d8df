"""Restoration: gaps filled, bandwidth extended; what is known is never changed."""

from masktools.restoration.bandwidth import bwe, cutoff_limits_hz
from masktools.restoration.inpaint import inpaint
from masktools.restoration.restored import CHANNELS, Restored

__all__ = ["CHANNELS", "Restored", "bwe", "cutoff_limits_hz", "inpaint"]
