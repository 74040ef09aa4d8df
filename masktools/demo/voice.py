"""A voice that counts, made of pulses, noise and moving resonances: the demonstration's speech."""

from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from masktools.demo.synth import band_noise, finish, with_room

__all__ = ["SAMPLE_RATE", "WORDS", "play"]

SAMPLE_RATE = 22_050
_FRAME = 110  # samples, 5 ms
_PAUSE_S = 0.34
_OPEN = 0.6  # share of a period in which the glottis is open


class Sound(NamedTuple):
    """One speech sound: where the vocal tract stands, and what drives it."""

    formants: tuple[float, float, float]  # Hz
    voice: float  # level of the pulses
    hiss: float = 0.0  # level of the noise
    hiss_hz: tuple[float, float] = (1000.0, 8000.0)


# Formants of the vowels: Peterson and Barney, Control methods used in a study of the vowels (1952), table II, men.
SOUNDS = {
    "a": Sound((640, 1190, 2390), 1.0),
    "A": Sound((730, 1090, 2440), 1.0),
    "e": Sound((530, 1840, 2480), 1.0),
    "i": Sound((390, 1990, 2550), 0.9),
    "I": Sound((270, 2290, 3010), 0.8),
    "o": Sound((570, 840, 2410), 1.0),
    "u": Sound((300, 870, 2240), 0.8),
    "w": Sound((290, 610, 2150), 0.5),
    "r": Sound((330, 1060, 1480), 0.6),
    "n": Sound((250, 1450, 2500), 0.35),
    "v": Sound((260, 1100, 2200), 0.3, 0.05, (1500, 9000)),
    "f": Sound((340, 1100, 2200), 0.0, 0.06, (1500, 10_500)),
    "T": Sound((320, 1290, 2540), 0.0, 0.06, (2500, 10_500)),
    "s": Sound((320, 1390, 2530), 0.0, 0.14, (4200, 10_000)),
    "t": Sound((350, 1800, 2600), 0.0, 0.2, (2500, 9000)),
    "k": Sound((320, 1900, 2500), 0.0, 0.2, (1500, 4500)),
    "-": Sound((320, 1500, 2500), 0.0),
}
# Each word: its sounds and their lengths in ms; a stop is a closure and its burst.
WORDS = (
    (("w", 80), ("a", 150), ("n", 120)),
    (("-", 30), ("t", 35), ("u", 230)),
    (("T", 100), ("r", 70), ("I", 220)),
    (("f", 110), ("o", 190), ("r", 100)),
    (("f", 110), ("A", 130), ("i", 110), ("v", 90)),
    (("s", 140), ("i", 100), ("-", 50), ("k", 30), ("s", 170)),
    (("s", 130), ("e", 110), ("v", 60), ("a", 70), ("n", 120)),
    (("e", 110), ("I", 100), ("-", 60), ("t", 45)),
    (("n", 90), ("A", 130), ("i", 110), ("n", 130)),
)


def play() -> tuple[np.ndarray, int]:
    """Return "one" to "nine", (1, t) float32 of about 7 s, and their sample rate."""
    rng = np.random.default_rng(1952)
    pause = np.zeros(round(_PAUSE_S * SAMPLE_RATE))
    parts = [pause[: len(pause) // 2]]
    for number, word in enumerate(WORDS):
        parts += [_spoken(word, pitch_hz=132 - 3 * number, rng=rng), pause]
    dry = np.concatenate(parts)[None]
    hum = 0.0006 * np.abs(dry).max() * rng.standard_normal(dry.shape)  # no room is silent
    return finish(with_room(dry, SAMPLE_RATE, 0.35, 0.12, rng) + hum, SAMPLE_RATE), SAMPLE_RATE


def _spoken(word: tuple[tuple[str, int], ...], pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Return one word (t,): the course of each setting, then pulses and hiss through the vocal tract."""
    lengths = [max(2, round(ms * SAMPLE_RATE / 1000 / _FRAME)) for _, ms in word]
    sounds = [SOUNDS[name] for name, _ in word]
    tail = 8  # frames in which the voice dies away
    n_frames = sum(lengths) + tail
    middles = np.cumsum(lengths) - np.array(lengths) / 2
    moving = np.arange(n_frames)
    formants = np.stack([np.interp(moving, middles, [sound.formants[k] for sound in sounds]) for k in range(3)])
    voice = _smoothed(np.append(np.repeat([sound.voice for sound in sounds], lengths), np.zeros(tail)))
    n = n_frames * _FRAME
    loudness = np.interp(np.arange(n) / _FRAME, moving + 0.5, voice)
    flow, pressure = _pulses(n, pitch_hz, rng)
    spoken = _through_tract(loudness * (pressure + 0.02 * flow * rng.standard_normal(n)), formants)
    spoken += 0.012 * loudness * flow * band_noise(n, 4000, 9000, SAMPLE_RATE, rng)  # breath, in the pitch's rhythm
    start = 0
    for sound, length in zip(sounds, lengths, strict=True):
        if sound.hiss:
            stop = min(n, start + (length + 2) * _FRAME)
            ramp = np.minimum(1, np.minimum(np.arange(stop - start), np.arange(stop - start)[::-1]) / (1.5 * _FRAME))
            spoken[start:stop] += sound.hiss * ramp * band_noise(stop - start, *sound.hiss_hz, SAMPLE_RATE, rng)
        start += length * _FRAME
    return spoken


def _smoothed(frames: np.ndarray) -> np.ndarray:
    window = np.hanning(7)[1:-1]
    return np.convolve(np.pad(frames, 2, mode="edge"), window / window.sum(), "valid")


def _pulses(n: int, pitch_hz: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the flow through the glottis and the pressure that it radiates: falling in pitch, never quite regular.

    Source: Rosenberg, Effect of glottal pulse shape on the quality of natural vowels (1971), the polynomial pulse.
    """
    knots = np.arange(0, n + 400, 400)
    shake = np.interp(np.arange(n), knots, 1 + 0.012 * rng.standard_normal(len(knots)))
    phase = np.cumsum(pitch_hz * np.linspace(1.08, 0.86, n) * shake / SAMPLE_RATE) % 1
    opening = np.where(phase < _OPEN, phase / _OPEN, 0.0)
    flow = 27 / 4 * (opening**2 - opening**3)
    return flow, np.diff(flow, prepend=0.0) * SAMPLE_RATE / 2000


def _through_tract(source: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Return the source (t,) behind resonances in a row, the lower three of them moving (3, frames).

    Source: Klatt, Software for a cascade/parallel formant synthesizer (1980), Eqs. 1 and 2.
    """
    out = source.copy()
    for hz, bandwidth_hz in zip(formants, (70, 90, 130), strict=True):
        state = np.zeros(2)
        for frame, centre in enumerate(hz):
            part = slice(frame * _FRAME, (frame + 1) * _FRAME)
            out[part], state = lfilter(*_resonance(centre, bandwidth_hz), out[part], zi=state)
    for hz, bandwidth_hz in ((3500, 200), (4500, 300)):  # the upper ones stand still
        out = np.asarray(lfilter(*_resonance(hz, bandwidth_hz), out))
    return out


def _resonance(hz: float, bandwidth_hz: float) -> tuple[list[float], list[float]]:
    radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE)
    turn = 2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE)
    return [1 - turn + radius**2], [1, -turn, radius**2]
