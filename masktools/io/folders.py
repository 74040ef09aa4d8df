"""Which files of folders are recordings."""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from masktools.errors import AudioError
from masktools.io.av_files import AV_SUFFIXES
from masktools.io.coding import SUFFIXES

__all__ = ["READABLE", "file_names", "find_recordings", "is_recording"]

READABLE = frozenset(SUFFIXES) | {".aifc", ".au", ".caf", ".rf64", ".snd", ".w64", ".wave"} | AV_SUFFIXES
"""Endings that are looked for in folders."""


def is_recording(name: str) -> bool:
    """Tell whether a name is that of a recording: by its ending, and not hidden.

    >>> is_recording("live/a.MP3"), is_recording("live/.a.mp3"), is_recording("notes.txt")
    (True, False, False)
    """
    stem, ending = os.path.splitext(os.path.basename(name))
    return ending.lower() in READABLE and not stem.startswith(".")


def file_names(folder: str | Path, recursive: bool = False) -> Iterator[str]:
    """Yield the files of a folder, relative to it, with "/": its own by name, then those of one folder after the other.

    Hidden files and folders are left out, and so are folders in it that are closed to whoever asks; links to folders
    are not followed.

    Raises:
        AudioError: the folder cannot be read.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise AudioError(f"{folder} cannot be read: permission denied")
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        below = os.path.relpath(root, folder).replace(os.sep, "/")
        for name in sorted(names):
            if not name.startswith("."):
                yield name if below == "." else f"{below}/{name}"


def find_recordings(inputs: Iterable[Path], recursive: bool = False, without: str = "") -> list[tuple[Path, Path]]:
    """Return the recordings among files and folders, each with its folder relative to the one it was found in.

    Files are taken as they are; in folders those whose ending is that of a recording, in the order of their names.
    Hidden files and folders are left out.

    Args:
        inputs: files and folders.
        recursive: whether folders inside folders are searched, too.
        without: files of folders whose stem ends so are left out: what an earlier run made.

    Raises:
        AudioError: a folder that cannot be read; no recordings in any of the folders. One of several that holds none is
            warned of.
    """
    found: list[tuple[Path, Path]] = []
    empty: list[str] = []
    for path in inputs:
        in_it = _found(path, recursive, without)
        found += in_it
        if not in_it:
            deeper = "" if recursive else "; are they in folders of it? Then say --recursive"
            empty.append(f"{path} holds no recordings ({', '.join(sorted(READABLE))}){deeper}")
    if empty and not found:
        raise AudioError(empty[0])
    for what in empty:
        warnings.warn(what, stacklevel=2)
    return found


def _found(path: Path, recursive: bool, without: str) -> list[tuple[Path, Path]]:
    if not path.is_dir():
        return [(path, Path())]
    names = [Path(name) for name in file_names(path, recursive) if is_recording(name)]
    return [(path / name, name.parent) for name in names if not (without and name.stem.endswith(without))]
