"""Drum patterns on a grid of sixteenths, with variations and fills."""

import numpy as np

from recipes.renders.midi import Note

_KEYS = {
    "kick": 36, "snare": 38, "rim": 37, "clap": 39, "hat": 42, "pedal": 44, "open": 46, "ride": 51, "crash": 49,
    "low": 45, "mid": 47, "high": 50, "floor": 41, "tamb": 54, "cowbell": 56, "shaker": 70, "conga": 63, "tumba": 64,
    "bongo": 60, "bongo_low": 61, "clave": 75, "block": 76, "triangle": 81, "bell": 53, "brush": 40, "guiro": 73,
    "agogo": 67, "cabasa": 69, "timbale": 65,
}  # fmt: skip
# X loud, x plain, o soft, ? now and then; a bar of 16 steps (12 for three beats), repeated.
GROOVES: dict[str, dict[str, str]] = {
    "rock": {"kick": "X.....?.X.x...?.", "snare": "....X.......X..o", "hat": "x.o.x.o.x.o.x.o."},
    "rock_ride": {"kick": "X.x.......x..?..", "snare": "....X.......X...", "ride": "x.x.x.x.x.x.x.x."},
    "half_time": {"kick": "X.....x.......?.", "snare": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
    "metal": {"kick": "XxXxXxXxXxXxXxXx", "snare": "....X.......X...", "crash": "X.......x......."},
    "punk": {"kick": "X...X.x.X...X.x.", "snare": "..X...X...X...X.", "hat": "x.x.x.x.x.x.x.x."},
    "four": {"kick": "X...X...X...X...", "open": "..x...x...x...x.", "clap": "....X.......X..."},
    "four_hats": {"kick": "X...X...X...X..?", "hat": "xoxoxoxoxoxoxoxo", "snare": "....?.......X..?"},
    "breakbeat": {"kick": "X.x.......xx....", "snare": "....X..o.o..X..o", "hat": "x.x.x.x.x.x.x.x."},
    "drum_and_bass": {"kick": "X.........x.....", "snare": "....X..o....X...", "hat": "x.xxx.x.x.xxx.xo"},
    "hip_hop": {"kick": "X..?...x..x.....", "snare": "....X.......X...", "hat": "x.x.xox.x.x.x.xo"},
    "trap": {"kick": "X......x..x...?.", "snare": "........X.......", "hat": "x.xxx.x.xxx.xoxo"},
    "swing": {"ride": "x...x..xx...x..x", "pedal": "....x.......x...", "brush": "?......?..?....?",
              "kick": "o...o...o...o..."},
    "brushes": {"brush": "x.o.x.oox.o.x.oo", "pedal": "....x.......x...", "kick": "o.......o......."},
    "bossa": {"rim": "x..x..x...x..x..", "kick": "x..xx..xx..xx..x", "hat": "o.o.o.o.o.o.o.o."},
    "samba": {"kick": "x..xx..xx..xx..x", "tamb": "xooxxooxxooxxoox", "agogo": "x.x..x.x.x..x.x."},
    "latin": {"conga": "..x...xx..x...xx", "tumba": "........x......?", "clave": "x..x..x...x.x...",
              "cabasa": "x.o.x.o.x.o.x.o.",
              "cowbell": "x...x...x...x..."},
    "bongos": {"bongo": "x.oox.x.x.oox.xx", "bongo_low": "..x...x?..x...x.", "shaker": "x.x.x.x.x.x.x.x."},
    "afro": {"bell": "x.x.xx.x.x.x", "tumba": "x..o..x..o..", "conga": "..xx.x..xx.x", "shaker": "xoxxoxxoxxox"},
    "reggae": {"kick": "........X.......", "rim": "........X.......", "hat": "x.xox.xox.xox.xo"},
    "disco": {"kick": "X...X...X...X...", "snare": "....X.......X...", "hat": "x.o.x.o.x.o.x.o.",
              "open": "..x...x...x...x."},
    "waltz": {"kick": "X...........", "hat": "....x...x...", "snare": "....o...o..."},
    "march": {"snare": "X.xxX.x.X.xxXxxx", "kick": "X.......X.......", "crash": "?..............."},
    "toms": {"floor": "X..x..x.X..x..x.", "low": "..x..x....x..x..", "high": "......x.......xx"},
    "chip": {"kick": "X...x...X...x.x.", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
    "sparse": {"kick": "X.......?.......", "rim": "....?.......x...", "shaker": "x...o...x...o..."},
    "shuffle": {"kick": "X.......X.....?.", "snare": "....X.......X...", "hat": "x..xx..xx..xx..x"},
    "folk": {"tamb": "....x.......x...", "shaker": "x.o.x.o.x.o.x.o.", "kick": "x.......x......."},
}  # fmt: skip
"""Grooves, by name: which drum is struck on which sixteenth of a bar."""

_LEVELS = {"X": 108, "x": 88, "o": 52, "?": 76}


def drumming(groove: str, n_bars: int, beats_per_bar: int, rng: np.random.Generator) -> list[Note]:
    """Return so many bars of a groove; every fourth or eighth ends in a fill, and a crash often follows.

    Args:
        groove: Its name.
        n_bars: How many.
        beats_per_bar: Of them.
        rng: What varies it.
    """
    notes: list[Note] = []
    fills_every = int(rng.choice((4, 8)))
    voices = dict(GROOVES[groove])
    if len(voices) > 2 and rng.random() < 0.2:
        voices.pop(str(rng.choice(list(voices))))
    n_steps = 4 * beats_per_bar
    for bar in range(n_bars):
        start = bar * beats_per_bar
        fill_from = n_steps - int(rng.choice((4, 8))) if bar % fills_every == fills_every - 1 else n_steps
        for voice, steps in voices.items():
            for step in range(min(n_steps, fill_from)):
                mark = steps[(step + (0 if len(steps) == n_steps else bar * n_steps)) % len(steps)]
                if mark == "." or (mark == "?" and rng.random() < 0.6) or rng.random() < 0.015:
                    continue
                notes.append(Note(start + step / 4, 0.2, _KEYS[voice], _LEVELS[mark]))
        for step in range(fill_from, n_steps):
            if rng.random() < 0.8:
                drum = ("snare", "high", "mid", "low", "floor")[min(4, (step - fill_from) * 5 // (n_steps - fill_from))]
                notes.append(Note(start + step / 4, 0.2, _KEYS[drum], int(rng.integers(70, 110))))
        if bar and bar % fills_every == 0 and rng.random() < 0.6:
            notes.append(Note(start, 1.0, _KEYS["crash"], 96))
    return notes
