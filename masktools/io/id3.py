"""The ID3 tags of MP3 files: read, and put around other audio as they are.

Source: ID3 tag version 2.4.0, main structure, section 3; ID3v1, the last 128 bytes of a file.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["id3_bytes", "id3_tags", "put_id3_tags"]

_FIRST, _LAST = b"ID3v2", b"ID3v1"
_LAST_BYTES = 128
_HAS_FOOTER = 16


def id3_bytes(head: bytes) -> int:
    """Return how long the tag is that begins with these 10 bytes; 0 if none does."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    n_bytes = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 10 + n_bytes + (10 if head[5] & _HAS_FOOTER else 0)


def id3_tags(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield the tag at the beginning and the tag at the end of a file, where it has them."""
    file.seek(0)
    n_bytes = id3_bytes(file.read(10))
    if n_bytes:
        file.seek(0)
        yield _FIRST, file.read(n_bytes)
    size = file.seek(0, 2)
    if size >= _LAST_BYTES:
        file.seek(size - _LAST_BYTES)
        tail = file.read()
        if tail[:3] == b"TAG":
            yield _LAST, tail


def put_id3_tags(path: Path, tags: tuple[tuple[bytes, bytes], ...]) -> None:
    """Put tags at the beginning and the end of an MP3 file, in the place of its own."""
    new = dict(tags)
    moved = path.with_name(f"{path.stem}-tags.part")
    try:
        with path.open("rb") as file, moved.open("wb") as out:
            own = dict(id3_tags(file))
            out.write(new.get(_FIRST, own.get(_FIRST, b"")))
            file.seek(len(own.get(_FIRST, b"")))
            shutil.copyfileobj(file, out, 1 << 20)
            out.truncate(out.tell() - len(own.get(_LAST, b"")))
            out.seek(0, 2)
            out.write(new.get(_LAST, own.get(_LAST, b"")))
        moved.replace(path)
    finally:
        moved.unlink(missing_ok=True)
