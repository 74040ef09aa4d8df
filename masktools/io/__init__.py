"""Audio files <-> waves: every reader's error is one clear line, every write is whole or not there at all.

Waves are float32 of shape (channels, t) with full scale at 1. Files go through soundfile, soxr and, where it is
installed, PyAV; nothing else in masktools opens an audio file.
"""

from masktools.io.coding import SUFFIXES, UNLIMITED, Coding, coding_for
from masktools.io.paths import (
    READABLE,
    JsonLines,
    check_places,
    clear_parts,
    file_names,
    find_recordings,
    is_recording,
    replacing,
    telling,
)
from masktools.io.recordings import AV_SUFFIXES, Audio, Recording, open_recording, read, resample, resample_to
from masktools.io.writing import Piece, Writer, open_writer, patch, put_pieces, restore_into, write

__all__ = [
    "AV_SUFFIXES", "READABLE", "SUFFIXES", "UNLIMITED", "Audio", "Coding", "JsonLines", "Piece", "Recording",
    "Writer", "check_places", "clear_parts", "coding_for", "file_names", "find_recordings", "is_recording",
    "open_recording", "open_writer", "patch", "put_pieces", "read", "replacing", "resample", "resample_to",
    "restore_into", "telling", "write",
]  # fmt: skip
