"""Where AIFF and AIFF-C files hold their samples, and what their channels are for.

Source: Apple, Audio Interchange File Format 1.3 (1989); Audio Interchange File Format AIFF-C (1991).
"""

import shutil
from pathlib import Path
from typing import Literal

from masktools.io.chunks import Layout, chunks_of
from masktools.io.spliced import ReadFile

__all__ = ["aiff_layout", "put_bitmap"]

_BY_BITMAP = 1 << 16
_INTEGERS = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}
_OTHERS = {
    b"fl32": ("FLOAT", 4),
    b"FL32": ("FLOAT", 4),
    b"fl64": ("DOUBLE", 8),
    b"FL64": ("DOUBLE", 8),
    b"ulaw": ("ULAW", 1),
    b"ULAW": ("ULAW", 1),
    b"alaw": ("ALAW", 1),
    b"ALAW": ("ALAW", 1),
}


def aiff_layout(file: ReadFile) -> Layout | None:
    """Return where and how an AIFF file holds its samples; None where they cannot be replaced one by one."""
    common, sound = b"", (0, 0)
    is_mended = False
    for chunk in chunks_of(file):
        file.seek(chunk.start)
        if chunk.name == b"COMM":
            common = file.read(min(chunk.n_bytes, 64))
        elif chunk.name == b"SSND":
            offset = 8 + int.from_bytes(file.read(4), "big")
            sound = (chunk.start + offset, min(chunk.n_bytes, file.seek(0, 2) - chunk.start) - offset)
            is_mended = chunk.is_mended
    coding = _coding_of(common)
    if coding is None or not sound[0]:
        return None
    subtype, width, order = coding
    n_channels, n_announced = int.from_bytes(common[:2], "big"), int.from_bytes(common[2:6], "big")
    if not n_channels:
        return None
    n_samples = max(0, sound[1]) // (width * n_channels)
    if not is_mended:
        n_samples = min(n_announced, n_samples)
    return Layout(sound[0], n_samples, n_channels, _extended(common[8:18]), width, subtype, order)


def put_bitmap(path: Path, mask: int) -> None:
    """Say in an AIFF file which loudspeakers its channels are for: in a chunk CHAN, before the samples.

    Source: Apple, Core Audio Format Specification 1.0 (channel layout chunk, with a bitmap).
    """
    moved = path.with_name(f"{path.stem}-chan.part")
    content = _BY_BITMAP.to_bytes(4, "big") + mask.to_bytes(4, "big") + bytes(4)
    try:
        with path.open("rb") as file, moved.open("wb") as out:
            n_bytes = int.from_bytes(file.read(8)[4:], "big") + 8 + len(content)
            out.write(b"FORM" + n_bytes.to_bytes(4, "big") + file.read(4))
            out.write(b"CHAN" + len(content).to_bytes(4, "big") + content)
            shutil.copyfileobj(file, out, 1 << 20)
        moved.replace(path)
    finally:
        moved.unlink(missing_ok=True)


def _coding_of(common: bytes) -> tuple[str, int, Literal["little", "big"]] | None:
    """Return the subtype, the bytes of a sample and their order from a COMM chunk."""
    if len(common) < 18:
        return None
    bits = int.from_bytes(common[6:8], "big")
    compression = common[18:22] or b"NONE"
    if compression in _OTHERS:
        return *_OTHERS[compression], "big"
    if compression in (b"NONE", b"twos", b"sowt") and bits in _INTEGERS:
        return _INTEGERS[bits], bits // 8, "little" if compression == b"sowt" else "big"
    return None


def _extended(field: bytes) -> int:
    """Return a rate in Hz from a float of 80 bits, whose exponent is biased by 16383 and whose mantissa has 64 bits."""
    exponent, mantissa = int.from_bytes(field[:2], "big") & 0x7FFF, int.from_bytes(field[2:], "big")
    shift = 16383 + 63 - exponent
    return mantissa >> shift if 0 <= shift < 64 else 0
