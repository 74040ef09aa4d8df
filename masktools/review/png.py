"""PNG pictures out of colour numbers and a colour table: what a browser needs, without a drawing library."""

import struct
import zlib

import numpy as np

from masktools.errors import ParameterError

__all__ = ["encode_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS, _PALETTE = 8, 3  # a byte a pixel, which is a number in the colour table


def encode_png(pixels: np.ndarray, colours: np.ndarray) -> bytes:
    """Return a PNG of pixels that are numbers in a table of colours.

    Args:
        pixels: (height, width) uint8, the top row first.
        colours: (n, 3) uint8, red, green and blue; n in [1, 256].

    Raises:
        ParameterError: arrays of another shape or kind, no pixels, or a number beyond the table.

    Source: PNG specification, third edition, sections 5 and 11.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise ParameterError(f"pixels must be uint8 of shape (height, width), got {pixels.dtype} of {pixels.shape}")
    if colours.ndim != 2 or colours.shape[1] != 3 or colours.dtype != np.uint8 or not 1 <= len(colours) <= 256:
        raise ParameterError(f"colours must be 1 to 256 rows of 3 uint8, got {colours.dtype} of {colours.shape}")
    if pixels.max() >= len(colours):
        raise ParameterError(f"pixels must be numbers below {len(colours)}, the length of the table")
    height, width = pixels.shape
    lines = np.zeros((height, 1 + width), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", width, height, _BITS, _PALETTE, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", colours.tobytes()), (b"IDAT", zlib.compress(lines.tobytes(), 9)))
    return _SIGNATURE + b"".join(_chunk(*chunk) for chunk in (*chunks, (b"IEND", b"")))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
