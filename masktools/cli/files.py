"""The files that commands read and write: checked before anything costly starts, replaced only when complete."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.errors import AudioError, ParameterError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "check_audio_outputs",
    "check_outputs",
    "is_file",
    "plain",
    "read_arrays",
    "read_by",
    "write_arrays",
    "write_audio",
    "write_content",
    "write_report",
]


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
