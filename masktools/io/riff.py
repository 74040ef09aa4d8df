"""Where RIFF and RF64 wave files hold their samples, and how chunks are added behind those that are there.

Source: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0 (RIFF); EBU Tech 3306 (RF64).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from masktools.io.chunks import Layout, chunks_of
from masktools.io.spliced import ReadFile

__all__ = ["grow", "make_rf64", "put_mask", "rf64_head", "riff_layout"]

_EXTENSIBLE = 0xFFFE
_SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
    (6, 8): "ALAW",
    (7, 8): "ULAW",
}


def riff_layout(file: ReadFile) -> Layout | None:
    """Return where and how a wave file holds its samples; None where they cannot be replaced one by one."""
    coding, data = b"", None
    for chunk in chunks_of(file):
        if chunk.name == b"fmt ":
            file.seek(chunk.start)
            coding = file.read(min(chunk.n_bytes, 64))
        elif chunk.name == b"data":
            data = (chunk.start, min(chunk.n_bytes, file.seek(0, 2) - chunk.start))
            break
    if data is None or len(coding) < 16:
        return None
    tag, n_channels, block, bits = (int.from_bytes(coding[at : at + 2], "little") for at in (0, 2, 12, 14))
    if tag == _EXTENSIBLE and len(coding) >= 26:
        tag = int.from_bytes(coding[24:26], "little")
    subtype = _SUBTYPES.get((tag, bits))
    if subtype is None or not n_channels or block != n_channels * bits // 8:
        return None
    return Layout(data[0], data[1] // block, n_channels, int.from_bytes(coding[4:8], "little"), bits // 8, subtype)


def grow(path: Path, chunks: Sequence[tuple[bytes, bytes]]) -> None:
    """Add chunks behind the others of a RIFF or RF64 file, and count them in its header."""
    if not chunks:
        return
    with path.open("rb+") as file:
        is_rf64 = file.read(4) == b"RF64"
        if file.seek(0, 2) % 2:
            file.write(b"\0")
        for name, content in chunks:
            file.write(name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2))
        n_bytes = file.tell() - 8
        if is_rf64:
            file.seek(20)  # of the first field of ds64, which is always the first chunk
            file.write(n_bytes.to_bytes(8, "little"))
        else:
            file.seek(4)
            file.write(n_bytes.to_bytes(4, "little"))


def put_mask(path: Path, mask: int) -> None:
    """Say in a wave file of the extensible kind which loudspeakers its channels are for."""
    with path.open("rb+") as file:
        for chunk in chunks_of(file):
            if chunk.name == b"fmt ":
                file.seek(chunk.start)
                if int.from_bytes(file.read(2), "little") == _EXTENSIBLE and chunk.n_bytes >= 24:
                    file.seek(chunk.start + 20)
                    file.write(mask.to_bytes(4, "little"))
                return


def make_rf64(path: Path, n_bytes: int) -> None:
    """Turn a RIFF file that ends with n_bytes of samples, and may be too long for its own lengths, into RF64."""
    moved = path.with_name(f"{path.stem}-64.part")
    try:
        with path.open("rb") as file, moved.open("wb") as out:
            start = next(chunk.start for chunk in chunks_of(file) if chunk.name == b"data")
            out.write(rf64_head(file, start, n_bytes))
            file.seek(start)
            shutil.copyfileobj(file, out, 1 << 20)
        moved.replace(path)
    finally:
        moved.unlink(missing_ok=True)


def rf64_head(file: ReadFile, start: int, n_bytes: int) -> bytes:
    """Return what an RF64 file begins with whose n_bytes of samples, and what is before them, are those of a RIFF file.

    Args:
        file: the RIFF file.
        start: where its samples begin.
        n_bytes: of its samples.
    """
    frame_bytes = 1
    for chunk in chunks_of(file):
        if chunk.name == b"fmt ":
            file.seek(chunk.start + 12)
            frame_bytes = int.from_bytes(file.read(2), "little") or 1
            break
    fields = (file.seek(0, 2) + 36 - 8, n_bytes, n_bytes // frame_bytes)
    ds64 = b"ds64" + (28).to_bytes(4, "little") + b"".join(field.to_bytes(8, "little") for field in fields) + bytes(4)
    file.seek(12)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + file.read(start - 4 - 12) + b"\xff\xff\xff\xff"
