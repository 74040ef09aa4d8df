"""Folder, page, plots and players of the demonstration."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from masktools import io
from masktools.core.errors import ParameterError
from masktools.core.tables import Table
from masktools.demo.measure import RATE
from masktools.demo.recordings import Recording
from masktools.review import panels as drawn
from masktools.review.page import Player, data_uri, render
from masktools.review.panels import Rows, mean_levels, spectrogram, top_level_db


@dataclass(frozen=True)
class Scene:
    """Versions of a recording, or different ones, to compare, and their plot."""

    title: str
    clips: tuple[Player, ...]
    png: bytes
    picture_text: str  # description for screen readers
    same: bool = True  # whether the clips are versions of one recording

    @property
    def picture(self) -> str:
        """The plot as a data URI."""
        return data_uri("image/png", self.png)


@dataclass(frozen=True)
class Chapter:
    """Results of one job."""

    title: str
    text: str
    scenes: tuple[Scene, ...] = ()
    tables: tuple[Table, ...] = ()


def make_page(title: str, facts: str, said: Sequence[str], chapters: Sequence[Chapter]) -> str:
    """Return the HTML of the page.

    Args:
        title: heading of the page.
        facts: description of the run, in one line.
        said: results in sentences.
        chapters: results of the jobs, in order.
    """
    return render("demo.html", "masktools.demo", alone=False, title=title, facts=facts, said=said, chapters=chapters)


_ROWS = Rows(RATE / 2, 150)
_RANGE_DB = 70.0


@dataclass(frozen=True)
class Panel:
    """One spectrogram of a plot, with its marks."""

    title: str
    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz
    gaps: tuple[tuple[float, float], ...] = ()  # start and end in seconds
    cutoff_hz: float | None = None


def draw(panels: Sequence[Panel], *, n_cols: int = 900) -> bytes:
    """Return a PNG of spectrograms one below the other, each beside its colour bar.

    Gaps are bracketed by lines at their edges, a cutoff by a line across.

    Args:
        panels: spectrograms, from top to bottom.
        n_cols: width of the spectrograms in pixels.

    Raises:
        ParameterError: no panel.
    """
    if not panels:
        raise ParameterError("a picture needs at least one panel, got none")
    longest_s = max(panel.samples.shape[1] / panel.sample_rate for panel in panels)
    levels = [_levels(panel, longest_s, n_cols) for panel in panels]
    high_db = top_level_db(levels)
    scale = drawn.Scale(high_db - _RANGE_DB, high_db)
    images = [
        drawn.Panel(
            panel.title,
            scale.show(level),
            marks=tuple(drawn.Mark(*gap) for gap in panel.gaps),
            cutoff_hz=panel.cutoff_hz,
        )
        for panel, level in zip(panels, levels, strict=True)
    ]
    return drawn.draw_panels(images, _ROWS, scale, 0.0, longest_s)


def _levels(panel: Panel, seconds: float, n_cols: int) -> np.ndarray:
    """Return levels (rows, columns) in dBFS; a shorter recording is padded with silence."""
    n_samples = max(panel.samples.shape[1], round(seconds * panel.sample_rate))
    samples = np.pad(panel.samples, ((0, 0), (0, n_samples - panel.samples.shape[1])))
    return mean_levels(
        spectrogram(lambda start, stop: samples[:, start:stop], n_samples, panel.sample_rate, _ROWS, n_cols)
    )


if TYPE_CHECKING:
    from masktools.model import Model


class Spent(NamedTuple):
    """Audio and tokens that a job has processed, and its time."""

    audio_s: float  # of the inputs or outputs
    n_tokens: int  # tokens of the missing part; for embeddings, of the whole recording
    wall_s: float


class Stage:
    """Output folder, model, seed, progress callback, and time of each job."""

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
        """Add the work of the block, and its time, to the job's."""
        start = time.perf_counter()
        yield
        before = self.spent.get(job, Spent(0.0, 0, 0.0))
        took_s = time.perf_counter() - start
        self.spent[job] = Spent(before.audio_s + audio_s, before.n_tokens + n_tokens, before.wall_s + took_s)

    def keep(self, name: str, samples: np.ndarray, sample_rate: int) -> str:
        """Write samples (channels, t) to a file of this name, and return the file's name."""
        io.write(self.folder / f"{name}.wav", samples, sample_rate)
        return f"{name}.wav"

    def keep_text(self, name: str, text: str) -> Path:
        """Write a text file, whole or not at all, and return its path."""
        path = self.folder / name
        with io.replacing(path) as part:
            part.write_text(text, encoding="utf-8")
        return path


class Take(NamedTuple):
    """One recording."""

    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.sample_rate


def inside(samples: np.ndarray) -> np.ndarray:
    """Return samples (t,) or (t, channels), as in the Python API, as (channels, t)."""
    array = np.asarray(samples, np.float32)
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array[None]


def scene(
    stage: Stage,
    recording: Recording,
    versions: Mapping[str, np.ndarray],
    captions: Sequence[str],
    rate: int,
    gaps: tuple[tuple[float, float], ...] = (),
    cutoff_hz: float | None = None,
) -> Scene:
    """Return the players and the plot of all versions of a recording; the first is the original, the last ours."""
    clips, panels = [], []
    for caption, (kind, samples) in zip(captions, versions.items(), strict=True):
        file = stage.keep(f"{recording.name}-{kind}", samples, rate)
        clips.append(Player(caption, file, ours=kind == list(versions)[-1]))
        panels.append(Panel(caption, samples, rate, gaps, cutoff_hz))
    shown = [panel for panel, kind in zip(panels, versions, strict=True) if not kind.startswith("copied")]
    text = f"Spectrograms of {recording.title}: {', '.join(panel.title.lower() for panel in shown)}"
    return Scene(recording.title, tuple(clips), draw(shown), text)
