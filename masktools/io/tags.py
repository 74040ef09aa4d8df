"""Metadata of audio files: tags, which are carried over to files made of them, and speaker layouts.

Within one container the bytes are copied as they are: the chunks of a wave file (bext, iXML, LIST, cue and others;
fields that count samples are converted to the new rate), the metadata blocks of a FLAC (comments, pictures, cue sheet),
the ID3 tags of an MP3. Between containers, and from OGG to OGG, the texts are copied that libsndfile knows in both:
title, artist, album, date, track number, genre, comment, copyright, licence, software.

Not carried: pictures and cue points from one container to another; pictures in OGG; APE tags; markers and instruments
of an AIFF that is not patched; tags that only PyAV can read. An iXML is copied unchanged: at another rate its time
stamp
is that of the old one.

Every container has its own order of channels, and masktools has one. In memory channels have the order of WAVE, that
of the bits of a mask: front left, front right, front centre, low frequencies, back left, back right, ... ; Vorbis and
Opus have the centre between left and right, and the low frequencies last. A layout that a file does not state follows
from the number of its channels.

Source: ID3 tag version 2.4.0, main structure, section 3; ID3v1 (128 bytes at the end); RFC 9639, sections 8 and 9.1.3
(FLAC); Microsoft, Multiple Channel Audio Data and WAVE Files; Xiph.Org, Vorbis I Specification, 4.3.9; RFC 7845,
5.1.1.2 (Opus); Apple, CoreAudioBaseTypes.h (AIFF, CAF).
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import soundfile

from masktools.core.errors import AudioError
from masktools.io.chunks import ReadFile, append_chunks, at_rate, chunks_of, content_of, rewriting
from masktools.io.coding import WAVES, Coding, check_readable, sound_name, without_chatter

_FIRST, _LAST = b"ID3v2", b"ID3v1"
_LAST_BYTES = 128
_HAS_FOOTER = 16


def id3_bytes(head: bytes) -> int:
    """Return the length in bytes of the ID3 tag that begins with these 10 bytes; 0 if none does."""
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
    """Put ID3 tags at the beginning and the end of an MP3 file, replacing its own."""
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
    """Put metadata blocks into a FLAC file, replacing its comment and padding."""
    has_comment = any(kind[0] == _VORBIS_COMMENT for kind, _ in tags)
    _put(path, tags, replaced=(_VORBIS_COMMENT,) if has_comment else ())


def _put(path: Path, tags: tuple[tuple[bytes, bytes], ...], replaced: tuple[int, ...]) -> None:
    """Put metadata blocks into a FLAC file, replacing its padding and its blocks of some kinds."""
    with rewriting(path) as (file, out):
        own = [block for block in _blocks(file) if block[0] not in (_PADDING, *replaced)]  # STREAMINFO is the first
        blocks = [*own, *((kind[0], content) for kind, content in tags)]
        out.write(b"fLaC")
        for number, (kind, content) in enumerate(blocks, start=1):
            last = _LAST_BLOCK if number == len(blocks) else 0
            out.write(bytes([kind | last]) + len(content).to_bytes(3, "big") + content)
        shutil.copyfileobj(file, out, 1 << 20)  # the file stands at the first frame of audio


def put_comment(path: Path, comment: bytes) -> None:
    """Add a comment, NAME=value, to those of a FLAC file."""
    with path.open("rb") as file:
        blocks = list(flac_tags(file))
    own = next((content for kind, content in blocks if kind[0] == _VORBIS_COMMENT), bytes(8))
    at = 4 + int.from_bytes(own[:4], "little")  # the number of comments follows the name of the encoder
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


# Chunks that are written with the samples, are valid for the old samples only, or are padding.
_OF_THE_SAMPLES = (b"fmt ", b"data", b"fact", b"ds64", b"PEAK", b"levl", b"MD5 ", b"JUNK", b"junk", b"PAD ", b"FLLR")
_MAX_BYTES = 2**28  # largest chunk that counts as a tag


@dataclass(frozen=True)
class Tags:
    """The tags of one file: those of its container as bytes, and those that containers share as texts."""

    container: str  # WAV, FLAC, MP3, or nothing
    sample_rate: int  # Hz; 0 if unknown
    raw: tuple[tuple[bytes, bytes], ...] = ()  # name and content, in order
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> "Tags":
        """Read the tags of a file; unknown ones are left out.

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
        """Return the bytes that the tags add to a file of the same container."""
        return sum(9 + len(content) for _, content in self.raw)

    def goes_whole(self, coding: Coding) -> bool:
        """Tell whether the tags are copied as bytes, so that their texts need not be."""
        return bool(self.raw) and self.container == ("WAV" if coding.format in WAVES else coding.format)

    def set_texts(self, file: soundfile.SoundFile) -> None:
        """Set the texts that both containers support in a file that is being written, before its samples."""
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


FL, FR, FC, LFE, BL, BR, FLC, FRC, BC, SL, SR = range(11)
_NAMES = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")
_NAMES += ("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR")
_N_NAMED = len(_NAMES)

_OGG = {  # by the number of channels, as Vorbis and Opus hold them
    3: (FL, FC, FR),
    4: (FL, FR, BL, BR),
    5: (FL, FC, FR, BL, BR),
    6: (FL, FC, FR, BL, BR, LFE),
    7: (FL, FC, FR, SL, SR, BC, LFE),
    8: (FL, FC, FR, SL, SR, BL, BR, LFE),
}
_FLAC = {3: 0x7, 4: 0x33, 5: 0x607, 6: 0x60F, 7: 0x70F, 8: 0x63F}  # default masks, by the number of channels
_USUAL = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
_TWIN = {BL: SL, BR: SR, SL: BL, SR: BR}  # the rear pair, as back or side, if it is the only one
FLAC_MASK_TAG = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK"

# CoreAudio's layouts by number. Ls and Rs are 4 and 5, as in its bitmap, and at the sides.
_RLS, _RRS = 33, 34
_APPLE = {
    108: (0, 1, 4, 5),
    109: (0, 1, 4, 5, 2),
    110: (0, 1, 4, 5, 2, 8),
    113: (0, 1, 2),
    114: (2, 0, 1),
    115: (0, 1, 2, 8),
    116: (2, 0, 1, 8),
    117: (0, 1, 2, 4, 5),
    118: (0, 1, 4, 5, 2),
    119: (0, 2, 1, 4, 5),
    120: (2, 0, 1, 4, 5),
    121: (0, 1, 2, 3, 4, 5),
    122: (0, 1, 4, 5, 2, 3),
    123: (0, 2, 1, 4, 5, 3),
    124: (2, 0, 1, 4, 5, 3),
    125: (0, 1, 2, 3, 4, 5, 8),
    126: (0, 1, 2, 3, 4, 5, 6, 7),
    127: (2, 6, 7, 0, 1, 4, 5, 3),
    128: (0, 1, 2, 3, 4, 5, _RLS, _RRS),
    129: (0, 1, 4, 5, 2, 3, 6, 7),
    131: (0, 1, 8),
    132: (0, 1, 4, 5),
    133: (0, 1, 3),
    134: (0, 1, 3, 8),
    135: (0, 1, 3, 4, 5),
    136: (0, 1, 2, 3),
    137: (0, 1, 2, 3, 8),
    138: (0, 1, 4, 5, 3),
    139: (0, 1, 4, 5, 2, 8),
    140: (0, 1, 4, 5, 2, _RLS, _RRS),
    141: (2, 0, 1, 4, 5, 8),
    142: (2, 0, 1, 4, 5, 8, 3),
    143: (2, 0, 1, 4, 5, _RLS, _RRS),
    144: (2, 0, 1, 4, 5, _RLS, _RRS, 8),
    148: (0, 1, 4, 5, 2, 6, 7),
    149: (2, 3),
    150: (0, 2, 1),
    151: (0, 2, 1, 8),
    152: (0, 2, 1, 3),
    153: (0, 1, 8, 3),
    154: (0, 2, 1, 8, 3),
}
_BY_DESCRIPTIONS, _BY_BITMAP = 0, 1


@dataclass(frozen=True)
class Speakers:
    """Speaker layout of a file: the speaker of each channel."""

    mask: int  # as in WAVE: bit 0 is front left; 0 without speakers
    order: tuple[int, ...]  # the file's channel that is the first, the second, ... in the order of WAVE

    @property
    def is_sorted(self) -> bool:
        """Whether the file has the order of WAVE."""
        return self.order == tuple(range(len(self.order)))


def named(labels: Sequence[int | None]) -> Speakers:
    """Return the speaker layout of channels given by their bits; None stands for a channel without a speaker."""
    given = [label if label is not None and labels.count(label) == 1 else None for label in labels]
    order = sorted(range(len(given)), key=lambda channel: _N_NAMED if (label := given[channel]) is None else label)
    return Speakers(sum(1 << label for label in given if label is not None), tuple(order))


def by_names(names: Sequence[str]) -> Speakers | None:
    """Return the speaker layout of channels by their names in FFmpeg; None if it knows none."""
    labels = [_NAMES.index(name) if name in _NAMES else None for name in names]
    return named(labels) if any(label is not None for label in labels) else None


def ogg_order(mask: int | None, n_channels: int) -> list[int] | None:
    """Return the channel, in the order of WAVE, that is the first, the second, ... of Vorbis and Opus.

    None if they have no such layout.
    """
    wanted = _OGG.get(n_channels)
    if wanted is None:
        return list(range(n_channels)) if n_channels < 3 or not mask else None
    mask = mask or _USUAL[n_channels]
    there = [bit for bit in range(32) if mask >> bit & 1]
    places = [there.index(bit) if bit in there else _twin_place(bit, there, wanted) for bit in wanted]
    return places if sorted(places) == list(range(n_channels)) else None


def _twin_place(bit: int, there: list[int], wanted: Sequence[int]) -> int:
    twin = _TWIN.get(bit)
    return there.index(twin) if twin in there and twin not in wanted else -1


def flac_says(mask: int, n_channels: int) -> bool:
    """Tell whether a mask is the default for a FLAC of so many channels."""
    return n_channels < 3 or mask == _FLAC.get(n_channels)


def speakers_of(file: ReadFile, n_channels: int) -> Speakers | None:
    """Return the speaker layout of a file; None if neither the file nor its format states one."""
    file.seek(0)
    head = file.read(64)
    if head[:4] in (b"RIFF", b"RF64", b"RIFX", b"riff"):
        return _of_wave(file, n_channels, "big" if head[:4] == b"RIFX" else "little")
    if head[:4] in (b"FORM", b"caff"):
        return _of_apple(file, n_channels)
    if head[:4] == b"fLaC":
        return _of_flac(file, n_channels)
    if head[:4] == b"OggS" and n_channels in _OGG and (b"\x01vorbis" in head or b"OpusHead" in head):
        return named(_OGG[n_channels])
    return None


def _masked(mask: int, n_channels: int) -> Speakers:
    bits = [bit for bit in range(32) if mask >> bit & 1][:n_channels]
    return Speakers(sum(1 << bit for bit in bits), tuple(range(n_channels)))


def _of_wave(file: ReadFile, n_channels: int, order: Literal["little", "big"]) -> Speakers | None:
    content = content_of(file, b"fmt ")
    extensible = int.from_bytes(content[:2], order) == 0xFFFE and len(content) >= 24
    return _masked(int.from_bytes(content[20:24], order), n_channels) if extensible else None


def _of_flac(file: ReadFile, n_channels: int) -> Speakers | None:
    for kind, content in flac_tags(file):
        at = content.upper().find(FLAC_MASK_TAG + b"=0X") if kind == b"\x04" else -1
        if at >= 0:
            digits = content[at + len(FLAC_MASK_TAG) + 3 :][:8]
            n_digits = next(
                (n for n, digit in enumerate(digits) if digit not in b"0123456789abcdefABCDEF"), len(digits)
            )
            return _masked(int(digits[:n_digits] or b"0", 16), n_channels)
    mask = _FLAC.get(n_channels)
    return None if mask is None else _masked(mask, n_channels)


def _of_apple(file: ReadFile, n_channels: int) -> Speakers | None:
    """Return the speaker layout of an AIFF or a CAF, given in its chunk by number, by a mask, or one by one."""
    content = content_of(file, b"CHAN", b"chan", n_bytes=4096)
    if not content:
        return None
    layout, bitmap, n_described = (int.from_bytes(content[at : at + 4], "big") for at in (0, 4, 8))
    if layout >> 16 == _BY_BITMAP:
        return _masked(bitmap, n_channels)
    if layout >> 16 == _BY_DESCRIPTIONS:
        described = [int.from_bytes(content[12 + 20 * at :][:4], "big") for at in range(min(n_described, 64))]
        labels = [label - 1 if 1 <= label <= _N_NAMED else label for label in described]
    else:
        labels = list(_APPLE.get(layout >> 16, ()))
    return named(_at_the_sides(labels)) if n_channels > 2 and len(labels) == n_channels else None


def _at_the_sides(labels: Sequence[int]) -> list[int | None]:
    changed = [{BL: SL, BR: SR, _RLS: BL, _RRS: BR}.get(label, label) for label in labels]
    return [label if 0 <= label < _N_NAMED else None for label in changed]
