"""Single notes of a General MIDI bank, played by fluidsynth and written as NSynth's files, split by instrument.

A program of the bank is an instrument. Those that are held out for validation and test are some whose name another
program of their family has too, so that every name is met in training, and no instrument in two splits.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from masktools.core.errors import ParameterError
from masktools.io import read, resample, write
from masktools.networks.conditioning.notes import NOTE_FAMILIES
from masktools.training.builds import Progress, unordered, write_json
from recipes.renders.instruments import label_of, range_of
from recipes.renders.midi import Note, Part, midi_file
from recipes.renders.music import SOUNDFONT
from recipes.renders.programs import call, find
from recipes.renders.rendered import BANK_LICENCE

_SYNTH_RATE, _PEAK = 44_100, 0.9
_PROGRAMS: dict[str, Sequence[int]] = {
    "keyboard": range(0, 8),
    "mallet": (*range(8, 16), 108),
    "organ": range(16, 21),
    "reed": (21, 22, 23, *range(64, 72), 109, 111),
    "guitar": (*range(24, 32), *range(104, 108)),
    "bass": range(32, 40),
    "string": (*range(40, 47), *range(48, 52), 110),
    "vocal": range(52, 55),
    "brass": range(56, 64),
    "flute": range(72, 80),
    "synth_lead": range(80, 88),
}
_FAMILY_OF = {program: family for family, programs in _PROGRAMS.items() for program in programs}


def family_of(program: int) -> str | None:
    """Return the family of NSynth that a program of General MIDI is of, None for drums, pads and effects."""
    return _FAMILY_OF.get(program)


@dataclass(frozen=True)
class NoteRenderSettings:
    """Which notes to render, and how."""

    lowest: int = 21  # MIDI; within what suits the instrument
    highest: int = 108
    step: int = 1  # semitones between two pitches of an instrument
    velocities: tuple[int, ...] = (50, 90, 120)
    hold_s: float = 1.8  # the key is down
    length_s: float = 2.5  # with the release
    sample_rate: int = 22_050  # Hz
    seed: int = 0  # of the instruments that are held out
    soundfont: Path = field(default=SOUNDFONT)

    def __post_init__(self) -> None:
        """Check every range."""
        if not 0 <= self.lowest <= self.highest <= 127 or self.step < 1:
            raise ParameterError(
                f"0 <= lowest <= highest <= 127 and step >= 1 must hold, got {self.lowest}, {self.highest}, {self.step}"
            )
        if not self.velocities or not all(1 <= velocity <= 127 for velocity in self.velocities):
            raise ParameterError(f"velocities must lie in [1, 127], got {self.velocities}")
        if not 0 < self.hold_s <= self.length_s <= 30:
            raise ParameterError(f"0 < hold_s <= length_s <= 30 must hold, got {self.hold_s:g} and {self.length_s:g} s")
        if not 8_000 <= self.sample_rate <= 48_000:
            raise ParameterError(f"sample_rate must lie in [8000, 48000] Hz, got {self.sample_rate} Hz")


def held_out(seed: int) -> dict[int, str]:
    """Return the programs of validation and test, program -> split: one of each where a family can spare them."""
    rng, found = np.random.default_rng(seed), dict[int, str]()
    for programs in _PROGRAMS.values():
        left = Counter(label_of(program) for program in programs)
        order, splits = rng.permutation(list(programs)), ["valid", "test"]
        for program in order.tolist():
            if splits and left[label_of(program)] > 1:
                left[label_of(program)] -= 1
                found[program] = splits.pop(0)
    return found


def render_notes(
    folder: str | os.PathLike[str],
    settings: NoteRenderSettings,
    n_workers: int = 1,
    progress: Progress | None = None,
    programs: Sequence[int] | None = None,
) -> dict[str, int]:
    """Render notes of all programs as ``nsynth-train``, ``-valid`` and ``-test``, and return how many each split has.

    Instruments that are there are not rendered again, so that what was killed goes on.

    Args:
        folder: Where to.
        settings: What to render.
        n_workers: Processes.
        progress: Called with the instruments done and their number.
        programs: Those to render; None for all that are of a family.

    Raises:
        ParameterError: fluidsynth or the bank is missing, or fluidsynth fails.
    """
    find("fluidsynth")
    if not settings.soundfont.is_file():
        raise ParameterError(
            f"no General MIDI bank at {settings.soundfont}: apt-get install fluid-soundfont-gm, or name another"
        )
    target, splits = Path(folder), held_out(settings.seed)
    wanted = sorted(_FAMILY_OF) if programs is None else list(programs)
    jobs = [(program, target / f"nsynth-{splits.get(program, 'train')}") for program in wanted]
    for _, place in jobs:
        (place / "audio").mkdir(parents=True, exist_ok=True)
    tables: dict[Path, dict[str, Any]] = {place: {} for _, place in jobs}
    for done, (place, table) in enumerate(unordered(_Renderer(settings), jobs, n_workers), start=1):
        tables[place] |= table
        if progress is not None:
            progress(done, len(jobs))
    for place, table in tables.items():
        write_json(place / "examples.json", dict(sorted(table.items())))
    return {place.name.removeprefix("nsynth-"): len(table) for place, table in tables.items()}


@dataclass(frozen=True)
class _Renderer:
    """Renders the notes of one program, in whatever process."""

    settings: NoteRenderSettings

    def __call__(self, job: tuple[int, Path]) -> tuple[Path, dict[str, Any]]:
        (program, place), own = job, self.settings
        low, high = range_of(program)
        pitches = range(max(low, own.lowest), min(high, own.highest) + 1, own.step)
        notes = [(pitch, velocity) for pitch in pitches for velocity in own.velocities]
        family = _FAMILY_OF[program]
        instrument = f"{family}_synthetic_{program:03d}"
        names = [f"{instrument}-{pitch:03d}-{velocity:03d}" for pitch, velocity in notes]
        paths = [place / "audio" / f"{name}.wav" for name in names]
        if not all(path.is_file() for path in paths):
            with tempfile.TemporaryDirectory(prefix="masktools-notes-") as work:
                for path, wave in zip(paths, self._played(program, notes, Path(work)), strict=True):
                    unfinished = Path(work, path.name)
                    write(unfinished, wave[None], own.sample_rate)
                    shutil.move(unfinished, path)
        return place, {
            name: {
                "note_str": name,
                "instrument": program,
                "instrument_str": instrument,
                "pitch": pitch,
                "velocity": velocity,
                "sample_rate": own.sample_rate,
                "instrument_family": NOTE_FAMILIES.index(family),
                "instrument_family_str": family,
                "instrument_source": 2,
                "instrument_source_str": "synthetic",
                "label": label_of(program),
                "licence": BANK_LICENCE if own.soundfont.name == SOUNDFONT.name else f"that of {own.soundfont.name}",
            }
            for name, (pitch, velocity) in zip(names, notes, strict=True)
        }

    def _played(self, program: int, notes: Sequence[tuple[int, int]], work: Path) -> list[np.ndarray]:
        """Return each note (t,), of one score in which they follow each other; the loudest peak is 0.9."""
        own, beats = self.settings, 2.0  # a second
        apart_s = own.length_s + 0.5
        score = Part(
            program,
            tuple(
                Note(beats * number * apart_s, beats * own.hold_s, pitch, velocity)
                for number, (pitch, velocity) in enumerate(notes)
            ),
            reverb=0,
        )
        (work / "notes.mid").write_bytes(midi_file([score], 60 * beats))
        options = ["-o", "synth.reverb.active=0", "-o", "synth.chorus.active=0", "-o", "synth.dynamic-sample-loading=1"]
        options += ["-o", "audio.file.format=float", "-o", "audio.file.type=wav", "-r", str(_SYNTH_RATE), "-g", "0.5"]
        files = ["-F", str(work / "notes.wav"), str(own.soundfont), str(work / "notes.mid")]
        call("fluidsynth", ["-n", "-i", "-q", *options, *files], timeout_s=600.0)
        if not (work / "notes.wav").is_file():
            raise ParameterError(
                f"fluidsynth rendered nothing with {own.soundfont}: is it a SoundFont of General MIDI?"
            )
        mono = read(work / "notes.wav").samples.mean(axis=0)
        mono = np.pad(mono, (0, max(0, round(len(notes) * apart_s * _SYNTH_RATE) - len(mono))))
        size, fade = round(own.length_s * own.sample_rate), round(0.02 * own.sample_rate)
        slope = np.ones(size, np.float32)
        slope[-fade:] = np.linspace(1.0, 0.0, fade)
        waves = []
        for number in range(len(notes)):
            start = round(number * apart_s * _SYNTH_RATE)
            part = resample(mono[start : start + round(own.length_s * _SYNTH_RATE)], _SYNTH_RATE, own.sample_rate)
            waves.append((part[:size] * slope[: len(part)]).astype(np.float32))
        loudest = max(float(np.abs(wave).max()) for wave in waves)
        if loudest == 0:
            raise ParameterError(f"program {program} of {own.soundfont} must sound, but it is silent")
        return [wave * (_PEAK / loudest) for wave in waves]
