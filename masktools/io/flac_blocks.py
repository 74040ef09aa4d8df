"""The metadata blocks of FLAC files: read, and put into another file as they are.

Source: RFC 9639, section 8.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from masktools.io.spliced import ReadFile

__all__ = ["flac_tags", "put_comment", "put_flac_tags"]

_PADDING, _VORBIS_COMMENT = 1, 4
_KEPT = (2, _VORBIS_COMMENT, 5, 6)  # APPLICATION, VORBIS_COMMENT, CUESHEET, PICTURE
_LAST = 128


def flac_tags(file: ReadFile) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each metadata block that is not about the coding of the samples."""
    for kind, content in _blocks(file):
        if kind in _KEPT:
            yield bytes([kind]), content


def put_flac_tags(path: Path, tags: tuple[tuple[bytes, bytes], ...]) -> None:
    """Put metadata blocks into a FLAC file, in the place of its own comment and padding."""
    has_comment = any(kind[0] == _VORBIS_COMMENT for kind, _ in tags)
    _put(path, tags, replaced=(_VORBIS_COMMENT,) if has_comment else ())


def _put(path: Path, tags: tuple[tuple[bytes, bytes], ...], replaced: tuple[int, ...]) -> None:
    """Put metadata blocks into a FLAC file, in the place of its padding and its own of some kinds."""
    kept = [(kind[0], content) for kind, content in tags]
    moved = path.with_name(f"{path.stem}-tags.part")
    try:
        with path.open("rb") as file, moved.open("wb") as out:
            own = list(_blocks(file))  # the file stands at the first frame of audio now
            blocks = [
                *(block for block in own if block[0] not in (_PADDING, *replaced)),
                *kept,
            ]  # STREAMINFO stays the first
            out.write(b"fLaC")
            for number, (kind, content) in enumerate(blocks, start=1):
                out.write(bytes([kind | (_LAST if number == len(blocks) else 0)]) + len(content).to_bytes(3, "big"))
                out.write(content)
            shutil.copyfileobj(file, out, 1 << 20)
        moved.replace(path)
    finally:
        moved.unlink(missing_ok=True)


def put_comment(path: Path, comment: bytes) -> None:
    """Add a comment, NAME=value, to those of a FLAC file."""
    with path.open("rb") as file:
        blocks = list(flac_tags(file))
    own = next((content for kind, content in blocks if kind[0] == _VORBIS_COMMENT), bytes(8))
    at = 4 + int.from_bytes(own[:4], "little")  # how many there are stands behind the name of the encoder
    n_comments = int.from_bytes(own[at : at + 4], "little") + 1
    added = own[:at] + n_comments.to_bytes(4, "little") + own[at + 4 :] + len(comment).to_bytes(4, "little") + comment
    others = tuple(block for block in blocks if block[0][0] != _VORBIS_COMMENT)
    _put(path, (*others, (bytes([_VORBIS_COMMENT]), added)), replaced=_KEPT)


def _blocks(file: ReadFile) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each metadata block; the file stands behind the last one afterwards."""
    file.seek(4)
    last = False
    while not last and len(head := file.read(4)) == 4:
        last, kind, n_bytes = bool(head[0] & _LAST), head[0] & ~_LAST, int.from_bytes(head[1:], "big")
        yield kind, file.read(n_bytes)
