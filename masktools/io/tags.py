"""Tags: what a file says about itself beside its samples, carried over to the file that is made of it.

Within one container the bytes go along as they are: the chunks of a wave file (bext, iXML, LIST, cue and others; what
counts samples is moved to the new rate), the metadata blocks of a FLAC (comments, pictures, cue sheet), the ID3 tags of
an MP3. Between containers, and from OGG to OGG, the texts go along that libsndfile knows in both: title, artist, album,
date, track number, genre, comment, copyright, licence, software.

Not carried: pictures and cue points from one container to another; pictures in OGG; APE tags; markers and instruments
of an AIFF that is not patched; tags that only PyAV can read. An iXML goes along word by word: at another rate its time
stamp is that of the old one.

Source: ID3 tag version 2.4.0, main structure, section 3; ID3v1 (128 bytes at the end); RFC 9639, section 8 (FLAC).
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import soundfile

from masktools.core.errors import AudioError
from masktools.io.chunks import ReadFile, append_chunks, at_rate, chunks_of, rewriting
from masktools.io.coding import WAVES, Coding, check_readable, sound_name, without_chatter

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
    with rewriting(path) as (file, out):
        own = dict(id3_tags(file))
        out.write(new.get(_FIRST, own.get(_FIRST, b"")))
        file.seek(len(own.get(_FIRST, b"")))
        shutil.copyfileobj(file, out, 1 << 20)
        out.truncate(out.tell() - len(own.get(_LAST, b"")))
        out.seek(0, 2)
        out.write(new.get(_LAST, own.get(_LAST, b"")))


_PADDING, _VORBIS_COMMENT = 1, 4
_KEPT = (2, _VORBIS_COMMENT, 5, 6)  # APPLICATION, VORBIS_COMMENT, CUESHEET, PICTURE
_LAST_BLOCK = 128


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
    with rewriting(path) as (file, out):
        own = [block for block in _blocks(file) if block[0] not in (_PADDING, *replaced)]  # STREAMINFO is the first
        blocks = [*own, *((kind[0], content) for kind, content in tags)]
        out.write(b"fLaC")
        for number, (kind, content) in enumerate(blocks, start=1):
            last = _LAST_BLOCK if number == len(blocks) else 0
            out.write(bytes([kind | last]) + len(content).to_bytes(3, "big") + content)
        shutil.copyfileobj(file, out, 1 << 20)  # it stands at the first frame of audio


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
        last, kind, n_bytes = bool(head[0] & _LAST_BLOCK), head[0] & ~_LAST_BLOCK, int.from_bytes(head[1:], "big")
        yield kind, file.read(n_bytes)


# Written anew with the samples, true of the old samples alone, or nothing but room.
_OF_THE_SAMPLES = (b"fmt ", b"data", b"fact", b"ds64", b"PEAK", b"levl", b"MD5 ", b"JUNK", b"junk", b"PAD ", b"FLLR")
_MAX_BYTES = 2**28  # of a chunk that is still a tag


@dataclass(frozen=True)
class Tags:
    """The tags of one file: those of its container as bytes, and those that containers share as texts."""

    container: str  # WAV, FLAC, MP3, or nothing
    sample_rate: int  # Hz; 0 if it is not known
    raw: tuple[tuple[bytes, bytes], ...] = ()  # name and content, in order
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> "Tags":
        """Return the tags of a file; what cannot be understood is left out.

        Raises:
            AudioError: a file that is missing or cannot be read.
        """
        check_readable(path)
        texts: dict[str, str] = {}
        sample_rate = 0
        with (
            without_chatter(),
            suppress(soundfile.SoundFileError, TypeError),
            soundfile.SoundFile(sound_name(path)) as file,
        ):
            texts = {name: text for name, text in file.copy_metadata().items() if text}
            sample_rate = file.samplerate
        try:
            with path.open("rb") as file:
                head = file.read(12)
                if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
                    return cls("WAV", sample_rate, tuple(_riff_tags(file)), texts)
                if head[:4] == b"fLaC":
                    return cls("FLAC", sample_rate, tuple(flac_tags(file)), texts)
                raw = tuple(id3_tags(file))
                return cls("MP3" if raw else "", sample_rate, raw, texts)
        except OSError as error:
            raise AudioError(f"{path} cannot be read: {error.strerror}") from error

    @property
    def n_bytes(self) -> int:
        """Return how much the tags add to a file of the same container."""
        return sum(9 + len(content) for _, content in self.raw)

    def goes_whole(self, coding: Coding) -> bool:
        """Tell whether the bytes go along, so that the texts in them need not."""
        return bool(self.raw) and self.container == ("WAV" if coding.format in WAVES else coding.format)

    def set_texts(self, file: soundfile.SoundFile) -> None:
        """Set what both containers have in a file that is being written, before its samples."""
        for name, text in self.texts.items():
            with suppress(soundfile.SoundFileError, AttributeError, TypeError, ValueError):
                setattr(file, name, text)

    def put_into(self, path: Path, sample_rate: int) -> None:
        """Put the bytes into a finished file of the same container."""
        if self.container == "WAV":
            append_chunks(
                path, [(name, at_rate(name, content, self.sample_rate, sample_rate)) for name, content in self.raw]
            )
        elif self.container == "FLAC":
            put_flac_tags(path, self.raw)
        else:
            put_id3_tags(path, self.raw)


def _riff_tags(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    for chunk in chunks_of(file):
        if chunk.name not in _OF_THE_SAMPLES and chunk.n_bytes <= _MAX_BYTES:
            file.seek(chunk.start)
            yield chunk.name, file.read(chunk.n_bytes)
