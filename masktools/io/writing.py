"""Waves -> audio files, at once, block by block, or patched in place; a file is there as a whole, or not at all."""

import io
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from masktools.core.errors import AudioError, ParameterError
from masktools.io.chunks import Layout, aiff_layout, make_rf64, put_aiff_mask, put_wave_mask, riff_layout
from masktools.io.coding import (
    BITS,
    INTEGER_BITS,
    UNLIMITED,
    WAVES,
    Coding,
    as_codes,
    check_finite,
    check_place,
    check_readable,
    check_size,
    coding_for,
    sound_name,
)
from masktools.io.paths import replacing
from masktools.io.recordings import Recording
from masktools.io.tags import FLAC_MASK_TAG, Tags, flac_says, ogg_order, put_comment, speakers_of

_log = logging.getLogger("masktools")

_BLOCK = 1 << 16  # samples for each channel that are written at once
# From 0, the best, to 1. MP3: 320 kbit/s where it has that rate; Vorbis: q9; Opus: 156 kbit/s.
_COMPRESSION = {"MPEG_LAYER_III": 0.0, "VORBIS": 0.1, "OPUS": 0.4}
_MP3_LEVEL = 0.95  # gain of the MP3 encoder at full scale, at 24 kHz and below; undone when writing
_WAV_BYTES = 2**32 - 2**20  # a longer WAV becomes RF64


class Writer:
    """An audio file that is being written; a context manager that puts it at its path on success.

    Attributes:
        path: path of the file.
        coding: the container and the subtype.
        sample_rate: sampling rate in Hz.
        n_channels: number of channels of the file.
        n_samples: samples written so far, for each channel.
        n_clipped: samples clipped so far, of all channels.
    """

    def __init__(
        self,
        path: Path,
        coding: Coding,
        sample_rate: int,
        n_channels: int,
        tags: Tags | None = None,
        mask: int | None = None,
    ) -> None:
        self.path, self.coding, self.sample_rate, self.n_channels = path, coding, sample_rate, n_channels
        self.n_samples = self.n_clipped = 0
        self._tags, self._mask = tags, mask
        if coding.format == "WAV" and mask is not None:
            self.coding = Coding("WAVEX", coding.subtype)
        self._order = ogg_order(mask, n_channels) if coding.format == "OGG" else None
        if coding.format == "OGG" and self._order is None:
            name = coding.subtype.capitalize()
            _log.warning(f"{path}: {name} has no such {n_channels} channels (mask {mask:#x}): they keep their order")
        self._level = _MP3_LEVEL if coding.format == "MP3" and sample_rate <= 24_000 else 1.0
        self._step = min(sample_rate, _BLOCK)  # a second at most: the Vorbis encoder crashes on long blocks
        self._file: soundfile.SoundFile | None = None

    def __enter__(self) -> "Writer":
        format, subtype = self.coding
        self.n_samples = self.n_clipped = 0
        options = {
            "subtype": subtype,
            "format": format,
            "compression_level": _COMPRESSION.get(subtype),
            "bitrate_mode": "CONSTANT" if format == "MP3" else None,
        }
        with ExitStack() as opening:
            self._part = opening.enter_context(replacing(self.path))
            opening.push(self._finish)
            file = soundfile.SoundFile(sound_name(self._part), "w", self.sample_rate, self.n_channels, **options)
            self._file = opening.enter_context(file)
            if self._tags is not None and not self._tags.goes_whole(self.coding):
                self._tags.set_texts(file)
            self._opened = opening.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._file = None
        self._opened.__exit__(*raised)

    def _finish(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Check and complete the closed file before it is moved to its path."""
        if error is not None:
            return
        if not self.n_samples:
            raise AudioError(f"{self.path} would hold no samples")
        tags = self._tags if self._tags is not None and self._tags.goes_whole(self.coding) else None
        if self.coding.format in ("WAV", "WAVEX"):
            frame_bytes = self.n_channels * BITS[self.coding.subtype] // 8
            if self.n_samples * frame_bytes + (tags.n_bytes if tags else 0) > _WAV_BYTES:
                make_rf64(self._part, self.n_samples * frame_bytes)
        if soundfile.info(sound_name(self._part)).frames != self.n_samples:
            raise AudioError(f"{self.path} could not be written in full: is the disk full?")
        if tags is not None:
            tags.put_into(self._part, self.sample_rate)
        if self._mask is not None:
            self._put_mask(self._mask)

    def _put_mask(self, mask: int) -> None:
        """Write the speaker mask, where the format has a field for it and the mask is not its default."""
        if self.coding.format in WAVES:
            put_wave_mask(self._part, mask)
        elif self.coding.format == "AIFF" and self.n_channels > 2:
            put_aiff_mask(self._part, mask)
        elif self.coding.format == "FLAC" and not flac_says(mask, self.n_channels):
            put_comment(self._part, FLAC_MASK_TAG + b"=0x%04X" % mask)

    def write(self, samples: np.ndarray) -> None:
        """Append samples (channels, n).

        Raises:
            AudioError: samples that are not finite.
            ParameterError: samples of another shape or kind, or a writer that is not in its with block.
        """
        if self._file is None:
            raise ParameterError(f"{self.path} can be written to only while its writer is open: use it in a with block")
        if samples.ndim != 2 or samples.dtype not in (np.float32, np.float64) or len(samples) != self.n_channels:
            got = f"{samples.dtype} of shape {samples.shape}"
            raise ParameterError(
                f"samples must be float32 or float64 of shape (channels, t) with {self.n_channels} channels, got {got}"
            )
        for start in range(0, samples.shape[1], self._step):
            block = samples[:, start : start + self._step].T
            if self._order is not None:
                block = block[:, self._order]
            check_finite(block, self.n_samples, self.sample_rate, f"{self.path} is not written")
            if self.coding.subtype not in UNLIMITED:
                self.n_clipped += int(np.count_nonzero(np.abs(block) > 1.0))
                block = np.clip(block, -1.0, 1.0)
            bits = INTEGER_BITS.get(self.coding.subtype)
            self._file.write(as_codes(block, bits) if bits else block / self._level)
            self.n_samples += len(block)


def open_writer(
    path: str | Path,
    sample_rate: int,
    n_channels: int,
    subtype: str | None = None,
    format: str | None = None,
    like: str | Path | Recording | None = None,
    n_samples: int | None = None,
) -> Writer:
    """Return a context manager that writes an audio file block by block, whole or not at all.

    A WAV of more than 4 GB becomes RF64.

    Args:
        path: path of the file; its folder must exist. The suffix chooses the container.
        sample_rate: sampling rate in Hz.
        n_channels: number of channels of the file.
        subtype: libsndfile's name of the coding; see ``write``.
        format: libsndfile's name of the container; see ``write``.
        like: the file, or the open recording, whose tags are carried over: chunks of a wave file, metadata blocks of a
            FLAC and ID3 tags of an MP3 as they are, where both have one container; else title, artist and other texts
            that both support. If it has as many channels, its speaker layout is kept.
        n_samples: number of samples to be written, if known: a long WAV is RF64 from its start then, not converted at
            its end.

    Raises:
        ParameterError: see ``write``.
        AudioError: see ``write``; or a file ``like`` that is missing.
    """
    path = Path(path)
    coding = coding_for(path, subtype, format)
    check_size(coding, sample_rate, n_channels)
    check_place(path)
    if coding.format == "WAV" and (n_samples or 0) * n_channels * BITS[coding.subtype] // 8 > _WAV_BYTES:
        coding = Coding("RF64", coding.subtype)
    if like is None:
        return Writer(path, coding, sample_rate, n_channels)
    source = like.path if isinstance(like, Recording) else Path(like)
    tags = Tags.of(source)
    if isinstance(like, Recording):
        mask = like.mask if like.n_channels == n_channels else None
    else:
        with source.open("rb") as file:
            speakers = speakers_of(file, n_channels)
        mask = None if speakers is None else speakers.mask
    return Writer(path, coding, sample_rate, n_channels, tags, mask)


def write(
    path: str | Path, samples: np.ndarray, sample_rate: int, subtype: str | None = None, format: str | None = None
) -> int:
    """Write a whole audio file or nothing, and return the number of samples that were clipped.

    The file is written beside ``path`` under another name and moved there when it is complete: ``path`` may
    be the file that was read. Integers are rounded to the nearest step, without dither.

    Args:
        path: path of the file; its folder must exist. The suffix chooses the container.
        samples: (channels, t) float32 or float64, full scale 1, channels in the order of WAVE. Integer subtypes clip
            samples beyond full scale, float and lossy ones keep them.
        sample_rate: sampling rate in Hz.
        subtype: libsndfile's name of the coding, ``Audio.subtype`` to keep that of an input; a container that
            does not have it gets the nearest that it has (see ``coding_for``).
        format: libsndfile's name of the container, to override the suffix.

    Raises:
        ParameterError: an unknown suffix, container or subtype; samples of another shape or kind; a sample
            rate or a number of channels that the format does not have.
        AudioError: samples that are not finite, no samples, or a path that cannot be written to.
    """
    coding_for(path, subtype, format)
    if samples.ndim != 2 or samples.dtype not in (np.float32, np.float64):
        got = f"{samples.dtype} of shape {samples.shape}"
        raise ParameterError(f"samples must be float32 or float64 of shape (channels, t), got {got}")
    n_channels, n_samples = samples.shape
    with open_writer(path, sample_rate, n_channels, subtype, format, n_samples=n_samples) as writer:
        writer.write(samples)
    return writer.n_clipped


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples that replace those at [start, start + n) in some channels."""

    start: int
    samples: np.ndarray  # (len(channels), n) float32 or float64, full scale 1
    channels: tuple[int, ...]  # from 0, in the order of WAVE

    def __post_init__(self) -> None:
        """Check that there is a row of samples for each channel."""
        rows, kind = self.samples.shape[:-1], self.samples.dtype
        if rows != (len(set(self.channels)),) or rows != (len(self.channels),) or self.start < 0:
            raise ParameterError(
                "a piece must have a row for each of its channels and start at 0 or later, got samples of shape "
                f"{self.samples.shape}, channels {self.channels} and start {self.start}"
            )
        if kind not in (np.float32, np.float64):
            raise ParameterError(f"the samples of a piece must be float32 or float64, got {kind}")

    @property
    def stop(self) -> int:
        """The sample behind the last one."""
        return self.start + self.samples.shape[1]


def layout_of(path: Path) -> Layout | None:
    """Return the layout of the samples in a file; None where they cannot be replaced one by one."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            return riff_layout(file)
        return aiff_layout(file) if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC") else None


def patch(source: str | Path, target: str | Path, pieces: Iterable[Piece]) -> int:
    """Copy a file with some samples replaced, and return how many of these were clipped.

    Everything else stays as it was, byte for byte: the other samples, all chunks (bext, iXML, LIST, cue, ...), the
    length of the file. Source and target may be the same file; the new one replaces it when it is complete. Where
    pieces overlap the last one counts.

    Raises:
        AudioError: a file that cannot be patched, samples that are not finite, or a path that cannot be written to.
        ParameterError: pieces that are outside the recording.
    """
    source, target = Path(source), Path(target)
    check_readable(source)
    check_place(target)
    layout = layout_of(source)
    if layout is None:
        raise AudioError(f"{source} must be a RIFF or RF64 wave file or an AIFF file to be patched")
    n_clipped = 0
    with replacing(target) as part:
        shutil.copyfile(source, part)
        with part.open("rb+") as file:
            speakers = speakers_of(file, layout.n_channels)
            for piece in pieces:
                check_piece(piece, layout.n_samples, layout.n_channels)
                check_finite(piece.samples.T, piece.start, layout.sample_rate, f"{target} is not written")
                n_clipped += _put(file, layout, piece, range(layout.n_channels) if speakers is None else speakers.order)
    return n_clipped


def check_piece(piece: Piece, n_samples: int, n_channels: int) -> None:
    """Raise where a piece is outside a recording."""
    if piece.stop > n_samples or any(not 0 <= channel < n_channels for channel in piece.channels):
        raise ParameterError(
            f"a piece must lie within the {n_samples} samples and {n_channels} channels of the recording, got samples "
            f"{piece.start} to {piece.stop} of channels {piece.channels}"
        )


def _put(file: BinaryIO, layout: Layout, piece: Piece, order: Sequence[int]) -> int:
    """Replace the samples of a piece in a file of the given channel order, and return how many were clipped."""
    n_clipped = 0
    frame = layout.n_channels * layout.sample_bytes
    for start in range(0, piece.samples.shape[1], _BLOCK):
        samples = piece.samples[:, start : start + _BLOCK]
        position = layout.start + (piece.start + start) * frame
        file.seek(position)
        there = np.frombuffer(file.read(samples.shape[1] * frame), np.uint8)
        frames = there.reshape(-1, layout.n_channels, layout.sample_bytes).copy()
        if layout.subtype not in UNLIMITED:
            n_clipped += int(np.count_nonzero(np.abs(samples) > 1.0))
            samples = np.clip(samples, -1.0, 1.0)
        for channel, wave in zip(piece.channels, samples, strict=True):
            frames[:, order[channel]] = _encoded(wave, layout)
        file.seek(position)
        file.write(frames.tobytes())
    return n_clipped


def _encoded(wave: np.ndarray, layout: Layout) -> np.ndarray:
    """Return samples (n,) as bytes (n, sample_bytes)."""
    bits = INTEGER_BITS.get(layout.subtype)
    stream = io.BytesIO()
    endian = layout.order.upper() if layout.sample_bytes > 1 else None
    with soundfile.SoundFile(stream, "w", 48_000, 1, layout.subtype, endian, "RAW") as file:
        file.write(as_codes(wave, bits) if bits else wave)
    return np.frombuffer(stream.getvalue(), np.uint8).reshape(len(wave), layout.sample_bytes)


_EXACT_IN_DOUBLE = ("PCM_32", "DOUBLE")  # hold more than float32 does


def restore_into(
    source: str | Path,
    target: str | Path,
    recording: Recording,
    pieces: Iterable[Piece],
    subtype: str | None = None,
    format: str | None = None,
) -> int:
    """Write a recording with some samples replaced, and return how many samples were clipped.

    Where source and target have the same container and coding, and both can be patched, the source is patched: every
    other byte stays. Else it is decoded and encoded block by block, with its tags. Where pieces overlap the last one
    counts.

    Args:
        source: the file.
        target: path of the output; it may be the source.
        recording: the source, open.
        pieces: samples to replace, in any order.
        subtype: libsndfile's name of the coding; that of the source if None.
        format: libsndfile's name of the container, to override the suffix.

    Raises:
        AudioError: see ``write``, or a recording that cannot be read.
        ParameterError: see ``write``, or pieces that are outside the recording.
    """
    source, target = Path(source), Path(target)
    coding = coding_for(target, subtype or recording.subtype, format)
    may_be_wave = format is None and coding.format == "WAV"
    if recording.format in (WAVES if may_be_wave else (coding.format,)):
        layout = layout_of(source)
        if layout is not None and layout.subtype == coding.subtype:
            return patch(source, target, pieces)
    waiting = list(pieces)
    for piece in waiting:
        check_piece(piece, recording.n_samples, recording.n_channels)
    size = (recording.sample_rate, recording.n_channels)
    n_samples = recording.n_samples
    with open_writer(target, *size, coding.subtype, format, like=recording, n_samples=n_samples) as writer:
        for block in _replaced(recording, waiting):
            writer.write(block)
    return writer.n_clipped


def _replaced(recording: Recording, pieces: Sequence[Piece]) -> Iterator[np.ndarray]:
    """Yield the blocks of a recording, with the pieces inserted."""
    dtype = np.float64 if recording.subtype in _EXACT_IN_DOUBLE else np.float32
    touching = defaultdict(list)
    for piece in pieces:
        for number in range(piece.start // _BLOCK, -(-piece.stop // _BLOCK)):
            touching[number].append(piece)
    for number, start in enumerate(range(0, recording.n_samples, _BLOCK)):
        stop = min(start + _BLOCK, recording.n_samples)
        block = recording.read(start, stop, finite=False, dtype=dtype)
        yield put_pieces(block, start, touching[number])


def put_pieces(samples: np.ndarray, start: int, pieces: Iterable[Piece]) -> np.ndarray:
    """Write pieces, where they overlap, over samples (channels, n) that begin at ``start``; return the samples."""
    stop = start + samples.shape[1]
    for piece in pieces:
        first, last = max(start, piece.start), min(stop, piece.stop)
        if first < last:
            own = piece.samples[:, first - piece.start : last - piece.start]
            samples[list(piece.channels), first - start : last - start] = own
    return samples
