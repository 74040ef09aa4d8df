"""File names: which files of folders are recordings, and where results may be written.

An output is never one of the files that are read, under whatever name or link; no two outputs are one file; and what is
there already is replaced only when that was asked for.
"""

import errno
import os
import stat
import tempfile
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from masktools.core.errors import AudioError, ParameterError
from masktools.io.coding import SUFFIXES
from masktools.io.decoding import AV_SUFFIXES

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


def check_places(
    outputs: Iterable[Path],
    sources: Iterable[Path] = (),
    *,
    notes: Iterable[Path] = (),
    overwrite: bool = False,
    ours: Callable[[Path], bool] | None = None,
    hint: str = "say --overwrite to replace {them}, or name another output",
) -> None:
    """Refuse outputs that would destroy something: a source, another output, or what is there and may not be replaced.

    Folders of outputs need not exist yet.

    Args:
        outputs: all files that are to be written.
        sources: all files that are read, which may be missing.
        notes: files that are added to, whoever made them, and that no output must be.
        overwrite: whether files that are there may be replaced.
        ours: tells of a file that is there whether it may be replaced all the same.
        hint: what to do about files that are there; ``{them}`` is it or them.

    Raises:
        ParameterError: it names the first output that must not be written.
    """
    places, taken, folded = _Places(), dict[str, Path](), dict[str, Path]()
    there, found = dict[tuple[int, int], Path](), list[Path]()
    n_outputs = 0
    noted = {places.key(note) for note in notes}
    for output in outputs:
        n_outputs += 1
        key, known = places.key(output), _stat(output)
        if key in noted:
            raise ParameterError(f"the output must be a file of its own, got {output} for two files")
        first = taken.setdefault(key, output)
        alike = folded.setdefault(unicodedata.normalize("NFC", key).casefold(), output)
        if first is not output or (alike is not output and not places.tell_apart(output, alike)):
            as_other = "" if first is not output else f": {alike.name} is the same name on this disk"
            raise ParameterError(f"each output must be a file of its own, got {output} for two files{as_other}")
        if known is None:
            continue
        if not stat.S_ISREG(known.st_mode):
            what = "the folder" if stat.S_ISDIR(known.st_mode) else "what is none:"
            raise ParameterError(f"the output must be a file, got {what} {output}")
        there[known.st_dev, known.st_ino] = output
        if not (overwrite or (ours is not None and ours(output))):
            found.append(output)
    for source in sources:
        known = _stat(source) if there else None  # links of all kinds
        output = taken.get(places.key(source)) or (there.get((known.st_dev, known.st_ino)) if known else None)
        if output is not None:
            raise ParameterError(f"the output must be a file of its own, got {output} for two files: {source} is read")
    if found:
        n, them = len(found), "them" if n_outputs > 1 else "it"
        said = f"{n} of {n_outputs} results are there already, {found[0]} first"
        said = said if n_outputs > 1 else f"{found[0]} is there already"
        raise ParameterError(f"{said}: {hint.format(them=them)}")


class _Places:
    """Names of files, as the file system they lie on understands them."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}
        self._same: dict[Path, bool] = {}

    def key(self, path: Path) -> str:
        """Return what two names of one place have in common, with links followed."""
        parent = path.parent
        if parent not in self._folders:
            self._folders[parent] = os.path.realpath(parent)
        if path.name in ("", "..") or path.is_symlink():
            return os.path.realpath(path)
        return os.path.join(self._folders[parent], path.name)

    def tell_apart(self, one: Path, other: Path) -> bool:
        """Tell whether names that differ in upper and lower case alone are those of two files."""
        folder = next((folder for folder in one.parents if folder.is_dir()), Path())
        if folder not in self._same:
            self._same[folder] = _is_case_blind(folder)
        return not self._same[folder]


def _is_case_blind(folder: Path) -> bool:
    """Tell whether a file system takes upper and lower case for one; where it cannot be asked it may."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".masktools-Aa", dir=folder) as file:
            place = Path(file.name)
            return place.with_name(place.name.replace("-Aa", "-aA", 1)).exists()
    except OSError:
        return True


def _stat(path: Path) -> os.stat_result | None:
    """Return what is known of a file; None if there is none."""
    try:
        return path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ParameterError(f"the file must not be a link that leads to itself, got {path}") from error
        return None
    except ValueError:  # a zero byte in the name
        raise ParameterError(f"the name of a file must not hold zero bytes, got {str(path)!r}") from None
