"""Files that commands read and write: outputs are checked first, and written whole or not at all."""

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.core.errors import AudioError, ParameterError

if TYPE_CHECKING:
    import numpy as np


def check_outputs(
    outputs: Sequence[Path | None],
    inputs: Sequence[Path] = (),
    ending: str | None = None,
    *,
    overwrite: bool,
) -> None:
    """Refuse outputs that cannot or must not be written; ``None`` stands for an output that was not asked for.

    Args:
        outputs: The files to be written.
        inputs: Files that are read, and must not be replaced.
        ending: The only ending that the first output may have.
        overwrite: Whether files that are there may be replaced.

    Raises:
        ParameterError: A folder is missing or closed, two files are one, a file is there already, or the ending is
            another one.
    """
    from masktools.io import check_places

    given = [output for output in outputs if output is not None]
    for output in given:
        if output.is_dir() or not output.name:
            raise ParameterError(f"the output must be a file, got the folder {output}")
        if not output.parent.is_dir():
            raise ParameterError(f"the output's folder must exist, got {output}: make {output.parent} first")
        if not os.access(output.parent, os.W_OK):
            raise ParameterError(f"the output's folder must be open for writing, got {output.parent}")
    if ending and given and given[0].suffix.lower() != ending:
        raise ParameterError(f"the output must end in {ending}, got {given[0].name!r}")
    check_places(given, inputs, overwrite=overwrite)


def check_audio_outputs(
    outputs: Sequence[Path], report: Path | None = None, inputs: Sequence[Path] = (), *, overwrite: bool
) -> None:
    """Refuse recordings that cannot or must not be written, by their places and by their formats.

    Raises:
        ParameterError: As in ``check_outputs``, or an ending that names no format.
    """
    from masktools import io

    check_outputs([*outputs, report], inputs, overwrite=overwrite)
    for output in outputs:
        io.coding_for(output)


def read_by(args: argparse.Namespace) -> list[Path]:
    """Return the files that options of a command name for it to read, beside its recordings."""
    named = [getattr(args, name, None) for name in ("gaps", "regions", "prompt", "prompts", "prefix")]
    return [Path(one) for one in named if isinstance(one, str | Path) and is_file(one)]


def is_file(path: str | Path) -> bool:
    """Tell whether there is a file of a name; a text that cannot be a name is none.

    >>> is_file("0.10-0.12," * 100)
    False
    """
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def write_audio(output: Path, samples: "np.ndarray", sample_rate: int, subtype: str | None = None) -> None:
    """Write a recording of shape (t,) or (t, channels), and warn of samples beyond full scale."""
    from masktools import io

    n_clipped = io.write(output, samples.T if samples.ndim == 2 else samples[None], sample_rate, subtype)
    if n_clipped:
        sys.stderr.write(f"masktools: warning: {n_clipped} samples of {output} lay beyond full scale\n")


def write_arrays(output: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as one .npz file without pickles, whole or not at all."""
    import numpy as np

    from masktools.io import replacing

    with replacing(output) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_arrays(path: Path, names: Sequence[str]) -> "dict[str, np.ndarray]":
    """Return the named arrays of a .npz file.

    Raises:
        AudioError: The file is missing, no .npz, damaged, or lacks an array.
    """
    import zipfile
    import zlib

    import numpy as np

    if not path.is_file():
        raise AudioError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except KeyError as error:
        raise AudioError(f"{path} must hold the arrays {', '.join(names)}: {error.args[0]}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError, AttributeError) as error:
        raise AudioError(f"{path} must be a .npz file of arrays, as `masktools encode` writes it") from error


def write_report(output: Path | None, report: Mapping[str, Any]) -> None:
    """Write what was done as JSON, where a report was asked for."""
    if output is None:
        return
    write_content(output, json.dumps(report, indent=2, default=plain) + "\n")


def write_content(output: Path, content: str | bytes) -> None:
    """Write a text, or bytes, as one file, whole or not at all.

    Raises:
        AudioError: It cannot be written.
    """
    from masktools.io import replacing

    with replacing(output) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def plain(value: Any) -> Any:
    """Return what JSON has no word for (arrays, paths) as what it has."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


_BETWEEN_S = 1.0  # between two writings, and
_SHARE = 0.1  # of the time that passes may be spent on writing


class GrowingReport:
    """A JSON object with a list in it: on the disk as far as it had come a while ago, and after ``write`` all of it."""

    def __init__(self, path: Path | None, head: Mapping[str, Any], name: str = "files") -> None:
        """Begin without entries.

        Args:
            path: where to; None for nowhere.
            head: what stands before the list.
            name: of the list.
        """
        self._path, self._name = path, name
        self._head = json.dumps(dict(head), indent=2, default=plain).removesuffix("\n}")
        self._entries: list[str] = []
        self._due = 0.0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, and write the report if the last time is long enough ago.

        Raises:
            AudioError: it cannot be written.
        """
        if self._path is None:
            return
        self._entries.append(textwrap.indent(json.dumps(entry, indent=2, default=plain), "    "))
        if time.monotonic() >= self._due:
            self.write()

    def write(self, **tail: Any) -> None:
        """Write the report.

        Args:
            **tail: what stands behind the list.

        Raises:
            AudioError: it cannot be written.
        """
        if self._path is None:
            return
        from masktools.io import replacing

        started = time.monotonic()
        with replacing(self._path) as part, part.open("w", encoding="utf-8") as file:
            file.write(f'{self._head},\n  "{self._name}": [')
            for number, entry in enumerate(self._entries):
                file.write(f"{',' if number else ''}\n{entry}")
            file.write("\n  ]" if self._entries else "]")
            for key, value in tail.items():
                file.write(f",\n  {json.dumps(key)}: {json.dumps(value, default=plain)}")
            file.write("\n}\n")
        now = time.monotonic()
        self._due = now + max(_BETWEEN_S, (now - started) / _SHARE)


def is_report(path: Path | None) -> bool:
    """Tell whether a file is the report of a command that takes many files, so that the next may take its place."""
    if path is None or not is_file(path):
        return False
    with path.open("rb") as file:
        return file.read(64).startswith(b'{\n  "masktools"')
