"""Recordings and pictures as text that a page can hold, so that it needs no file beside it."""

import base64
import struct

import numpy as np

from masktools.errors import ParameterError

__all__ = ["data_uri", "wav_bytes"]


def data_uri(kind: str, content: bytes) -> str:
    """Return content as an address that holds it.

    >>> data_uri("image/png", b"PNG")
    'data:image/png;base64,UE5H'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def wav_bytes(samples: np.ndarray, sample_rate: int, bits: int) -> bytes:
    """Return a WAV of samples as they are: nothing is scaled, what lies beyond full scale is clipped.

    Args:
        samples: (channels, t), full scale 1; what is not finite becomes zero.
        sample_rate: in Hz.
        bits: of a sample, 16 or 24.

    Raises:
        ParameterError: another number of bits, or samples of another shape.
    """
    if bits not in (16, 24):
        raise ParameterError(f"a player's samples must have 16 or 24 bits, got {bits}")
    if samples.ndim != 2 or not samples.size:
        raise ParameterError(f"samples must be of shape (channels, t) and not empty, got {samples.shape}")
    full_scale = 2.0 ** (bits - 1)
    finite = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    codes = np.rint(finite * full_scale).clip(-full_scale, full_scale - 1).astype("<i4").T
    width = bits // 8
    content = np.ascontiguousarray(codes).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    n_channels = samples.shape[0]
    form = struct.pack(
        "<HHIIHH", 1, n_channels, sample_rate, sample_rate * n_channels * width, n_channels * width, bits
    )
    padding = b"\0" * (len(content) % 2)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body) + len(padding)) + body + padding
