"""Where the demonstration's jobs play: the folder they write to, the model, and the clock."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from masktools import io
from masktools.errors import ParameterError

if TYPE_CHECKING:
    from masktools.model import Model

__all__ = ["Spent", "Stage"]


class Spent(NamedTuple):
    """What a job has worked on, and how long."""

    audio_s: float  # of the recordings handed in, or made
    n_tokens: int  # that what was missing spans; for embeddings, the whole recording
    wall_s: float


class Stage:
    """A folder, a model, its seed, a listener for what happens, and how long each job took."""

    def __init__(self, folder: str | Path, model: "Model", seed: int, say: Callable[[str], object]) -> None:
        self.folder, self.model, self.seed, self.say = Path(folder), model, seed, say
        self.spent: dict[str, Spent] = {}  # by job
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParameterError(f"{folder} must be a folder to write to: {error.strerror}") from error
        if not os.access(self.folder, os.W_OK):
            raise ParameterError(f"{folder} must be open for writing")

    @contextmanager
    def clocked(self, job: str, audio_s: float, n_tokens: int) -> Iterator[None]:
        """Add what the block works on, and the time that it takes, to the job's."""
        start = time.perf_counter()
        yield
        before = self.spent.get(job, Spent(0.0, 0, 0.0))
        took_s = time.perf_counter() - start
        self.spent[job] = Spent(before.audio_s + audio_s, before.n_tokens + n_tokens, before.wall_s + took_s)

    def keep(self, name: str, samples: np.ndarray, sample_rate: int) -> str:
        """Write samples (channels, t) to a file of that name, and return the file's name."""
        io.write(self.folder / f"{name}.wav", samples, sample_rate)
        return f"{name}.wav"

    def keep_text(self, name: str, text: str) -> Path:
        """Write a text file, whole or not at all, and return its path."""
        path = self.folder / name
        part = path.with_name(f".{name}.{secrets.token_hex(4)}.part")
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path
