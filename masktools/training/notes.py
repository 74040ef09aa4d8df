"""Single notes of instruments in NSynth's files, as folders or tars.

NSynth (Engel et al., arXiv:1704.01279) is ``nsynth-train``, ``nsynth-valid`` and ``nsynth-test``: each a folder, or a
``.jsonwav.tar.gz`` of it, with ``examples.json`` (name of a note -> what is known of it) and ``audio/NAME.wav``. Its
splits do not share instruments. ``python -m recipes.renders --notes`` writes the same layout.
"""

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from masktools.core.errors import ParameterError
from masktools.core.jsons import parse_json, read_json
from masktools.io import read
from masktools.training.sources import SPLITS

_EXAMPLES = "examples.json"


@dataclass(frozen=True)
class Note:
    """What is known of a note."""

    name: str
    split: str
    pitch: int  # MIDI
    velocity: int
    instrument: str  # which one: splits do not share it
    label: str  # what it is called in words; the family where nothing else is known
    family: str


def read_notes(source: str | os.PathLike[str]) -> Iterator[tuple[Note, Callable[[], tuple[np.ndarray, int]]]]:
    """Yield each note of NSynth's files, and a function that reads its samples (t,) and their rate.

    Args:
        source: A folder with ``examples.json``, a tar of one, or a folder of several of either. From a tar the samples
            must be read before the next note is asked for.

    Raises:
        ParameterError: There is nothing of the kind, or its table is none.
    """
    place = Path(source)
    if place.is_dir() and (place / _EXAMPLES).is_file():
        return _of_folder(place)
    if place.is_file() and tarfile.is_tarfile(place):
        return _of_tar(place)
    inside = sorted(place.iterdir()) if place.is_dir() else []
    found = [one for one in inside if (one / _EXAMPLES).is_file() or ".jsonwav.tar" in one.name]
    if not found:
        raise ParameterError(
            f"no notes at {place}: it must be a folder with {_EXAMPLES} and audio/, as NSynth has it, or a "
            ".jsonwav.tar.gz of one, or a folder of those"
        )
    return (note for one in found for note in read_notes(one))


def _of_folder(folder: Path) -> Iterator[tuple[Note, Callable[[], tuple[np.ndarray, int]]]]:
    for note in _table(read_json(folder / _EXAMPLES), folder.name, folder):
        yield note, lambda note=note: _samples(folder / "audio" / f"{note.name}.wav")


def _of_tar(path: Path) -> Iterator[tuple[Note, Callable[[], tuple[np.ndarray, int]]]]:
    """Read a tar twice, since its table may come last; nothing is unpacked."""
    table: dict[str, Note] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            parts = PurePosixPath(member.name)
            if parts.name == _EXAMPLES and member.isfile():
                split = parts.parent.name or path.name
                content = _bytes(archive, member)
                try:
                    listed = parse_json(content)
                except ValueError as error:
                    raise ParameterError(f"{_EXAMPLES} in {path} must be JSON: {error}") from error
                table |= {note.name: note for note in _table(listed, split, path)}
                break
    if not table:
        raise ParameterError(f"no {_EXAMPLES} in {path}: it must be a tar of NSynth's json and wav files")
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            note = table.get(name.stem)
            if note is not None and member.isfile() and name.suffix == ".wav":
                yield note, lambda archive=archive, member=member: _packed_samples(archive, member)


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _samples(file: Path) -> tuple[np.ndarray, int]:
    audio = read(file)
    return audio.samples.mean(axis=0), audio.sample_rate


def _packed_samples(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory(prefix="masktools-") as scratch:
        file = Path(scratch, "note.wav")
        file.write_bytes(_bytes(archive, member))
        return _samples(file)


def _table(listed: Any, place: str, source: Path) -> Iterator[Note]:
    """Yield the notes of a table; the name of its folder says of which split they are."""
    if not isinstance(listed, Mapping):
        raise ParameterError(f"{_EXAMPLES} of {source} must name notes, got a {type(listed).__name__}")
    split = next((name for name in SPLITS if name in place.lower()), "train")
    for name, row in listed.items():
        try:
            family, instrument = str(row["instrument_family_str"]), str(row["instrument_str"])
            pitch, velocity = int(row["pitch"]), int(row["velocity"])
        except (KeyError, TypeError, ValueError) as error:
            raise ParameterError(
                f"note {name!r} in {_EXAMPLES} of {source} must have pitch, velocity, instrument_str and "
                f"instrument_family_str: {error!r}"
            ) from error
        if name != PurePosixPath(name).name or not 0 <= pitch <= 127:
            raise ParameterError(f"note {name!r} in {_EXAMPLES} of {source} must be a plain name and of pitch 0 to 127")
        yield Note(name, split, pitch, velocity, instrument, str(row.get("label") or family), family)
