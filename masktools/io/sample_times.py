"""Chunks of wave files that count samples, moved to another rate.

Source: EBU Tech 3285 (bext); Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0 (cue,
plst, LIST adtl); IBM and Microsoft, New Multimedia Data Types and Data Techniques 3.0 (smpl).
"""

__all__ = ["at_rate"]

_TIME_REFERENCE = slice(338, 346)  # of bext: samples since midnight


def at_rate(name: bytes, content: bytes, from_hz: int, to_hz: int) -> bytes:
    """Return a chunk whose positions and lengths are those of the same moments at another rate.

    Chunks of other names come back as they are; so do those that are too short for what their name promises.
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
    """Return the fields of a chunk that count samples."""
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
    """Return how many entries a chunk counts, but no more than it has room for."""
    return min(int.from_bytes(content[at : at + 4], "little"), len(content) // n_bytes)


def _labelled(content: bytes) -> list[int]:
    """Return where the labels of a list tell how many samples they are for."""
    starts, position = [], 4
    while position + 8 <= len(content):
        if content[position : position + 4] == b"ltxt":
            starts.append(position + 12)
        n_bytes = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + n_bytes + n_bytes % 2
    return starts
