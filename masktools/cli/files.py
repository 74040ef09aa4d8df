"""The files that commands read and write: checked before anything costly starts, replaced only when complete."""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.errors import AudioError, ParameterError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "check_audio_outputs",
    "check_outputs",
    "read_arrays",
    "replacing",
    "write_arrays",
    "write_audio",
    "write_report",
]


def check_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path] = (), ending: str | None = None) -> None:
    """Refuse outputs that cannot be written; ``None`` stands for an output that was not asked for.

    Args:
        outputs: The files to be written.
        inputs: Files that must not be replaced.
        ending: The only ending that the first output may have.

    Raises:
        ParameterError: A folder is missing or closed, two files are one, or the ending is another one.
    """
    given = [output for output in outputs if output is not None]
    for output in given:
        if output.is_dir() or not output.name:
            raise ParameterError(f"the output must be a file, got the folder {output}")
        if not output.parent.is_dir():
            raise ParameterError(f"the output's folder must exist, got {output}: make {output.parent} first")
        if not os.access(output.parent, os.W_OK):
            raise ParameterError(f"the output's folder must be open for writing, got {output.parent}")
    if ending and given[0].suffix.lower() != ending:
        raise ParameterError(f"the output must end in {ending}, got {given[0].name!r}")
    places = [path.resolve() for path in (*given, *inputs)]
    for output in given:
        if places.count(output.resolve()) > 1:
            raise ParameterError(f"the output must be a file of its own, got {output} for two files")


def check_audio_outputs(outputs: Sequence[Path], report: Path | None = None, inputs: Sequence[Path] = ()) -> None:
    """Refuse recordings that cannot be written, by their places and by their formats.

    Raises:
        ParameterError: As in ``check_outputs``, or an ending that names no format.
    """
    from masktools import io

    check_outputs([*outputs, report], inputs)
    for output in outputs:
        io.coding_for(output)


def write_audio(output: Path, samples: "np.ndarray", sample_rate: int, subtype: str | None = None) -> None:
    """Write a recording of shape (t,) or (t, channels), and warn of samples beyond full scale."""
    from masktools import io

    n_clipped = io.write(output, samples.T if samples.ndim == 2 else samples[None], sample_rate, subtype)
    if n_clipped:
        sys.stderr.write(f"masktools: warning: {n_clipped} samples of {output} lay beyond full scale\n")


@contextlib.contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """Give a name to write to, which takes the output's place if nothing went wrong, and vanishes if it did."""
    target = Path(os.path.realpath(output))
    part = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.part")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def write_arrays(output: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as one .npz file without pickles, whole or not at all."""
    import numpy as np

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
    with replacing(output) as part:
        part.write_text(json.dumps(report, indent=2, default=_plain) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return what JSON has no word for (arrays, paths) as what it has."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
