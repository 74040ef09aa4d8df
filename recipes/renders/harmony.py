"""Keys, modes and chords: progressions drawn from a grammar of what follows what, with cadences at the ends."""

from dataclasses import dataclass

import numpy as np

from masktools.core.errors import unknown_name

MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
"""Semitones of the seven degrees above the root."""

# Degree (from 0) -> how likely each degree follows it: tonic, then what prepares, then what demands the tonic.
_NEXT = {
    0: {3: 3, 4: 2.5, 5: 3, 1: 2, 2: 1, 6: 0.5},
    1: {4: 5, 6: 1, 3: 1},
    2: {5: 3, 3: 3, 1: 1},
    3: {4: 4, 0: 3, 1: 2, 6: 0.5},
    4: {0: 5, 5: 3, 3: 1},
    5: {3: 4, 1: 3, 4: 2, 2: 1},
    6: {0: 4, 2: 1, 5: 1},
}
_VAMPS = ((0,), (0, 3), (0, 6), (0, 5), (0, 1), (0, 6, 5, 6), (0, 2, 3), (0, 3, 6), (0, 4, 3), (0, 5, 2, 6))
_CADENCES = {"full": (4, 0), "plagal": (3, 0), "half": (3, 4), "deceptive": (4, 5), "open": (5, 4)}


@dataclass(frozen=True)
class Key:
    """A root and a mode."""

    root: int  # 0 (C) to 11 (B)
    mode: str

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown_name("mode", self.mode, MODES)

    @property
    def is_minor(self) -> bool:
        """Whether its third is small."""
        return MODES[self.mode][2] == 3

    def pitch(self, degree: int) -> int:
        """Return the pitch of a degree, any whole number; degree 0 is the root in the octave of pitch 0.

        >>> Key(2, "major").pitch(7), Key(2, "major").pitch(-1)
        (14, 1)
        """
        octave, step = divmod(degree, 7)
        return self.root + 12 * octave + MODES[self.mode][step]

    def degree_near(self, pitch: int) -> int:
        """Return the degree whose pitch is nearest to a pitch."""
        around = round((pitch - self.root) * 7 / 12)
        return min(range(around - 3, around + 4), key=lambda degree: abs(self.pitch(degree) - pitch))


def progression(n_chords: int, rng: np.random.Generator, last: str = "full") -> tuple[int, ...]:
    """Return the degrees of chords that begin on the tonic and end in a cadence.

    Args:
        n_chords: At least 1.
        rng: What draws them.
        last: The cadence: full, plagal, half, deceptive or open.

    Raises:
        ParameterError: There is no such cadence.
    """
    if last not in _CADENCES:
        raise unknown_name("cadence", last, _CADENCES)
    chords = [0]
    while len(chords) < n_chords:
        follows = _NEXT[chords[-1]]
        weights = np.array(list(follows.values()))
        chords.append(int(rng.choice(list(follows), p=weights / weights.sum())))
    end = _CADENCES[last]
    if n_chords > 2:
        chords[-2:] = end
    elif n_chords == 2:
        chords[-1] = end[0]
    return tuple(chords)


def vamp(n_chords: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Return the degrees of a few chords that go round and round."""
    few = _VAMPS[rng.integers(len(_VAMPS))]
    return tuple(few[i % len(few)] for i in range(n_chords))
