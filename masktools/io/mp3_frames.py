"""MP3 files frame by frame: how many there are, and where one recording ends and the next that was joined to it begins.

The length that a header tells is that of one recording at best; without a header it is guessed from the first frame,
up to twice too long or three times too short. Counting the frames takes a fraction of a second an hour.

Source: ISO/IEC 11172-3, 2.4.1 (frames); ISO/IEC 13818-3 (lower rates); Xing, VBR header SDK; LAME, tag revision 1.
"""

import functools
from dataclasses import dataclass, field
from typing import NamedTuple

from masktools.io.id3 import id3_bytes
from masktools.io.spliced import ReadFile, Spliced

__all__ = ["Mp3Part", "mp3_parts"]

_BITRATES = {  # kbit/s by (MPEG 1, layer), of the indices 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
_LOOKED_AT = 64  # bytes of a frame: header, side information, the name of a header of Xing's and how many frames
_LAST_TAG_BYTES = 128
_APE_BYTES = 32
_SEARCHED = 1 << 16


class _Head(NamedTuple):
    """What the four bytes say that a frame begins with."""

    kind: tuple[int, int, int, int]  # version, layer, sample rate, channels: all frames of a recording have one
    n_bytes: int
    n_samples: int
    tag_at: int  # where a header of Xing's would begin


@dataclass
class Mp3Part:
    """One recording in an MP3 file."""

    layer: int
    sample_rate: int  # Hz
    n_channels: int
    frame_samples: int
    header: bytes = b""  # the whole frame that tells the length and has no sound
    header_at: int = 0  # of the name Xing or Info in it; 0 if it is of another kind
    n_frames: int = 0  # of sound
    longest: int = 0  # bytes of a frame
    ranges: list[list[int]] = field(default_factory=list)  # first byte and the one behind the last, of sound alone
    is_torn: bool = False  # the last frame goes on behind the end of the file

    @property
    def n_promised(self) -> int:
        """How many frames the header tells; 0 if it does not."""
        if not self.header_at or not self.header[self.header_at + 7] & 1:
            return 0
        return int.from_bytes(self.header[self.header_at + 8 : self.header_at + 12], "big")

    def opened(self, file: ReadFile) -> Spliced:
        """Return this recording as a file of its own, as long as it is.

        Where no header tells the length, decoders guess it from how long the file is, and stop there: it says to be
        long enough for any guess.
        """
        n_bytes = sum(stop - start for start, stop in self.ranges)
        header = self._header()
        more = 0 if header else max(0, (self.n_frames + 2) * (self.longest + 1) - n_bytes)
        return Spliced(file, [header, *[(start, stop) for start, stop in self.ranges], more, bytes(_LAST_TAG_BYTES)])

    def _header(self) -> bytes:
        """Return the header with the true number of frames; nothing where it does not tell one."""
        if not self.header_at or not self.header[self.header_at + 7] & 1:
            return b""
        made = bytearray(self.header)
        made[self.header_at + 8 : self.header_at + 12] = self.n_frames.to_bytes(4, "big")
        if self.n_frames > self.n_promised + 1:  # what would be left out at the end is not at the end
            place = _padding_at(self.header, self.header_at)
            if place is not None:
                made[place + 1 : place + 3] = bytes([made[place + 1] & 0xF0, 0])
        return bytes(made)


def mp3_parts(file: ReadFile) -> tuple[list[Mp3Part], int]:
    """Return the recordings in an MP3 file, and how many bytes there are that are neither sound nor tags.

    A new one begins with a header of Xing's, Fraunhofer's or LAME's, and where rate or channels change.
    """
    parts: list[Mp3Part] = []
    size = file.seek(0, 2)
    n_strange = position = 0
    while position + 4 <= size:
        found = _frame(file, position, size, parts[-1] if parts else None)
        if found is None:
            skipped = _tag_bytes(file, position, size)
            if not skipped:
                n_strange_here, skipped = _strange(file, position, size)
                n_strange += n_strange_here
            position += skipped
            continue
        head, seen = found
        stop = position + head.n_bytes
        header_at = head.tag_at if seen[head.tag_at : head.tag_at + 4] in (b"Xing", b"Info") else 0
        is_header = head.kind[1] == 3 and bool(header_at or seen[36:40] == b"VBRI")
        if is_header or not parts or _kind(parts[-1]) != head.kind[1:] or parts[-1].frame_samples != head.n_samples:
            parts.append(Mp3Part(*head.kind[1:], head.n_samples))
        part = parts[-1]
        if is_header:
            file.seek(position)
            part.header, part.header_at = file.read(head.n_bytes), header_at
        elif stop > size:
            part.is_torn = True
        else:
            part.n_frames += 1
            part.longest = max(part.longest, head.n_bytes)
            if part.ranges and part.ranges[-1][1] == position:
                part.ranges[-1][1] = stop
            else:
                part.ranges.append([position, stop])
        position = stop
    return [part for part in parts if part.n_frames or part.n_promised], n_strange


def _kind(part: Mp3Part) -> tuple[int, int, int]:
    return part.layer, part.sample_rate, part.n_channels


def _frame(file: ReadFile, position: int, size: int, part: Mp3Part | None) -> tuple[_Head, bytes] | None:
    """Return the frame at a position with its beginning; one of another kind than before must have a next one."""
    file.seek(position)
    seen = file.read(_LOOKED_AT)
    head = _parsed(seen[:4])
    if head is None:
        return None
    if part is not None and _kind(part) == head.kind[1:]:
        return head, seen
    behind, n_alike = position + head.n_bytes, 0
    while n_alike < 2 and behind + 4 <= size:  # two more that follow one another are no chance
        file.seek(behind)
        following = _parsed(file.read(4))
        if following is None or following.kind != head.kind:
            break
        behind += following.n_bytes
        n_alike += 1
    whole = n_alike == 2 or (behind >= size - _LAST_TAG_BYTES and behind <= size)
    return (head, seen) if whole else None


@functools.lru_cache(maxsize=1024)
def _parsed(head: bytes) -> _Head | None:
    """Return what the head of a frame says; None if it is none, or has a bit rate that its own field does not tell."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate_index, bitrate_index = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 4 or rate_index == 3 or not 1 <= bitrate_index <= 14 or head[3] & 3 == 2:
        return None
    is_first, padding = version == 3, head[2] >> 1 & 1
    sample_rate = _RATES[version][rate_index]
    bitrate = 1000 * _BITRATES[is_first, layer][bitrate_index - 1]
    n_channels = 1 if head[3] >> 6 == 3 else 2
    if layer == 1:
        n_samples, n_bytes = 384, (12 * bitrate // sample_rate + padding) * 4
    else:
        n_samples = 576 if layer == 3 and not is_first else 1152
        n_bytes = n_samples // 8 * bitrate // sample_rate + padding
    side = (17 if n_channels == 1 else 32) if is_first else (9 if n_channels == 1 else 17)
    return _Head((version, layer, sample_rate, n_channels), n_bytes, n_samples, 4 + side)


def _padding_at(header: bytes, header_at: int) -> int | None:
    """Return where LAME tells how many samples to leave out at the beginning and the end; None where it does not."""
    flags = header[header_at + 7]
    place = header_at + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1) + 21
    return place if place + 3 <= len(header) else None


def _tag_bytes(file: ReadFile, position: int, size: int) -> int:
    """Return how long the tag is at a position; 0 if there is none."""
    file.seek(position)
    head = file.read(_APE_BYTES)
    if head[:3] == b"ID3":
        return id3_bytes(head)
    if head[:3] == b"TAG":
        return _LAST_TAG_BYTES
    if head[:8] == b"APETAGEX":
        is_header = bool(head[23] & 0x20) if len(head) > 23 else False
        return _APE_BYTES + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return 0


def _strange(file: ReadFile, position: int, size: int) -> tuple[int, int]:
    """Return how many bytes from a position on say something that is neither, and how many there are to pass."""
    file.seek(position)
    held = file.read(_SEARCHED)
    places = (_found(held, word) for word in (b"\xff", b"ID3", b"TAG", b"APETAGEX"))
    n_bytes = min((place for place in places if place is not None), default=len(held))
    return (n_bytes if held[:n_bytes].strip(b"\0") else 0), max(1, n_bytes)


def _found(held: bytes, word: bytes) -> int | None:
    place = held.find(word, 1)
    return place if place > 0 else None
