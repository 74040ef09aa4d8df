"""How many samples a FLAC file holds that does not say so: as its last frame is numbered.

Source: RFC 9639, sections 8.2 (the number in STREAMINFO is 0 if it is not known) and 9.1 (frame header).
"""

from masktools.io.spliced import ReadFile, Spliced, overlaid

__all__ = ["with_length"]

_STREAMINFO = 8  # byte at which its content begins
_TOTAL = slice(_STREAMINFO + 13, _STREAMINFO + 18)  # 4 bits of something else, then 36 bits
_ID3_BYTES = 128  # of an old tag at the end
_SEARCHED = (1 << 17, 1 << 21, 1 << 25)  # bytes from the end: a frame has up to 16 MiB, and usually 16 KiB
_BLOCKS = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608, **{code: 256 << (code - 8) for code in range(8, 16)}}


def with_length(file: ReadFile) -> tuple[Spliced, int] | None:
    """Return a FLAC file whose header says how many samples it has, and that number; None if it says so by itself.

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
    """Return the number of the sample behind the last whole frame; 0 if there is no frame."""
    size = file.seek(0, 2)
    for searched in _SEARCHED:
        start = max(0, size - searched)
        file.seek(start)
        tail = file.read()
        if tail[-_ID3_BYTES:][:3] == b"TAG":
            tail = tail[:-_ID3_BYTES]
        torn: set[int] = set()  # first samples of what looks like a frame, and does not end with the file
        place = tail.rfind(b"\xff")
        while place >= 0:
            found = _frame(tail[place : place + 16], block_size)
            if found is not None:
                first, behind = found
                if behind in torn or _crc16(tail[place:]) == 0:
                    return behind
                torn.add(first)
            place = tail.rfind(b"\xff", 0, place)
        if not start:
            break
    return 0


def _frame(head: bytes, block_size: int) -> tuple[int, int] | None:
    """Return the numbers of a frame's first sample and of the one behind it, by its header; None if this is none."""
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
