"""Chunked audio files (RIFF, RF64, AIFF, Wave64, CAF): finding the samples, and adding or correcting chunks.

A writer that cannot go back in a file (a pipe), or that is stopped before the end, leaves a length that was never
true: 0, or about the largest that there is. Then the samples go on to the end of the file.

Source: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0 (RIFF; cue, plst, LIST adtl);
EBU Tech 3306 (RF64); EBU Tech 3285 (bext); IBM and Microsoft, New Multimedia Data Types and Data Techniques 3.0 (smpl);
Apple, Audio Interchange File Format 1.3 (1989); Audio Interchange File Format AIFF-C (1991).
"""

import io
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from masktools.core.errors import AudioError

_Stretch = bytes | int | tuple[int, int]


class Spliced(io.RawIOBase):
    """A file made of byte ranges of an open file and of bytes of our own, in any order; read and sought in like a file.

    Closing it leaves the underlying file open. A seek before the beginning does nothing, as the decoders that call this
    from C expect of a seek that fails.
    that call this from C expect of a seek that fails.
    """

    def __init__(self, file: "ReadFile", pieces: Sequence[_Stretch]) -> None:
        """Take the file and the pieces: byte ranges (first byte, byte behind the last) of it, or bytes.

        A number is a count of bytes that the file claims to have beyond its end; they cannot be read.
        """
        self._file = file
        self._pieces = [piece for piece in pieces if _length(piece)]
        self._starts = [0, *accumulate(map(_length, self._pieces))]
        self._position = 0

    def __len__(self) -> int:
        return self._starts[-1]

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, and return it."""
        position = offset + (0, self._position, len(self))[whence]
        if position >= 0:
            self._position = position
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes, and return their number."""
        view = memoryview(buffer).cast("B")
        n_read = 0
        while n_read < len(view) and self._position < len(self):
            number = bisect_right(self._starts, self._position) - 1
            piece, within = self._pieces[number], self._position - self._starts[number]
            n = min(len(view) - n_read, self._starts[number + 1] - self._position)
            if isinstance(piece, int):
                break
            if isinstance(piece, bytes):
                held = piece[within : within + n]
            else:
                self._file.seek(piece[0] + within)
                held = self._file.read(n)
            if not held:
                break
            view[n_read : n_read + len(held)] = held
            n_read += len(held)
            self._position += len(held)
        return n_read


ReadFile = BinaryIO | Spliced
"""A file that can be read and sought in."""


def _length(piece: _Stretch) -> int:
    if isinstance(piece, int):
        return piece
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]


def overlaid(file: ReadFile, changes: Mapping[int, bytes]) -> Spliced:
    """Return a view of a file with other bytes at some positions."""
    pieces: list[_Stretch] = []
    position = 0
    for start, content in sorted(changes.items()):
        pieces += [(position, start), content]
        position = start + len(content)
    return Spliced(file, [*pieces, (position, file.seek(0, io.SEEK_END))])


Order = Literal["little", "big"]
_MARGIN = 2**16  # by which a length that means "unknown" may differ from a power of two
_SLACK = 256  # bytes promised beyond the end by writers that count a header or padding among the samples
_MOST_CHUNKS = 1 << 16


class Layout(NamedTuple):
    """Position and format of the samples in a file."""

    start: int  # byte at which they begin
    n_samples: int  # for each channel
    n_channels: int
    sample_rate: int  # Hz
    sample_bytes: int
    subtype: str  # libsndfile's name
    order: Order = "little"


class Chunk(NamedTuple):
    """A chunk, and the position of its length field."""

    name: bytes  # of 4 letters
    start: int  # first byte of its content
    n_bytes: int  # of its content; more than the file holds only if it was cut off
    promised: int  # bytes, by its length field
    length_at: int  # position of the length field
    length_bytes: int

    @property
    def is_mended(self) -> bool:
        """Whether the length differs from that in the file."""
        return self.n_bytes != self.promised


class _Kind(NamedTuple):
    first: int  # byte of the first chunk
    name_bytes: int
    length_bytes: int
    order: Order
    counts_head: bool  # whether a length includes the chunk's own name and length
    even: int  # chunks begin at multiples of this many bytes
    fixed: int = 0  # bytes at the start of a chunk of samples that are no samples


_KINDS = {
    b"RIFF": _Kind(12, 4, 4, "little", False, 2),
    b"RF64": _Kind(12, 4, 4, "little", False, 2),
    b"RIFX": _Kind(12, 4, 4, "big", False, 2),
    b"FORM": _Kind(12, 4, 4, "big", False, 2, 8),
    b"riff": _Kind(40, 16, 8, "little", True, 8),
    b"caff": _Kind(8, 4, 8, "big", False, 1, 4),
}


def is_chunked(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes is a chunked audio file."""
    return head[:4] in _KINDS and (head[:4] in (b"riff", b"caff") or head[8:12] in (b"WAVE", b"AIFF", b"AIFC"))


def chunk_of(file: ReadFile, *names: bytes) -> Chunk | None:
    """Return the first chunk of any of these names."""
    return next((chunk for chunk in chunks_of(file) if chunk.name in names), None)


def content_of(file: ReadFile, *names: bytes, n_bytes: int = 64) -> bytes:
    """Return the content of the first chunk of these names, at most n_bytes; empty if there is none."""
    chunk = chunk_of(file, *names)
    if chunk is None:
        return b""
    file.seek(chunk.start)
    return file.read(min(chunk.n_bytes, n_bytes))


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
        found = _head(file, position, kind) if position + head_bytes <= size else None
        if found is None:
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
    """Return name and content length of the chunk at a position; None where the length is impossible."""
    file.seek(position)
    head = file.read(kind.name_bytes + kind.length_bytes)
    n_bytes = int.from_bytes(head[kind.name_bytes :], kind.order)
    if kind.counts_head:
        n_bytes -= len(head)
    return (head[:4], n_bytes) if n_bytes >= 0 else None


def _next(file: ReadFile, kind: _Kind, end: int, size: int) -> int:
    """Return the position of the chunk after one that ends here: some writers forget the padding byte."""
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
    """Return the true length in bytes of a chunk of samples, whatever its length field says."""
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
    """Tell whether there are only chunks from here to the end of the file."""
    for _ in range(_MOST_CHUNKS):
        if position >= size:
            return True
        if not _is_head(file, kind, position, size):
            return False
        n_bytes = (_head(file, position, kind) or (b"", 0))[1]
        position = _next(file, kind, position + kind.name_bytes + kind.length_bytes + n_bytes, size)
    return False


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
    """Return the layout of a wave file; None where its samples cannot be replaced one by one."""
    coding, data = content_of(file, b"fmt "), chunk_of(file, b"data")
    if data is None or len(coding) < 16:
        return None
    tag, n_channels, block, bits = (int.from_bytes(coding[at : at + 2], "little") for at in (0, 2, 12, 14))
    if tag == _EXTENSIBLE and len(coding) >= 26:
        tag = int.from_bytes(coding[24:26], "little")
    subtype = _SUBTYPES.get((tag, bits))
    if subtype is None or not n_channels or block != n_channels * bits // 8:
        return None
    n_samples = min(data.n_bytes, file.seek(0, 2) - data.start) // block
    return Layout(data.start, n_samples, n_channels, int.from_bytes(coding[4:8], "little"), bits // 8, subtype)


@contextmanager
def rewriting(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Yield a file open for reading, and another open for writing that replaces it at the end."""
    moved = path.with_name(f"{path.stem}-new.part")
    try:
        with path.open("rb") as file, moved.open("wb") as out:
            yield file, out
        moved.replace(path)
    finally:
        moved.unlink(missing_ok=True)


def append_chunks(path: Path, chunks: Sequence[tuple[bytes, bytes]]) -> None:
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


def put_wave_mask(path: Path, mask: int) -> None:
    """Write the speaker mask into the header of an extensible wave file (WAVEFORMATEXTENSIBLE)."""
    with path.open("rb+") as file:
        chunk, content = chunk_of(file, b"fmt "), content_of(file, b"fmt ")
        if chunk and len(content) >= 24 and int.from_bytes(content[:2], "little") == _EXTENSIBLE:
            file.seek(chunk.start + 20)
            file.write(mask.to_bytes(4, "little"))


def make_rf64(path: Path, n_bytes: int) -> None:
    """Turn a RIFF file that ends with n_bytes of samples, and may be too long for its own lengths, into RF64."""
    with rewriting(path) as (file, out):
        data = chunk_of(file, b"data")
        start = data.start if data else 0
        out.write(rf64_head(file, start, n_bytes))
        file.seek(start)
        shutil.copyfileobj(file, out, 1 << 20)


def rf64_head(file: ReadFile, start: int, n_bytes: int) -> bytes:
    """Return the header of an RF64 file for the n_bytes of samples of a RIFF file, with the chunks before them.

    Args:
        file: the RIFF file.
        start: position of its samples in bytes.
        n_bytes: size of its samples in bytes.
    """
    frame_bytes = int.from_bytes(content_of(file, b"fmt ")[12:14], "little") or 1
    fields = (file.seek(0, 2) + 36 - 8, n_bytes, n_bytes // frame_bytes)
    ds64 = b"ds64" + (28).to_bytes(4, "little") + b"".join(field.to_bytes(8, "little") for field in fields) + bytes(4)
    file.seek(12)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + file.read(start - 4 - 12) + b"\xff\xff\xff\xff"


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
    """Return the layout of an AIFF file; None where its samples cannot be replaced one by one."""
    common, sound = content_of(file, b"COMM"), chunk_of(file, b"SSND")
    coding, n_channels = _coding_of(common), int.from_bytes(common[:2], "big")
    if coding is None or sound is None or not n_channels:
        return None
    subtype, width, order = coding
    file.seek(sound.start)
    offset = 8 + int.from_bytes(file.read(4), "big")
    n_samples = max(0, min(sound.n_bytes, file.seek(0, 2) - sound.start) - offset) // (width * n_channels)
    if not sound.is_mended:
        n_samples = min(int.from_bytes(common[2:6], "big"), n_samples)
    return Layout(sound.start + offset, n_samples, n_channels, _extended(common[8:18]), width, subtype, order)


def put_aiff_mask(path: Path, mask: int) -> None:
    """Write the speaker mask of an AIFF file into a chunk CHAN before the samples.

    Source: Apple, Core Audio Format Specification 1.0 (channel layout chunk, with a bitmap).
    """
    content = _BY_BITMAP.to_bytes(4, "big") + mask.to_bytes(4, "big") + bytes(4)
    with rewriting(path) as (file, out):
        n_bytes = int.from_bytes(file.read(8)[4:], "big") + 8 + len(content)
        out.write(b"FORM" + n_bytes.to_bytes(4, "big") + file.read(4))
        out.write(b"CHAN" + len(content).to_bytes(4, "big") + content)
        shutil.copyfileobj(file, out, 1 << 20)


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


_LONGEST = 2**32 - 2**16  # bytes that a length of 32 bits can express


def repaired(path: Path, file: ReadFile) -> tuple[Spliced, str] | None:
    """Return a file with a header of the true length and a warning line; None where the header is right already.

    Raises:
        AudioError: a file that holds much less than its header promises.
    """
    file.seek(0)
    head = file.read(12)
    if not is_chunked(head):
        return None
    size = file.seek(0, 2)
    chunk = chunk_of(file, b"data", b"SSND")
    if chunk is None:
        return None
    lacking = chunk.start + chunk.n_bytes - size
    if lacking > 0:
        raise AudioError(f"{path} is cut off: its header promises {lacking} bytes more than it holds")
    if chunk.start % 2 and head[:4] == b"RIFF":
        line = f"{path}: a chunk before its samples is not padded to an even length: it was read all the same"
        return Spliced(file, [_plain_head(file, chunk.n_bytes), (chunk.start, chunk.start + chunk.n_bytes)]), line
    if not chunk.is_mended:
        return None
    line = (
        f"{path}: its header promises {chunk.promised} bytes of samples, but it holds {chunk.n_bytes}: "
        "it was read to its end"
    )
    order = "big" if head[:4] in (b"RIFX", b"FORM", b"caff") else "little"
    if chunk.length_bytes == 4 and chunk.n_bytes > _LONGEST and head[:4] == b"RIFF":
        start = rf64_head(file, chunk.start, chunk.n_bytes)
        return Spliced(file, [start, (chunk.start, size)]), line
    length = chunk.n_bytes + (24 if head[:4] == b"riff" else 0)
    changes = {chunk.length_at: length.to_bytes(chunk.length_bytes, order)}
    if head[:4] in (b"RIFF", b"RIFX", b"FORM"):
        changes[4] = min(size - 8, 2**32 - 1).to_bytes(4, order)
    elif head[:4] == b"RF64":
        changes[20] = (size - 8).to_bytes(8, order)
    elif head[:4] == b"riff":
        changes[16] = size.to_bytes(8, order)
    return overlaid(file, changes), line


def _plain_head(file: ReadFile, n_bytes: int) -> bytes:
    """Return the header of a wave file with n_bytes of samples in the coding of another, without other chunks."""
    coding = content_of(file, b"fmt ")
    coding = coding[: len(coding) // 2 * 2]
    body = b"WAVEfmt " + len(coding).to_bytes(4, "little") + coding + b"data" + n_bytes.to_bytes(4, "little")
    return b"RIFF" + min(len(body) + n_bytes, 2**32 - 1).to_bytes(4, "little") + body


_TIME_REFERENCE = slice(338, 346)  # of bext: samples since midnight


def at_rate(name: bytes, content: bytes, from_hz: int, to_hz: int) -> bytes:
    """Return a chunk with its positions and lengths converted to another sample rate.

    Chunks of other names are returned unchanged; so are those that are too short for their kind.
    """
    if from_hz == to_hz or not from_hz:
        return content
    changed = bytearray(content)
    for field in _fields(name, content):
        if field.stop <= len(changed):
            value = int.from_bytes(changed[field], "little")
            scaled = min((2 * value * to_hz + from_hz) // (2 * from_hz), 256 ** (field.stop - field.start) - 1)
            changed[field] = scaled.to_bytes(field.stop - field.start, "little")
    if name == b"smpl" and len(changed) >= 12:
        changed[8:12] = round(1e9 / to_hz).to_bytes(4, "little")  # ns
    return bytes(changed)


def _fields(name: bytes, content: bytes) -> list[slice]:
    """Return the fields of a chunk that are positions or lengths in samples."""
    if name == b"bext":
        return [_TIME_REFERENCE]
    if name == b"cue ":
        starts = [4 + 24 * number + at for number in range(_count(content, 0, 24)) for at in (4, 20)]
    elif name == b"plst":
        starts = [4 + 12 * number + 4 for number in range(_count(content, 0, 12))]
    elif name == b"smpl":
        starts = [36 + 24 * number + at for number in range(_count(content, 28, 24)) for at in (8, 12)]
    elif name == b"LIST" and content[:4] == b"adtl":
        starts = _labelled(content)
    else:
        starts = []
    return [slice(start, start + 4) for start in starts]


def _count(content: bytes, at: int, n_bytes: int) -> int:
    """Return the number of entries in a chunk, no more than there is room for."""
    return min(int.from_bytes(content[at : at + 4], "little"), len(content) // n_bytes)


def _labelled(content: bytes) -> list[int]:
    """Return the positions of the fields in a list of labels that are lengths in samples."""
    starts, position = [], 4
    while position + 8 <= len(content):
        if content[position : position + 4] == b"ltxt":
            starts.append(position + 12)
        n_bytes = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + n_bytes + n_bytes % 2
    return starts
