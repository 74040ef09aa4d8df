"""Files made of chunks, each with a name and a length: RIFF, RF64, AIFF, Wave64 and CAF; and lengths that are wrong.

Whoever cannot go back in a file (a pipe), or is stopped before the end, leaves a length that was never true: 0, or
about the largest that there is. Then the samples go on to the end of the file.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from masktools.io.spliced import ReadFile

__all__ = ["Chunk", "Layout", "chunks_of", "is_chunked", "sample_chunk"]

Order = Literal["little", "big"]
_MARGIN = 2**16  # by which a length that says "unknown" may differ from a round number
_SLACK = 256  # bytes: promised beyond the end by who counted a header among the samples, or padding
_MOST_CHUNKS = 1 << 16


class Layout(NamedTuple):
    """Where a file holds its samples, and how."""

    start: int  # byte at which they begin
    n_samples: int  # for each channel
    n_channels: int
    sample_rate: int  # Hz
    sample_bytes: int
    subtype: str  # libsndfile's name
    order: Order = "little"


class Chunk(NamedTuple):
    """A chunk, and where its length stands."""

    name: bytes  # of 4 letters
    start: int  # first byte of its content
    n_bytes: int  # of its content; more than the file holds only if it was cut off
    promised: int  # that its length says
    length_at: int  # where the length stands
    length_bytes: int

    @property
    def is_mended(self) -> bool:
        """Whether the length is another one than the file says."""
        return self.n_bytes != self.promised


class _Kind(NamedTuple):
    first: int  # byte of the first chunk
    name_bytes: int
    length_bytes: int
    order: Order
    counts_head: bool  # whether a length counts name and length
    even: int  # what chunks begin at multiples of
    fixed: int = 0  # bytes of a chunk of samples that are before the samples


_KINDS = {
    b"RIFF": _Kind(12, 4, 4, "little", False, 2),
    b"RF64": _Kind(12, 4, 4, "little", False, 2),
    b"RIFX": _Kind(12, 4, 4, "big", False, 2),
    b"FORM": _Kind(12, 4, 4, "big", False, 2, 8),
    b"riff": _Kind(40, 16, 8, "little", True, 8),
    b"caff": _Kind(8, 4, 8, "big", False, 1, 4),
}


def is_chunked(head: bytes) -> bool:
    """Tell whether a file that begins so is made of chunks, as sound."""
    return head[:4] in _KINDS and (head[:4] in (b"riff", b"caff") or head[8:12] in (b"WAVE", b"AIFF", b"AIFC"))


def sample_chunk(file: ReadFile) -> Chunk | None:
    """Return the chunk that holds the samples."""
    return next((chunk for chunk in chunks_of(file) if chunk.name in (b"data", b"SSND")), None)


def chunks_of(file: ReadFile) -> Iterator[Chunk]:
    """Yield the chunks of a file, in order.

    A chunk of samples ends with the file where its length was never written (0, or about 2 or 4 GiB), where it promises
    up to 256 bytes too many, and where the length of all says that nothing is missing. One that is longer than its
    length can say, by multiples of 4 GiB, has its true length.

    Source: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0 (RIFF); EBU Tech 3306
    (RF64); Apple, Audio Interchange File Format 1.3 (AIFF); Sony, Wave64; Apple, Core Audio Format Specification 1.0.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(24)
    kind = _KINDS.get(head[:4])
    if kind is None:
        return
    is_whole = kind.length_bytes == 4 and int.from_bytes(head[4:8], kind.order) + 8 in (size, size + 1)
    long_length: Chunk | None = None
    position = kind.first
    head_bytes = kind.name_bytes + kind.length_bytes
    for _ in range(_MOST_CHUNKS):
        found = _head(file, position, kind)
        if position + head_bytes > size or found is None:
            return
        name, promised = found
        start, length_at, length_bytes = position + head_bytes, position + kind.name_bytes, kind.length_bytes
        if name in (b"data", b"SSND") and long_length is not None and promised >= 2**32 - _MARGIN:
            promised, length_at, length_bytes = long_length[3:]
        n_bytes = promised
        if name in (b"data", b"SSND"):
            n_bytes = _held(file, kind, start, promised, size, is_whole, length_bytes)
        yield Chunk(name, start, n_bytes, promised, length_at, length_bytes)
        if name == b"ds64":
            file.seek(start + 8)
            long_length = Chunk(name, start, 8, int.from_bytes(file.read(8), "little"), start + 8, 8)
        position = _next(file, kind, start + n_bytes, size)


def _head(file: ReadFile, position: int, kind: _Kind) -> tuple[bytes, int] | None:
    """Return the name of the chunk at a position, and the length of its content; None where the length is none."""
    file.seek(position)
    head = file.read(kind.name_bytes + kind.length_bytes)
    n_bytes = int.from_bytes(head[kind.name_bytes :], kind.order)
    if kind.counts_head:
        n_bytes -= len(head)
    return (head[:4], n_bytes) if n_bytes >= 0 else None


def _next(file: ReadFile, kind: _Kind, end: int, size: int) -> int:
    """Return where the chunk behind one that ends here begins: some forget the byte that makes lengths even."""
    padded = end + -end % kind.even
    if padded == end + 1 and not _is_head(file, kind, padded, size) and _is_head(file, kind, end, size):
        return end
    return padded


def _is_head(file: ReadFile, kind: _Kind, position: int, size: int) -> bool:
    found = _head(file, position, kind) if position + kind.name_bytes + kind.length_bytes <= size else None
    return (
        found is not None
        and all(32 <= letter < 127 for letter in found[0])
        and found[1] <= size - position - kind.name_bytes - kind.length_bytes
    )


def _held(file: ReadFile, kind: _Kind, start: int, promised: int, size: int, is_whole: bool, length_bytes: int) -> int:
    """Return how many bytes a chunk of samples has, whatever its length says."""
    room = size - start
    if promised > room:
        return room if is_whole or promised - room <= _SLACK or _says_unknown(promised, length_bytes) else promised
    if promised <= kind.fixed < room and not _are_chunks(file, kind, start + promised, size):
        return room
    if length_bytes == 4 and room - promised >= 2**32:
        return promised + (room - promised) // 2**32 * 2**32
    return promised


def _says_unknown(promised: int, length_bytes: int) -> bool:
    if length_bytes == 8:
        return promised >= 2**62
    return promised >= 2**32 - _MARGIN or any(abs(promised - at) <= _MARGIN for at in (0x7F000000, 2**31))


def _are_chunks(file: ReadFile, kind: _Kind, position: int, size: int) -> bool:
    """Tell whether chunks follow one another from here to the end of the file."""
    for _ in range(_MOST_CHUNKS):
        if position >= size:
            return True
        if not _is_head(file, kind, position, size):
            return False
        n_bytes = (_head(file, position, kind) or (b"", 0))[1]
        position = _next(file, kind, position + kind.name_bytes + kind.length_bytes + n_bytes, size)
    return False
