"""Melodies: a motif's rhythm and contour, walked over the chords, repeated and varied."""

from collections.abc import Sequence

import numpy as np

from recipes.renders.harmony import Key
from recipes.renders.midi import Note

_CELLS = {  # how a beat or two can be filled; lengths in beats, rests negative
    "calm": ((2.0,), (1.0, 1.0), (1.5, 0.5), (-1.0, 1.0), (2.0,), (4.0,), (3.0, 1.0)),
    "lively": ((1.0,), (0.5, 0.5), (0.75, 0.25), (0.5, 0.25, 0.25), (-0.5, 0.5), (1.5, 0.5), (0.25, 0.5, 0.25)),
    "quick": ((0.25,) * 4, (0.5, 0.25, 0.25), (0.25, 0.25, 0.5), (0.5, 0.5), (-0.25, 0.25, 0.5), (0.75, 0.25)),
    "triplet": ((1 / 3,) * 3, (2 / 3, 1 / 3), (1.0,), (1 / 3, 2 / 3), (-1 / 3, 1 / 3, 1 / 3)),
}
_STEPS, _STEP_WEIGHTS = (-4, -3, -2, -1, 0, 1, 2, 3, 4), (1, 2, 6, 12, 4, 12, 6, 2, 1)


def rhythm(beats: float, feel: str, rng: np.random.Generator) -> tuple[float, ...]:
    """Return lengths that fill so many beats, rests negative.

    Args:
        beats: How many.
        feel: calm, lively, quick or triplet.
        rng: What draws them.
    """
    lengths: list[float] = []
    left = beats
    while left > 1e-6:
        cells = [cell for cell in _CELLS[feel] if sum(map(abs, cell)) <= left + 1e-6] or [(left,)]
        cell = cells[rng.integers(len(cells))]
        lengths += cell
        left -= sum(map(abs, cell))
    return tuple(lengths)


def melody(
    key: Key,
    chords: Sequence[int],
    beats: float,
    low: int,
    high: int,
    feel: str,
    rng: np.random.Generator,
    legato: float = 0.95,
) -> list[Note]:
    """Return a melody over chords of so many beats each.

    Half of the bars take up the first motif, moved to their chord; strong beats fall on its tones.

    Args:
        key: Whose degrees are played.
        chords: Their degrees.
        beats: Of each chord.
        low: The lowest pitch.
        high: The highest pitch, at least an octave above.
        feel: calm, lively, quick or triplet.
        rng: What draws it.
        legato: How much of its time a note sounds.
    """
    motifs = [_motif(beats, feel, rng) for _ in range(2)]
    notes: list[Note] = []
    bottom, top = key.degree_near(low), key.degree_near(high)
    degree = (bottom + top) // 2
    for bar, chord in enumerate(chords):
        again = bar % 4 in (0, 1) or rng.random() < 0.4
        lengths, steps = motifs[0] if again else motifs[1] if rng.random() < 0.6 else _motif(beats, feel, rng)
        degree = _to_chord(degree, chord)
        at = bar * beats
        for i, (length, step) in enumerate(zip(lengths, steps, strict=True)):
            if i:
                degree += step
            if degree < bottom or degree > top:
                degree += 2 * (bottom - degree) if degree < bottom else 2 * (top - degree)
                degree = min(max(degree, bottom), top)
            if i == 0 or abs(length) >= 1.5 or bar == len(chords) - 1:
                degree = _to_chord(degree, chord)
            if length > 0:
                accent = 8 if abs(at - round(at)) < 1e-6 else 0
                pitch = min(max(key.pitch(degree), 0), 127)
                notes.append(Note(at, max(0.05, length * legato), pitch, 80 + accent))
            at += abs(length)
    return notes


def _motif(beats: float, feel: str, rng: np.random.Generator) -> tuple[tuple[float, ...], list[int]]:
    lengths = rhythm(beats, feel, rng)
    weights = np.array(_STEP_WEIGHTS) / sum(_STEP_WEIGHTS)
    return lengths, [int(step) for step in rng.choice(_STEPS, len(lengths), p=weights)]


def _to_chord(degree: int, chord: int) -> int:
    """Return the nearest degree that belongs to a chord of thirds."""
    return min(range(degree - 3, degree + 4), key=lambda d: ((d - chord) % 7 not in (0, 2, 4), abs(d - degree)))
