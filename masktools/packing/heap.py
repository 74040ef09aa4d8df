"""Memory that is free, and that the C library keeps for later."""

import ctypes
import sys

__all__ = ["give_back"]


def give_back() -> None:
    """Give the system back what is free, where the C library can: on Linux, within milliseconds."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others do not
        if trim is not None:
            trim(0)
