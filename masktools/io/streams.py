"""The recordings in a file, one or several joined ones, each with its true length: MP3, chained Ogg, FLAC.

The length in the header of an MP3 is that of one recording at best; without a header it is estimated from the first
frame, up to twice too long or three times too short. Counting the frames takes a fraction of a second an hour.

Source: ISO/IEC 11172-3, 2.4.1 (frames of MP3); ISO/IEC 13818-3 (lower rates); Xing, VBR header SDK; LAME, tag revision
1; RFC 3533, sections 6 (pages of Ogg) and 4 (chaining: streams begin where others have begun and gone on); RFC 9639,
sections 8.2 (the number of samples in STREAMINFO is 0 if it is not known) and 9.1 (frame header of FLAC).
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from masktools.core.errors import AudioError
from masktools.io.chunks import ReadFile, Spliced, chunk_of, content_of, is_chunked, overlaid, repaired
from masktools.io.tags import id3_bytes

_BITRATES = {  # kbit/s by (MPEG 1, layer), of the indices 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
_LOOKED_AT = 64  # bytes of a frame: header, side information, the tag "Xing" or "Info" and the number of frames
_LAST_TAG_BYTES = 128
_APE_BYTES = 32
_SEARCHED = 1 << 16


class _Head(NamedTuple):
    """Parsed header of an MPEG frame (four bytes)."""

    kind: tuple[int, int, int, int]  # version, layer, sample rate, channels: all frames of a recording have one
    n_bytes: int
    n_samples: int
    tag_at: int  # byte at which a Xing header would begin


@dataclass
class Mp3Part:
    """One recording in an MP3 file."""

    layer: int
    sample_rate: int  # Hz
    n_channels: int
    frame_samples: int
    header: bytes = b""  # the whole frame that holds the length and no sound
    header_at: int = 0  # byte of its tag Xing or Info; 0 if it is of another kind
    n_frames: int = 0  # frames with sound
    longest: int = 0  # bytes of the longest frame
    ranges: list[list[int]] = field(default_factory=list)  # first byte and the one behind the last, of sound
    is_torn: bool = False  # the last frame is cut off by the end of the file

    @property
    def n_promised(self) -> int:
        """Number of frames by the header; 0 if it has none."""
        if not self.header_at or not self.header[self.header_at + 7] & 1:
            return 0
        return int.from_bytes(self.header[self.header_at + 8 : self.header_at + 12], "big")

    def opened(self, file: ReadFile) -> Spliced:
        """Return this recording as a file of its own, with its true length.

        Where no header has the length, decoders estimate it from the size of the file and stop there: the returned file
            claims to be long enough for any estimate.
        """
        n_bytes = sum(stop - start for start, stop in self.ranges)
        header = self._header()
        more = 0 if header else max(0, (self.n_frames + 2) * (self.longest + 1) - n_bytes)
        return Spliced(file, [header, *[(start, stop) for start, stop in self.ranges], more, bytes(_LAST_TAG_BYTES)])

    def _header(self) -> bytes:
        """Return the header with the true number of frames; empty where it has no such number."""
        if not self.header_at or not self.header[self.header_at + 7] & 1:
            return b""
        made = bytearray(self.header)
        made[self.header_at + 8 : self.header_at + 12] = self.n_frames.to_bytes(4, "big")
        if self.n_frames > self.n_promised + 1:  # the padding to trim is not at the end
            place = _padding_at(self.header, self.header_at)
            if place is not None:
                made[place + 1 : place + 3] = bytes([made[place + 1] & 0xF0, 0])
        return bytes(made)


def mp3_parts(file: ReadFile) -> tuple[list[Mp3Part], int]:
    """Return the recordings in an MP3 file, and the number of bytes that are neither sound nor tags.

    A new one begins with a header by Xing, Fraunhofer or LAME, and where rate or channels change.
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
    """Return the frame at a position, parsed and as bytes; one of another kind than before must be followed by more."""
    file.seek(position)
    seen = file.read(_LOOKED_AT)
    head = _parsed(seen[:4])
    if head is None:
        return None
    if part is not None and _kind(part) == head.kind[1:]:
        return head, seen
    behind, n_alike = position + head.n_bytes, 0
    while n_alike < 2 and behind + 4 <= size:  # two more frames in a row are no coincidence
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
    """Return the parsed header of a frame; None if it is none, or has no bit rate in its field (free format)."""
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
    """Return the position of LAME's numbers of samples to trim at the beginning and the end; None without them."""
    flags = header[header_at + 7]
    place = header_at + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1) + 21
    return place if place + 3 <= len(header) else None


def _tag_bytes(file: ReadFile, position: int, size: int) -> int:
    """Return the length in bytes of the tag at a position; 0 if there is none."""
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
    """Return how many bytes from a position on are neither sound nor tags, and how many to skip."""
    file.seek(position)
    held = file.read(_SEARCHED)
    places = (_found(held, word) for word in (b"\xff", b"ID3", b"TAG", b"APETAGEX"))
    n_bytes = min((place for place in places if place is not None), default=len(held))
    return (n_bytes if held[:n_bytes].strip(b"\0") else 0), max(1, n_bytes)


def _found(held: bytes, word: bytes) -> int | None:
    place = held.find(word, 1)
    return place if place > 0 else None


_HEAD_BYTES = 27
_LONGEST = 65_307  # bytes of a page
_FIRST, _LAST = 2, 4  # flags of a page


class OggLink(NamedTuple):
    """One recording of several in an Ogg file."""

    start: int  # byte
    stop: int
    begins: bytes  # beginning of its first packet: tells the codec


def ogg_links(file: ReadFile) -> list[OggLink]:
    """Return the recordings in an Ogg file, in order; none where no page is marked as the first of one."""
    starts: list[tuple[int, bytes]] = []
    went_on = True
    for position, flags, begins in _pages(file):
        is_first = bool(flags & _FIRST)
        if is_first and went_on:
            starts.append((position, begins))
        went_on = not is_first
    stops = [*(start for start, _ in starts[1:]), file.seek(0, 2)][: len(starts)]
    return [OggLink(start, stop, begins) for (start, begins), stop in zip(starts, stops, strict=True)]


def _pages(file: ReadFile) -> Iterator[tuple[int, int, bytes]]:
    """Yield for each page its position, its flags, and the beginning of its content if it is the first of a stream."""
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
    """Return the position of the next page; the end of the file if there is none."""
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


_STREAMINFO = 8  # byte at which its content begins
_TOTAL = slice(_STREAMINFO + 13, _STREAMINFO + 18)  # 4 bits of something else, then 36 bits
_TAILS = (1 << 17, 1 << 21, 1 << 25)  # bytes from the end: a frame has up to 16 MiB, and usually 16 KiB
_BLOCKS = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608, **{code: 256 << (code - 8) for code in range(8, 16)}}


def with_length(file: ReadFile) -> tuple[Spliced, int] | None:
    """Return a FLAC file with its number of samples in the header, and that number; None if the header has it already.

    None, too, where no frame is found at its end.
    """
    file.seek(0)
    head = file.read(_STREAMINFO + 34)
    if len(head) < _STREAMINFO + 34 or head[4] & 127 or int.from_bytes(head[_TOTAL], "big") & (2**36 - 1):
        return None
    n_samples = _n_samples(file, int.from_bytes(head[_STREAMINFO : _STREAMINFO + 2], "big"))
    if not 0 < n_samples < 2**36:
        return None
    total = (head[_TOTAL.start] & 0xF0) << 32 | n_samples
    return overlaid(file, {_TOTAL.start: total.to_bytes(5, "big")}), n_samples


def _n_samples(file: ReadFile, block_size: int) -> int:
    """Return the index of the sample behind the last whole frame; 0 if there is no frame."""
    size = file.seek(0, 2)
    for searched in _TAILS:
        start = max(0, size - searched)
        file.seek(start)
        tail = file.read()
        if tail[-_LAST_TAG_BYTES:][:3] == b"TAG":
            tail = tail[:-_LAST_TAG_BYTES]
        torn: set[int] = set()  # first samples of apparent frames that do not end with the file
        place = tail.rfind(b"\xff")
        while place >= 0:
            found = _flac_frame(tail[place : place + 16], block_size)
            if found is not None:
                first, behind = found
                if behind in torn or _crc16(tail[place:]) == 0:
                    return behind
                torn.add(first)
            place = tail.rfind(b"\xff", 0, place)
        if not start:
            break
    return 0


def _flac_frame(head: bytes, block_size: int) -> tuple[int, int] | None:
    """Return the indices of a frame's first sample and of the one behind it, by its header; None if this is none."""
    if len(head) < 7 or head[1] & 0xFE != 0xF8 or head[2] >> 4 == 0 or head[2] & 15 == 15 or head[3] & 1:
        return None
    n_more = 0 if head[4] < 0x80 else 8 - (head[4] ^ 0xFF).bit_length() - 1
    if head[4] >= 0x80 and not 1 <= n_more <= 6:
        return None
    number = head[4] if not n_more else head[4] & (0x3F >> n_more)
    for byte in head[5 : 5 + n_more]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    position = 5 + n_more
    code, rate = head[2] >> 4, head[2] & 15
    n_bytes = {6: 1, 7: 2}.get(code, 0)
    n_samples = _BLOCKS.get(code) or int.from_bytes(head[position : position + n_bytes], "big") + 1
    position += n_bytes + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if position >= len(head) or _crc8(head[:position]) != head[position]:
        return None
    first = number if head[1] & 1 else number * block_size
    return first, first + n_samples


def _crc8(held: bytes) -> int:
    """Return the checksum of a frame's header: polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in held:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (7 if crc & 128 else 0)) & 255
    return crc


def _crc16(held: bytes) -> int:
    """Return the checksum of a whole frame, which is 0: polynomial x^16 + x^15 + x^2 + 1."""
    crc = 0
    for byte in held:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _crc16_of(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


_CRC16 = tuple(map(_crc16_of, range(256)))


_MPEG_TAGS = (0x50, 0x55)  # of a wave file's format: MPEG layer 1 and 2, layer 3
_MP3_SUFFIXES = (".mp1", ".mp2", ".mp3", ".mpa", ".mpga")


@dataclass(frozen=True)
class Stream:
    """One recording in a file."""

    file: Spliced | None = None  # None: the file as it is
    n_samples: int | None = None  # required number of samples, if it is known without decoding


@dataclass
class Streams:
    """The recordings in a file, and warnings about it, a line each."""

    streams: list[Stream] = field(default_factory=lambda: [Stream()])
    notes: list[str] = field(default_factory=list)
    is_mpeg: bool = False  # libmpg123 decodes it, and prints messages


def streams_of(path: Path, file: ReadFile) -> Streams:
    """Return the recordings in an open file; only headers of the file, its frames and its pages are read.

    Raises:
        AudioError: a file that is cut off, by its headers.
    """
    start = _behind_tags(file)
    file.seek(start)
    head = file.read(12)
    if head[:4] == b"OggS" and not start:
        return _of_ogg(path, file)
    if head[:4] == b"fLaC" and not start:
        found = with_length(file)
        if found is None:
            return Streams()
        line = f"{path}: its header does not tell how many samples it holds: it was read to its end, sample {found[1]}"
        return Streams([Stream(found[0])], [line])
    if is_chunked(head) and not start:
        coded = _mpeg_in_wave(file)
        if coded is not None:
            return _of_mp3(path, coded)
        corrected = repaired(path, file)
        return Streams() if corrected is None else Streams([Stream(corrected[0])], [corrected[1]])
    if head[:4] in (b"OggS", b"fLaC", b"RIFF", b"FORM"):
        return Streams()
    if start or (head[:1] == b"\xff" and head[1:2] >= b"\xe0") or path.suffix.lower() in _MP3_SUFFIXES:
        return _of_mp3(path, file)
    return Streams()


def _mpeg_in_wave(file: ReadFile) -> Spliced | None:
    """Return the MP3 stream in a wave file; None if the file holds samples."""
    tag, data = int.from_bytes(content_of(file, b"fmt ")[:2], "little"), chunk_of(file, b"data")
    if data is None or tag not in _MPEG_TAGS:
        return None
    return Spliced(file, [(data.start, min(data.start + data.n_bytes, file.seek(0, 2)))])


def _behind_tags(file: ReadFile) -> int:
    """Return the position in a file behind the ID3 tags at its beginning."""
    position = 0
    while True:
        file.seek(position)
        n_bytes = id3_bytes(file.read(10))
        if not n_bytes:
            return position
        position += n_bytes


def _of_ogg(path: Path, file: ReadFile) -> Streams:
    if not ogg_ends(file):
        raise AudioError(f"{path} is cut off: its last page is not marked as the end of the stream")
    links = ogg_links(file)
    if len(links) < 2:
        return Streams()
    return Streams([Stream(Spliced(file, [(link.start, link.stop)])) for link in links], [_joined(path, len(links))])


def _of_mp3(path: Path, file: ReadFile) -> Streams:
    parts, n_strange = mp3_parts(file)
    if not parts:
        return Streams(is_mpeg=True)
    for part in parts:
        _check_whole(path, part)
    parts = [part for part in parts if part.n_frames]
    if not parts:
        raise AudioError(f"{path} holds no samples: there is no whole frame of sound in it")
    notes = [_joined(path, len(parts))] if len(parts) > 1 else []
    if n_strange:
        notes.append(f"{path}: {n_strange} bytes in it are neither sound nor tags: they were passed over")
    streams = [Stream(part.opened(file), part.n_frames * part.frame_samples) for part in parts]
    return Streams(streams, notes, is_mpeg=True)


def _check_whole(path: Path, part: Mp3Part) -> None:
    """Raise where a header promises more frames than there are; some count the header's own frame, too."""
    if part.n_frames + (0 if part.is_torn else 1) < part.n_promised:
        held, promised = (n * part.frame_samples for n in (part.n_frames, part.n_promised))
        raise AudioError(f"{path} is cut off: it holds {held} of the {promised} samples that it promises")


def _joined(path: Path, n: int) -> str:
    return f"{path}: {n} recordings were joined in it: they were read one after the other"
