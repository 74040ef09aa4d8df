"""What a file says about itself beside its samples, carried over to the file that is made of it.

Within one container the bytes go along as they are: the chunks of a wave file (bext, iXML, LIST, cue and others; what
counts samples is moved to the new rate), the metadata blocks of a FLAC (comments, pictures, cue sheet), the ID3 tags of
an MP3. Between containers, and from OGG to OGG, the texts go along that libsndfile knows in both: title, artist, album,
date, track number, genre, comment, copyright, licence, software.

Not carried: pictures and cue points from one container to another; pictures in OGG; APE tags; markers and instruments
of an AIFF that is not patched; tags that only PyAV can read. An iXML goes along word by word: at another rate its time
stamp is that of the old one.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import soundfile

from masktools.errors import AudioError
from masktools.io.checks import check_readable, sound_name
from masktools.io.chunks import chunks_of
from masktools.io.coding import WAVES, Coding
from masktools.io.flac_blocks import flac_tags, put_flac_tags
from masktools.io.id3 import id3_tags, put_id3_tags
from masktools.io.quiet import without_chatter
from masktools.io.riff import grow
from masktools.io.sample_times import at_rate

__all__ = ["Tags"]

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
            grow(path, [(name, at_rate(name, content, self.sample_rate, sample_rate)) for name, content in self.raw])
        elif self.container == "FLAC":
            put_flac_tags(path, self.raw)
        else:
            put_id3_tags(path, self.raw)


def _riff_tags(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    for chunk in chunks_of(file):
        if chunk.name not in _OF_THE_SAMPLES and chunk.n_bytes <= _MAX_BYTES:
            file.seek(chunk.start)
            yield chunk.name, file.read(chunk.n_bytes)
