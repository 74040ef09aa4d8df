"""Ogg files that hold several recordings, one after the other (chained streams): where each of them begins.

Source: RFC 3533, section 6 (pages) and section 4 (chaining: streams begin where others have begun and gone on).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from masktools.io.spliced import ReadFile

__all__ = ["OggLink", "ogg_ends", "ogg_links"]

_HEAD_BYTES = 27
_LONGEST = 65_307  # bytes of a page
_FIRST, _LAST = 2, 4  # flags of a page


class OggLink(NamedTuple):
    """One recording of several in an Ogg file."""

    start: int  # byte
    stop: int
    begins: bytes  # what its first packet begins with: says how it is coded


def ogg_links(file: ReadFile) -> list[OggLink]:
    """Return the recordings in an Ogg file, in order."""
    starts: list[tuple[int, bytes]] = []
    went_on = True
    for position, flags, begins in _pages(file):
        is_first = bool(flags & _FIRST)
        if is_first and went_on:
            starts.append((position, begins))
        went_on = not is_first
    stops = [*(start for start, _ in starts[1:]), file.seek(0, 2)]
    return [OggLink(start, stop, begins) for (start, begins), stop in zip(starts, stops, strict=True)]


def _pages(file: ReadFile) -> Iterator[tuple[int, int, bytes]]:
    """Yield where each page begins, its flags, and what the first of a stream begins with."""
    size = file.seek(0, 2)
    position = 0
    while position + _HEAD_BYTES <= size:
        file.seek(position)
        head = file.read(_HEAD_BYTES + 255 + 64)
        if head[:5] != b"OggS\0":
            position = _next_page(file, position + 1, size)
            continue
        lengths = head[_HEAD_BYTES : _HEAD_BYTES + head[26]]
        content = _HEAD_BYTES + head[26]
        yield position, head[5], head[content : content + 64] if head[5] & _FIRST else b""
        position += content + sum(lengths)


def _next_page(file: ReadFile, position: int, size: int) -> int:
    """Return where the next page begins; the end of the file if there is none."""
    while position < size:
        file.seek(position)
        held = file.read(1 << 16)
        found = re.search(rb"OggS\0", held)
        if found:
            return position + found.start()
        position += max(1, len(held) - 4)
    return size


def ogg_ends(file: ReadFile) -> bool:
    """Tell whether the last page of an Ogg file is complete and marked as the last of its stream."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2 * _LONGEST))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < _HEAD_BYTES or len(page) < _HEAD_BYTES + page[26]:
        return False
    n_bytes = _HEAD_BYTES + page[26] + sum(page[_HEAD_BYTES : _HEAD_BYTES + page[26]])
    return len(page) >= n_bytes and bool(page[5] & _LAST)
