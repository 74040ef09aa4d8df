"""A folder of renders: planned from a seed, rendered by several processes, taken up again where it was left.

Each render is a file of audio and, once that is complete, a small JSON file with its row of the manifest. The plan of
fewer minutes is the beginning of the plan of more, so a folder can be enlarged by asking for more.
"""

import csv
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from masktools.core.configs import read_json
from masktools.core.errors import ParameterError
from masktools.io import write
from masktools.training.builds import Progress, unordered, write_json
from recipes.renders.levels import bandwidth_hz
from recipes.renders.mixtures import render_mixture
from recipes.renders.music import SOUNDFONT, render_music
from recipes.renders.programs import find
from recipes.renders.speech import render_speech

COLUMNS = (
    "path", "duration_s", "licence", "split", "kind", "labels", "caption", "nc", "group", "source_sr", "bandwidth_hz",
    "origin",
)  # fmt: skip
"""Of the manifest."""

_FORMAT = 2  # raised when the same seed renders something else
_SETTINGS, _MANIFEST = "renders.json", "manifest.csv"
_KINDS = ("music", "speech", "mixture")
_SHORTEST_S, _LONGEST_S = 20.0, 40.0
_VALID_TURN, _TEST_TURN, _TURNS = 9, 19, 20  # of twenty renders one is valid, one test
_WHOLE_BAND = 0.95  # what reaches so much of the band reaches all of it


@dataclass(frozen=True)
class RenderSettings:
    """What to render."""

    music_minutes: float = 90.0
    speech_minutes: float = 20.0
    mixture_minutes: float = 20.0
    seed: int = 0
    sample_rate: int = 22_050  # Hz
    soundfont: Path = field(default=SOUNDFONT)

    def __post_init__(self) -> None:
        for name in ("music_minutes", "speech_minutes", "mixture_minutes"):
            minutes = getattr(self, name)
            if not 0 <= minutes <= 100_000:
                raise ParameterError(f"{name} must lie in [0, 100000], got {minutes:g}")
        if self.music_minutes + self.speech_minutes + self.mixture_minutes <= 0:
            raise ParameterError("the minutes of music, speech and mixtures must not all be 0")
        if self.seed < 0:
            raise ParameterError(f"seed must be at least 0, got {self.seed}")
        if not 8_000 <= self.sample_rate <= 48_000:
            raise ParameterError(f"sample_rate must lie in [8000, 48000] Hz, got {self.sample_rate} Hz")


@dataclass(frozen=True)
class Job:
    """One render to be made."""

    kind: str  # music, speech or mixture
    number: int  # among its kind
    duration_s: float
    split: str

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.kind}-{self.number:05d}"


def plan(settings: RenderSettings) -> list[Job]:
    """Return the renders of 20 to 40 s that make up the minutes of each kind, the first splits being the same."""
    jobs = []
    minutes = (settings.music_minutes, settings.speech_minutes, settings.mixture_minutes)
    for kind, wanted in zip(_KINDS, minutes, strict=True):
        rng = np.random.default_rng([settings.seed, _KINDS.index(kind), 0])
        left_s, number = 60 * wanted, 0
        while left_s > 0:
            duration_s = round(float(rng.uniform(_SHORTEST_S, _LONGEST_S)), 2)
            split = {_VALID_TURN: "valid", _TEST_TURN: "test"}.get(number % _TURNS, "train")
            jobs.append(Job(kind, number, duration_s, split))
            left_s -= duration_s
            number += 1
    return jobs


def render_folder(
    folder: str | os.PathLike[str], settings: RenderSettings, n_workers: int = 1, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Render what is missing in a folder, write its manifest, and return the manifest's rows.

    Args:
        folder: Where to; made if need be.
        settings: What to render.
        n_workers: Processes.
        progress: Called with the renders done and their number.

    Raises:
        ParameterError: A program or the bank is missing or fails, or the folder holds renders of other settings.
    """
    target, jobs = Path(folder), plan(settings)
    _check_installed(settings, jobs)
    _claim(target, settings)
    for job in jobs:
        (target / "audio" / job.kind).mkdir(parents=True, exist_ok=True)
    (target / "rows").mkdir(exist_ok=True)
    missing = [job for job in jobs if not _row_path(target, job).is_file() or not _audio_path(target, job).is_file()]
    done = len(jobs) - len(missing)
    if progress is not None and done:
        progress(done, len(jobs))
    for _ in unordered(_Renderer(target, settings), missing, n_workers):
        done += 1
        if progress is not None:
            progress(done, len(jobs))
    rows = [read_json(_row_path(target, job)) for job in jobs]
    _write_manifest(target / _MANIFEST, rows)
    return rows


def _check_installed(settings: RenderSettings, jobs: Sequence[Job]) -> None:
    kinds = {job.kind for job in jobs}
    if kinds & {"music", "mixture"}:
        find("fluidsynth")
        if not settings.soundfont.is_file():
            raise ParameterError(
                f"no General MIDI bank at {settings.soundfont}: apt-get install fluid-soundfont-gm, or name another"
            )
    if kinds & {"speech", "mixture"}:
        find("espeak-ng")


def _claim(target: Path, settings: RenderSettings) -> None:
    """Make the folder these settings' own; their minutes may change."""
    of = {
        "format": _FORMAT,
        "seed": settings.seed,
        "sample_rate": settings.sample_rate,
        "bank": settings.soundfont.name,
    }
    path = target / _SETTINGS
    if not path.is_file():
        target.mkdir(parents=True, exist_ok=True)
        write_json(path, of)
    elif read_json(path) != of:
        raise ParameterError(f"{target} holds renders of another seed, rate, bank or version: choose another folder")


def _row_path(target: Path, job: Job) -> Path:
    return target / "rows" / f"{job.name}.json"


def _audio_path(target: Path, job: Job) -> Path:
    return target / "audio" / job.kind / f"{job.name}.flac"


@dataclass(frozen=True)
class _Renderer:
    """Renders one job, in whatever process."""

    target: Path
    settings: RenderSettings

    def __call__(self, job: Job) -> str:
        rate, bank = self.settings.sample_rate, self.settings.soundfont
        rng = np.random.default_rng([self.settings.seed, _KINDS.index(job.kind), 1, job.number])
        if job.kind == "music":
            made = render_music(job.number, job.duration_s, rate, rng, bank)
        elif job.kind == "speech":
            made = render_speech(job.duration_s, rate, rng, job.split)
        else:
            made = render_mixture(job.number, job.duration_s, rate, rng, job.split, bank)
        path = _audio_path(self.target, job)
        write(path, made.wave[None], rate)
        reached, nyquist = bandwidth_hz(made.wave, rate), rate // 2
        row = {
            "path": path.relative_to(self.target).as_posix(),
            "duration_s": f"{len(made.wave) / rate:.3f}",
            "licence": made.licence,
            "split": job.split,
            "kind": job.kind,
            "labels": ";".join(made.labels),
            "caption": made.caption,
            "nc": 0,
            "group": f"voice:{made.voice}" if made.voice else f"render:{job.name}",
            "source_sr": rate,
            "bandwidth_hz": nyquist if reached >= _WHOLE_BAND * nyquist else reached,
            "origin": "rendered",
        }
        write_json(_row_path(self.target, job), row)
        return job.name


def _write_manifest(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([row[column] for column in COLUMNS] for row in rows)
    os.replace(unfinished, path)
