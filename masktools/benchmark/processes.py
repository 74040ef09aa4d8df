"""Fresh Python processes that see the same masktools as this one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from masktools.errors import MasktoolsError

__all__ = ["run_python"]

_PLACE = Path(__file__).resolve().parents[2]


def run_python(words: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Return what a fresh Python did with a command line.

    Raises:
        MasktoolsError: it failed; the message holds its last line.
    """
    paths = [str(_PLACE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)  # noqa: S603
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MasktoolsError(f"a process of the benchmark failed with code {done.returncode}: {last}")
    return done
