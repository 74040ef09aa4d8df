"""What a file consists of for those who decode it: one recording, or several joined ones, each with a true header."""

from dataclasses import dataclass, field
from pathlib import Path

from masktools.errors import AudioError
from masktools.io.chunks import chunks_of, is_chunked
from masktools.io.flac_length import with_length
from masktools.io.headers import mended
from masktools.io.id3 import id3_bytes
from masktools.io.mp3_frames import Mp3Part, mp3_parts
from masktools.io.ogg_links import ogg_ends, ogg_links
from masktools.io.spliced import ReadFile, Spliced

__all__ = ["Stream", "Streams", "streams_of"]

_MPEG_TAGS = (0x50, 0x55)  # of a wave file's format: MPEG layer 1 and 2, layer 3
_MP3_SUFFIXES = (".mp1", ".mp2", ".mp3", ".mpa", ".mpga")


@dataclass(frozen=True)
class Stream:
    """One recording in a file."""

    file: Spliced | None = None  # None: the file as it is
    n_samples: int | None = None  # that it must come to, if that is known without decoding


@dataclass
class Streams:
    """The recordings in a file, and what there is to say about it, a line each."""

    streams: list[Stream] = field(default_factory=lambda: [Stream()])
    notes: list[str] = field(default_factory=list)
    is_mpeg: bool = False  # libmpg123 reads it, and talks


def streams_of(path: Path, file: ReadFile) -> Streams:
    """Return what an open file consists of; only headers are read, and those of frames and pages.

    Raises:
        AudioError: a file that was cut off, as far as its headers tell.
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
        corrected = mended(path, file)
        return Streams() if corrected is None else Streams([Stream(corrected[0])], [corrected[1]])
    if head[:4] in (b"OggS", b"fLaC", b"RIFF", b"FORM"):
        return Streams()
    if start or (head[:1] == b"\xff" and head[1:2] >= b"\xe0") or path.suffix.lower() in _MP3_SUFFIXES:
        return _of_mp3(path, file)
    return Streams()


def _mpeg_in_wave(file: ReadFile) -> Spliced | None:
    """Return the MP3 that a wave file holds in the place of samples; None if it holds samples."""
    tag = 0
    for chunk in chunks_of(file):
        if chunk.name == b"fmt ":
            file.seek(chunk.start)
            tag = int.from_bytes(file.read(2), "little")
        elif chunk.name == b"data":
            stop = min(chunk.start + chunk.n_bytes, file.seek(0, 2))
            return Spliced(file, [(chunk.start, stop)]) if tag in _MPEG_TAGS else None
    return None


def _behind_tags(file: ReadFile) -> int:
    """Return where a file begins behind the ID3 tags in front of it."""
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
    """Raise where a header promises more frames than there are; some count the frame of the header, too."""
    if part.n_frames + (0 if part.is_torn else 1) < part.n_promised:
        held, promised = (n * part.frame_samples for n in (part.n_frames, part.n_promised))
        raise AudioError(f"{path} is cut off: it holds {held} of the {promised} samples that it promises")


def _joined(path: Path, n: int) -> str:
    return f"{path}: {n} recordings were joined in it: they were read one after the other"
