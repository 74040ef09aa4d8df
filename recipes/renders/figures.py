"""Figures that accompany: a chord, for so many beats, as pads, arpeggios, strums, basses and the like."""

from collections.abc import Callable, Sequence

import numpy as np

from recipes.renders.midi import Note

Figure = Callable[[Sequence[int], float, np.random.Generator], list[Note]]
"""From the pitches of a chord, lowest first, and its beats, to notes from beat 0 on."""


def _pad(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
    return [Note(0, beats * 1.02, pitch, 70) for pitch in pitches]


def _every(step: float, sounding: float, offset: float = 0.0) -> Figure:
    """Return the figure that strikes the whole chord again and again."""

    def figure(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
        times = np.arange(offset, beats - 1e-6, step)
        return [Note(t, step * sounding, p, 78 if t % 1 == 0 else 68) for t in times.tolist() for p in pitches]

    return figure


def _broken(step: float, order: Sequence[int], sounding: float = 1.0) -> Figure:
    """Return the figure that plays the chord's tones one after the other, by their number from the lowest."""

    def figure(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
        n = len(pitches)
        notes = []
        for i, t in enumerate(np.arange(0, beats - 1e-6, step).tolist()):
            octave, which = divmod(order[i % len(order)], n)
            notes.append(Note(t, step * sounding, min(pitches[which] + 12 * octave, 120), 80 if i == 0 else 68))
        return notes

    return figure


def _scattered(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
    """Return single tones of the chord here and there, in three octaves."""
    times = np.sort(rng.choice(np.arange(0, beats, 0.5), max(1, int(beats * 0.6)), replace=False))
    return [
        Note(t, rng.uniform(0.5, 3), min(int(rng.choice(pitches)) + 12 * int(rng.integers(3)), 115), 66)
        for t in times.tolist()
    ]


def _strum(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
    notes = []
    for t in (0.0, 1.0, 1.5, 2.5, 3.0, 3.5):
        if t >= beats:
            break
        up = t % 1 == 0.5
        for i, pitch in enumerate(reversed(pitches) if up else pitches):
            notes.append(Note(t + 0.025 * i, 0.8, pitch, 62 if up else 80))
    return notes


def _waltz(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
    after = [Note(t, 0.6, p, 64) for t in np.arange(1.0, beats).tolist() if t % 3 != 0 for p in pitches[1:]]
    return [Note(t, 0.9, pitches[0] - 12, 82) for t in np.arange(0.0, beats, 3.0).tolist()] + after


def _charleston(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
    times = [t for t in (0.0, 1.5, 2.5 + rng.integers(2)) if t < beats]
    return [Note(t, rng.uniform(0.2, 0.7), p, 72) for t in times for p in pitches]


def _power(pitches: Sequence[int], beats: float, rng: np.random.Generator) -> list[Note]:
    low = pitches[0]
    times = [t for t in np.arange(0, beats, 0.5).tolist() if t % 2 == 0 or rng.random() < 0.75]
    return [Note(t, 0.45, low + up, 92) for t in times for up in (0, 7, 12)]


CHORDS: dict[str, Figure] = {
    "pad": _pad,
    "blocks": _every(2.0, 0.9),
    "beats": _every(1.0, 0.6),
    "eighths": _every(0.5, 0.5),
    "offbeat": _every(1.0, 0.35, 0.5),
    "tremolo": _every(0.125, 1.0),
    "stabs": _every(1.5, 0.2),
    "up": _broken(0.5, (0, 1, 2, 3)),
    "up_fast": _broken(0.25, (0, 1, 2, 3, 4, 5, 4, 2)),
    "up_down": _broken(0.5, (0, 1, 2, 3, 4, 3, 2, 1), 1.5),
    "alberti": _broken(0.5, (0, 2, 1, 2)),
    "triplets": _broken(1 / 3, (0, 1, 2)),
    "chip": _broken(0.125, (0, 1, 2), 0.9),
    "ostinato": _broken(0.25, (0, 3, 1, 3, 2, 3, 1, 2), 0.5),
    "rolling": _broken(0.25, (0, 2, 4, 6, 5, 3, 1, 2), 2.0),
    "slow_roll": _broken(1.0, (0, 2, 4, 3), 2.0),
    "scattered": _scattered,
    "strum": _strum,
    "waltz": _waltz,
    "charleston": _charleston,
    "power": _power,
}
"""Figures for chords, by name."""

Bass = tuple[tuple[float, float, int], ...]  # (start, length, scale steps above the root) for four beats
BASSES: dict[str, Bass] = {
    "whole": ((0, 4, 0),),
    "halves": ((0, 1.9, 0), (2, 1.9, 4)),
    "fifths": ((0, 0.9, 0), (1, 0.9, 4), (2, 0.9, 0), (3, 0.9, 4)),
    "quarters": ((0, 0.9, 0), (1, 0.9, 0), (2, 0.9, 0), (3, 0.9, 0)),
    "eighths": tuple((i / 2, 0.45, 0) for i in range(8)),
    "octaves": tuple((i / 2, 0.4, 7 * (i % 2)) for i in range(8)),
    "offbeats": tuple((i + 0.5, 0.4, 0) for i in range(4)),
    "sixteenths": tuple((i / 4, 0.2, (0, 0, 7, 0)[i % 4]) for i in range(16)),
    "syncopated": ((0, 0.7, 0), (0.75, 0.7, 0), (1.5, 0.9, 4), (2.5, 0.45, 7), (3, 0.7, 0)),
    "tresillo": ((0, 1.4, 0), (1.5, 1.4, 4), (3, 0.9, 7)),
    "walking": ((0, 0.9, 0), (1, 0.9, 2), (2, 0.9, 4), (3, 0.9, 5)),
    "waltz": ((0, 0.9, 0), (3, 0.9, 0)),
}
"""Bass figures, by name."""


def bass_line(name: str, degree: int, beats: float, rng: np.random.Generator) -> list[tuple[float, float, int]]:
    """Return (start, length, degree) of a bass under a chord, its figure going round every four beats.

    Args:
        name: Of the figure; walking is drawn anew each time.
        degree: Of the chord.
        beats: Of the chord.
        rng: What varies it.
    """
    figure = BASSES[name]
    around = 3 if name == "waltz" else 4
    line = []
    for bar in range(int(np.ceil(beats / around))):
        for start, length, step in figure:
            at = start + bar * around
            if at >= beats or (name == "waltz" and start >= 3):
                continue
            if name == "walking" and start:
                step = int(rng.choice((1, 2, 3, 4, 5, 6, 7, -1, -3)))
            elif start and rng.random() < 0.06:
                step += int(rng.choice((-1, 1, 2)))
            line.append((at, min(length, beats - at), degree + step))
    return line
