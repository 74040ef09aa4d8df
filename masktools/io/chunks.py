"""Files made of chunks, each with a name and a length: RIFF, RF64 and AIFF."""

from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

__all__ = ["Layout", "chunks_of"]

_UNKNOWN = 2**32 - 2**12  # from here on lengths stand in the ds64 chunk, or nowhere: written while it was streamed


class Layout(NamedTuple):
    """Where a file holds its samples, and how."""

    start: int  # byte at which they begin
    n_samples: int  # for each channel
    n_channels: int
    sample_rate: int  # Hz
    sample_bytes: int
    subtype: str  # libsndfile's name
    order: Literal["little", "big"] = "little"


def chunks_of(file: BinaryIO, order: Literal["little", "big"] = "little") -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and length of each chunk of a file.

    A chunk of samples whose length was never written ends with the file.

    Source: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0 (RIFF); EBU Tech 3306
    (RF64); Apple, Audio Interchange File Format 1.3 (AIFF).
    """
    size = file.seek(0, 2)
    n_data = 0
    position = 12
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        name, n_bytes = head[:4], int.from_bytes(head[4:], order)
        if name == b"ds64":
            n_data = int.from_bytes(file.read(16)[8:], "little")
        elif name in (b"data", b"SSND") and n_bytes >= _UNKNOWN:
            n_bytes = n_data or size - position - 8
        yield name, position + 8, n_bytes
        position += 8 + n_bytes + n_bytes % 2
