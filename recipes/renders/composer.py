"""Pieces composed by rule: a style, a key, a form of phrases, and what each instrument plays in them."""

from dataclasses import dataclass, replace

import numpy as np

from masktools.core.errors import ParameterError
from recipes.renders.drumming import drumming
from recipes.renders.figures import CHORDS, bass_line
from recipes.renders.harmony import Key, progression, vamp
from recipes.renders.instruments import label_of, range_of
from recipes.renders.melody import melody
from recipes.renders.midi import Note, Part
from recipes.renders.styles import Layer, Style

_FORMS = ("AABA", "ABAB", "AAAB", "ABAC", "ABCB", "AABB")
_PHRASE_BARS = 4
_MAX_NOTE_LENGTH = 32.0  # beats


@dataclass(frozen=True)
class Piece:
    """A composed piece."""

    style: str
    noun: str  # what a caption calls it
    key: Key
    tempo: float  # beats a minute
    beats: float  # length
    parts: tuple[Part, ...]
    labels: tuple[str, ...]  # of the style and the instruments
    instruments: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.beats * 60 / self.tempo

    @property
    def onsets_per_s(self) -> float:
        """Moments at which something begins, a second."""
        moments = {round(note.start * 8) for part in self.parts for note in part.notes}
        return len(moments) / self.duration_s


@dataclass(frozen=True)
class _Plan:
    """What the instruments of a piece agree on."""

    style: Style
    key: Key
    tempo: float
    chords: tuple[int, ...]  # one a bar
    phrases: str  # one letter a phrase of four bars
    seconds: float

    @property
    def beats(self) -> int:
        return len(self.chords) * self.style.beats


def compose(style: Style, duration_s: float, rng: np.random.Generator) -> Piece:
    """Return a piece of a style that lasts at least so long.

    Args:
        style: Of the piece.
        duration_s: In seconds, above 0.
        rng: What draws everything: the same generator composes the same piece.

    Raises:
        ParameterError: A duration that is not above 0.
    """
    if not duration_s > 0:
        raise ParameterError(f"duration_s must be above 0 s, got {duration_s:g} s")
    plan = _planned(style, duration_s, rng)
    layers = [layer for layer in style.layers if rng.random() < layer.chance] or [style.layers[0]]
    entries = _entries(len(layers), plan, rng)
    parts, names = [], []
    for layer, entry in zip(layers, entries, strict=True):
        program = int(rng.choice(layer.programs))
        notes = _humanised(_played(layer, program, plan, rng), plan, rng, layer.role)
        notes = tuple(note for note in notes if note.start >= entry)
        if not notes:
            continue
        drums = layer.role == "drums"
        parts.append(_part(layer, program, notes, rng))
        names.append("drums" if drums else "bass" if layer.role == "bass" and program < 40 else label_of(program))
    instruments = tuple(dict.fromkeys(names))
    labels = tuple(dict.fromkeys((*style.labels, *instruments)))
    return Piece(style.name, style.noun, plan.key, plan.tempo, plan.beats, tuple(parts), labels, instruments)


def _planned(style: Style, duration_s: float, rng: np.random.Generator) -> _Plan:
    key = Key(int(rng.integers(12)), str(rng.choice(style.modes)))
    tempo = float(np.round(rng.uniform(*style.tempo), 1))
    n_bars = int(np.ceil(duration_s * tempo / 60 / style.beats))
    n_phrases = max(1, -(-n_bars // _PHRASE_BARS))
    form = str(rng.choice(_FORMS))
    phrases = "".join(form[i % len(form)] for i in range(n_phrases))
    each = int(rng.choice(style.bars_per_chord))
    chords: dict[str, tuple[int, ...]] = {}
    round_and_round = vamp(_PHRASE_BARS, rng)
    for letter in sorted(set(phrases)):
        if style.harmony == "vamp":
            few = round_and_round if rng.random() < 0.6 else vamp(_PHRASE_BARS, rng)
        else:
            cadence = str(rng.choice(("full", "half", "plagal", "deceptive", "open"), p=(0.4, 0.25, 0.1, 0.1, 0.15)))
            few = progression(max(2, _PHRASE_BARS // each), rng, cadence)
        chords[letter] = tuple(few[(i // each) % len(few)] for i in range(_PHRASE_BARS))
    return _Plan(style, key, tempo, tuple(c for p in phrases for c in chords[p]), phrases, duration_s)


def _entries(n_layers: int, plan: _Plan, rng: np.random.Generator) -> list[float]:
    """Return the beat at which each layer comes in: mostly all at once, else one after the other."""
    entries = [0.0] * n_layers
    if n_layers > 2 and len(plan.phrases) > 2 and rng.random() < 0.35:
        late = rng.permutation(n_layers)[: n_layers // 2]
        for i in late:
            entries[i] = float(_PHRASE_BARS * plan.style.beats * rng.integers(1, max(2, len(plan.phrases) // 2)))
    return entries


def _played(layer: Layer, program: int, plan: _Plan, rng: np.random.Generator) -> list[Note]:
    way = str(rng.choice(layer.ways))
    if layer.role == "drums":
        return drumming(way, len(plan.chords), plan.style.beats, rng)
    low, high = range_of(program)
    if layer.role == "drone":
        return _drone(way, program, plan, rng)
    if layer.role == "bass":
        return _bass_notes(way, plan, rng, max(low, 26) if program < 40 else low)
    if layer.role == "chords":
        return _chord_notes(way, low, high, plan, rng)
    return _melody_notes(way, low, high, plan, rng)


def _melody_notes(feel: str, low: int, high: int, plan: _Plan, rng: np.random.Generator) -> list[Note]:
    """Return a melody whose phrases come again as the form has it, some of them varied."""
    width = max(14, int(rng.integers(14, 24)))
    centre = int(rng.integers(low + 7, max(low + 8, high - 7)))
    bottom, top = max(low, centre - width // 2), min(high, centre + width // 2)
    top = max(top, bottom + 12)
    legato, beats = float(rng.choice((0.4, 0.8, 0.95, 1.05))), plan.style.beats
    written: dict[str, list[Note]] = {}
    rests = len(plan.style.layers) > 2 and rng.random() < 0.3
    notes: list[Note] = []
    for i, letter in enumerate(plan.phrases):
        if letter not in written or rng.random() < 0.15:
            few = plan.chords[i * _PHRASE_BARS : (i + 1) * _PHRASE_BARS]
            written[letter] = melody(plan.key, few, beats, bottom, top, feel, rng, legato)
        if rests and rng.random() < 0.25:
            continue
        at = i * _PHRASE_BARS * beats
        notes += [replace(note, start=note.start + at) for note in written[letter]]
    return notes


def _bass_notes(way: str, plan: _Plan, rng: np.random.Generator, low: int) -> list[Note]:
    base = plan.key.degree_near(low + int(rng.integers(2, 9)))
    base -= base % 7  # a root
    notes = []
    for bar, chord in enumerate(plan.chords):
        for start, length, degree in bass_line(way, chord if chord < 5 else chord - 7, plan.style.beats, rng):
            pitch = plan.key.pitch(base + degree)
            while pitch < low:
                pitch += 12
            notes.append(Note(bar * plan.style.beats + start, length, min(pitch, 127), 88 if start == 0 else 80))
    return notes


def _chord_notes(way: str, low: int, high: int, plan: _Plan, rng: np.random.Generator) -> list[Note]:
    """Return a figure over the chords, each chord laid near to where the one before lay."""
    seventh = rng.random() < (0.7 if "jazz" in plan.style.labels or "lofi" in plan.style.labels else 0.25)
    degrees = (0, 2, 4, 6) if seventh else (0, 2, 4)
    lowest = float(np.clip(rng.integers(46, 66), low, max(low, high - 12)))
    notes = []
    for bar, chord in enumerate(plan.chords):
        pitches = []
        for step in degrees:
            pitch = plan.key.pitch(chord + step)
            pitch += 12 * int(np.ceil((lowest - pitch) / 12))
            pitches.append(min(pitch, 108))
        figure = CHORDS[way](sorted(pitches), float(plan.style.beats), rng)
        notes += [replace(note, start=note.start + bar * plan.style.beats) for note in figure if note.pitch >= 12]
    return notes


def _drone(way: str, program: int, plan: _Plan, rng: np.random.Generator) -> list[Note]:
    low, _ = range_of(program)
    pitch = plan.key.pitch(4 if way == "fifth" else 0)
    pitch += 12 * int(np.ceil((max(low - 5, 28) - pitch) / 12)) + 12 * int(rng.integers(2))
    notes, at = [], 0.0
    while at < plan.beats:
        length = float(rng.uniform(8, _MAX_NOTE_LENGTH))
        notes.append(Note(at, length, pitch, int(rng.integers(60, 100))))
        if rng.random() < 0.4:
            notes.append(Note(at + length / 3, length / 2, min(pitch + int(rng.choice((7, 12, 3, 5))), 127), 60))
        at += length * 0.95
    return notes


def _humanised(notes: list[Note], plan: _Plan, rng: np.random.Generator, role: str) -> list[Note]:
    """Return notes as people play them: late eighths where it swings, uneven in time and force, louder and softer."""
    machine = "electronic" in plan.style.labels or "chiptune" in plan.style.labels
    late_s = 0.0 if machine else rng.uniform(0.003, 0.014)
    spread = rng.uniform(1, 4) if machine else rng.uniform(4, 10)
    depth = rng.uniform(0, 0.3) * (0.4 if machine else 1.0)
    turns, phase = rng.uniform(0.5, 3), rng.uniform(0, 2 * np.pi)
    overall = rng.uniform(0.75, 1.15)
    played = []
    for note in notes:
        swing = plan.style.swing if abs(note.start % 1 - 0.5) < 0.01 and role != "drums" else 0.0
        if role == "drums" and plan.style.swing and note.start % 0.5 > 0.01:
            swing = plan.style.swing / 3
        start = max(0.0, note.start + swing + rng.normal(0, late_s) * plan.tempo / 60)
        course = 1 - depth / 2 + depth / 2 * np.sin(phase + 2 * np.pi * turns * note.start / plan.beats)
        velocity = int(np.clip(note.velocity * course * overall + rng.normal(0, spread), 15, 127))
        played.append(replace(note, start=start, length=max(0.03, note.length), velocity=velocity))
    return played


def _part(layer: Layer, program: int, notes: tuple[Note, ...], rng: np.random.Generator) -> Part:
    volume = int(np.clip(layer.level + rng.normal(0, 10), 40, 127))
    modulation = int(rng.choice((0, 0, 20, 50))) if layer.role == "melody" else 0
    chorus = int(rng.choice((0, 0, 30, 80)))
    pan, reverb = int(rng.integers(34, 95)), int(rng.integers(0, 100))
    return Part(program, notes, layer.role == "drums", volume, pan, modulation, reverb, chorus)
