"""Pieces played as game consoles did: pulse waves, a triangle of sixteen steps, and held noise for drums."""

import numpy as np

from masktools.io import resample
from recipes.renders.composer import Piece
from recipes.renders.midi import Note, Part

_RATE = 88_200  # Hz; what lies above the audio's band is left out afterwards
_DUTIES = (0.125, 0.25, 0.5)
_LOW = 52.0  # parts below, on average, are for the triangle
_KICKS, _HATS = (35, 36, 41, 45), (42, 44, 46, 51, 49, 54, 69, 70)


def play_chip(piece: Piece, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return a piece as oscillators play it, mono (t,).

    Args:
        piece: The piece.
        sample_rate: In Hz.
        rng: What draws the timbres.
    """
    beat_s = 60 / piece.tempo
    mix = np.zeros(round((piece.duration_s + 2) * _RATE))
    for part in piece.parts:
        level = rng.uniform(0.5, 1.0) * part.volume / 127
        for note, sound in _sounds(part, beat_s, rng):
            start = round(note.start * beat_s * _RATE)
            stop = min(len(mix), start + len(sound))
            mix[start:stop] += level * note.velocity / 127 * sound[: max(0, stop - start)]
    return resample(mix.astype(np.float32), _RATE, sample_rate)


def _sounds(part: Part, beat_s: float, rng: np.random.Generator) -> list[tuple[Note, np.ndarray]]:
    if part.drums:
        return [(note, _drum(note.pitch, rng)) for note in part.notes]
    triangle = np.mean([note.pitch for note in part.notes]) < _LOW
    duty, fade_s = float(rng.choice(_DUTIES)), float(rng.choice((0.1, 0.3, 1.0, 4.0)))
    vibrato = float(rng.choice((0.0, 0.0, 0.004, 0.01)))
    sounds = []
    for note in part.notes:
        time_s = np.arange(max(1, round(note.length * beat_s * _RATE))) / _RATE
        hz = 440 * 2 ** ((note.pitch - 69) / 12)
        phase = hz * time_s
        if vibrato:
            phase = phase + vibrato * hz / (2 * np.pi * 6) * np.sin(2 * np.pi * 6 * time_s)
        if triangle:
            sounds.append((note, _ends(np.round(np.abs(phase % 1 * 4 - 2) * 7.5) / 7.5 - 1)))
        else:
            sounds.append((note, _ends((0.5 * np.sign(phase % 1 - duty) - 0.5 + duty) * np.exp(-time_s / fade_s))))
    return sounds


def _ends(sound: np.ndarray) -> np.ndarray:
    """Return a sound that begins and ends without a click."""
    ramp = np.minimum(1.0, (np.arange(len(sound)) + 1) / (0.001 * _RATE))
    return sound * ramp * ramp[::-1]


def _drum(pitch: int, rng: np.random.Generator) -> np.ndarray:
    if pitch in _KICKS:
        time_s = np.arange(round(0.15 * _RATE)) / _RATE
        phase = 45 * time_s + 120 * 0.03 * (1 - np.exp(-time_s / 0.03))
        return 1.2 * np.abs(phase % 1 * 4 - 2) * np.exp(-time_s / 0.06) - 1.2 * np.exp(-time_s / 0.06)
    hat = pitch in _HATS
    seconds, fade_s = (0.08, 0.015) if hat else (0.25, 0.06)
    return _held_noise(seconds, 30_000.0 if hat else 11_000.0, rng) * _fading(seconds, fade_s) * (0.35 if hat else 0.7)


def _held_noise(seconds: float, hz: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise of two values, each held for a period of ``hz``."""
    values = rng.choice((-1.0, 1.0), round(seconds * hz) + 2)
    return values[(np.arange(round(seconds * _RATE)) * hz / _RATE).astype(int)]


def _fading(seconds: float, fade_s: float) -> np.ndarray:
    return np.exp(-np.arange(round(seconds * _RATE)) / _RATE / fade_s)
