"""The two programs that render: fluidsynth and espeak-ng, called without a shell, their failures told in one line."""

import shutil
import subprocess
from collections.abc import Sequence

from masktools.core.errors import ParameterError

PACKAGES = {"fluidsynth": "fluidsynth fluid-soundfont-gm", "espeak-ng": "espeak-ng"}
"""What Debian and Ubuntu call the packages that each program needs."""


def find(program: str) -> str:
    """Return where a program lies.

    Raises:
        ParameterError: It is not installed.
    """
    path = shutil.which(program)
    if path is None:
        packages = PACKAGES.get(program, program)
        raise ParameterError(f"rendering needs the program {program}: apt-get install {packages}")
    return path


def call(program: str, arguments: Sequence[str], text: str = "", timeout_s: float = 120.0) -> None:
    """Run a program to its end.

    Args:
        program: Its name.
        arguments: What it is told.
        text: What it reads from its standard input.
        timeout_s: The longest it may take, in seconds.

    Raises:
        ParameterError: It is not installed, takes too long, or fails.
    """
    command = [find(program), *arguments]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ParameterError(f"{program} must end within {timeout_s:g} s, but did not: run it again") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ParameterError(f"{program} must exit with code 0, got {done.returncode}; it said: {said[-1]}")
