"""Audio files <-> waves: every reader's error is one clear line, every write is whole or not there at all.

Waves are float32 of shape (channels, t) with full scale at 1. Files go through soundfile, soxr and, where it is
installed, PyAV; nothing else in masktools opens an audio file.
"""

from masktools.io.av_files import AV_SUFFIXES
from masktools.io.coding import SUFFIXES, UNLIMITED, Coding, coding_for
from masktools.io.folders import READABLE, file_names, find_recordings, is_recording
from masktools.io.json_lines import JsonLines
from masktools.io.parts import clear_parts
from masktools.io.patching import Piece, can_patch, patch
from masktools.io.places import check_places
from masktools.io.reading import Audio, read
from masktools.io.recordings import Recording, open_recording
from masktools.io.replacing import replacing, telling
from masktools.io.resampling import resample, resample_to
from masktools.io.restoring import restore_into
from masktools.io.writing import Writer, open_writer, write

__all__ = [
    "AV_SUFFIXES",
    "READABLE",
    "SUFFIXES",
    "UNLIMITED",
    "Audio",
    "Coding",
    "JsonLines",
    "Piece",
    "Recording",
    "Writer",
    "can_patch",
    "check_places",
    "clear_parts",
    "coding_for",
    "file_names",
    "find_recordings",
    "is_recording",
    "open_recording",
    "open_writer",
    "patch",
    "read",
    "replacing",
    "resample",
    "resample_to",
    "restore_into",
    "telling",
    "write",
]
