"""A file that is read as if some of it stood otherwise: ranges of it, and bytes in between that it does not have."""

import io
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, BinaryIO

__all__ = ["ReadFile", "Spliced", "overlaid"]

Piece = bytes | int | tuple[int, int]


class Spliced(io.RawIOBase):
    """Ranges of an open file and bytes of our own, one after the other, to be read and sought in like a file.

    The file under it stays open when this is closed. A position before the beginning is not gone to, as the decoders
    that call this from C expect of a seek that fails.
    """

    def __init__(self, file: "ReadFile", pieces: Sequence[Piece]) -> None:
        """Take the file, and what is read of it, (first byte, byte behind the last), or instead of it.

        A number is how many bytes the file says to have more, none of which can be read.
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
        """Fill a buffer as far as there is something, and return how many bytes that were."""
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
"""What is read and sought in."""


def _length(piece: Piece) -> int:
    if isinstance(piece, int):
        return piece
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]


def overlaid(file: ReadFile, changes: Mapping[int, bytes]) -> Spliced:
    """Return a file in which other bytes stand at some positions."""
    pieces: list[Piece] = []
    position = 0
    for start, content in sorted(changes.items()):
        pieces += [(position, start), content]
        position = start + len(content)
    return Spliced(file, [*pieces, (position, file.seek(0, io.SEEK_END))])
