"""Headers that tell another length than the file has, corrected for who reads them; the file stays as it is."""

from pathlib import Path

from masktools.errors import AudioError
from masktools.io.chunks import is_chunked, sample_chunk
from masktools.io.riff import rf64_head
from masktools.io.spliced import ReadFile, Spliced, overlaid

__all__ = ["mended"]

_LONGEST = 2**32 - 2**16  # bytes that a length of 32 bits can say


def mended(path: Path, file: ReadFile) -> tuple[Spliced, str] | None:
    """Return a file whose header tells its true length and the line that says so; None where it does by itself.

    Raises:
        AudioError: a file that holds much less than its header promises.
    """
    file.seek(0)
    head = file.read(12)
    if not is_chunked(head):
        return None
    size = file.seek(0, 2)
    chunk = sample_chunk(file)
    if chunk is None:
        return None
    lacking = chunk.start + chunk.n_bytes - size
    if lacking > 0:
        raise AudioError(f"{path} is cut off: its header promises {lacking} bytes more than it holds")
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
