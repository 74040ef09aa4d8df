"""Two bars of plucked strings over a bass and drums, played twice, in stereo: the demonstration's music."""

import numpy as np

from masktools.demo.synth import add_at, band_noise, finish, with_room

__all__ = ["SAMPLE_RATE", "play", "pluck"]

SAMPLE_RATE = 44_100
BEAT_S = 0.5
BARS = 2 * ((57, 60, 64, 69), (55, 59, 62, 67))  # A minor and G in MIDI notes; no string is plucked twice the same way
ARPEGGIO = (0, 1, 2, 3, 2, 1, 3, 2)  # which note of the chord on each half beat
_SECONDS = 4 * len(BARS) * BEAT_S + 0.5


def pluck(midi: float, seconds: float, brightness: float, rng: np.random.Generator) -> np.ndarray:
    """Return a plucked string (t,): a burst of noise that a delay line repeats and dulls.

    Args:
        midi: Pitch as a MIDI number, 69 for 440 Hz.
        seconds: Length of the sound.
        brightness: Share of the burst's treble that stays, in (0, 1].
        rng: Where the burst comes from.

    Source: Karplus and Strong, Digital synthesis of plucked-string and drum timbres (1983), Eq. 1.
    """
    period = SAMPLE_RATE / (440 * 2 ** ((midi - 69) / 12))  # samples
    n, delay = round(seconds * SAMPLE_RATE), round(period)
    burst = rng.uniform(-1, 1, delay)
    burst = brightness * burst + (1 - brightness) * np.convolve(burst, np.ones(8) / 8, "same")
    decay = 0.001 ** (period / SAMPLE_RATE / 2.5)  # down by 60 dB in 2.5 s, the treble sooner
    turns = [np.append(0.0, burst - burst.mean())]
    for _ in range(int(1.02 * n / delay) + 2):
        before = turns[-1]
        now = decay * 0.5 * (before[1:] + before[:-1])  # Eq. 1
        turns.append(np.append(before[-1], now))
    string = np.concatenate([turn[1:] for turn in turns])
    exact = np.arange(n) * (delay + 0.5) / period  # the loop is half a sample longer than its delay
    return np.interp(exact, np.arange(len(string)), string)


def play() -> tuple[np.ndarray, int]:
    """Return the piece, (2, t) float32 of 8.5 s, and its sample rate."""
    rng = np.random.default_rng(1983)
    mix = np.zeros((2, round(_SECONDS * SAMPLE_RATE)))
    for bar, chord in enumerate(BARS):
        bar_s = 4 * BEAT_S * bar
        for step, which in enumerate(ARPEGGIO):
            at_s = bar_s + step * BEAT_S / 2
            string = pluck(chord[which] + 12 * (step == 6), 1.6, 0.8, rng)
            add_at(mix, _panned(0.8 * string, (-0.6, 0.6)[step % 2]), at_s, SAMPLE_RATE)
        for note in chord:  # the chord itself, strummed
            add_at(mix, _panned(0.45 * pluck(note, 2.0, 0.4, rng), 0.0), bar_s + 0.004 * (note % 12), SAMPLE_RATE)
        for beat, midi in ((0, chord[0] - 24), (1.5, chord[0] - 24), (2, chord[0] - 12), (3, chord[1] - 24)):
            add_at(mix, _panned(_bass(midi), 0.0), bar_s + beat * BEAT_S, SAMPLE_RATE)
        _drums(mix, bar_s, rng)
    return finish(with_room(mix, SAMPLE_RATE, 0.9, 0.25, rng), SAMPLE_RATE), SAMPLE_RATE


def _bass(midi: float) -> np.ndarray:
    time_s = np.arange(round(0.45 * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * time_s
    partials = sum(np.sin(k * phase) * np.exp(-k * 2.2 * time_s) / k for k in range(1, 9))
    return 0.22 * np.tanh(1.5 * partials) * np.minimum(1, time_s / 0.004) * np.minimum(1, (0.45 - time_s) / 0.05)


def _drums(mix: np.ndarray, bar_s: float, rng: np.random.Generator) -> None:
    time_s = np.arange(round(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    kick = np.sin(2 * np.pi * (48 * time_s + 3.2 * (1 - np.exp(-time_s * 30)))) * np.exp(-14 * time_s)
    for beat in (0, 2, 2.5):
        add_at(mix, _panned(0.5 * kick, 0.0), bar_s + beat * BEAT_S, SAMPLE_RATE)
    for beat in (1, 3):
        rattle = band_noise(len(time_s), 900, 12_000, SAMPLE_RATE, rng) * np.exp(-22 * time_s)
        skin = np.sin(2 * np.pi * 190 * time_s) * np.exp(-28 * time_s)
        add_at(mix, _panned(0.22 * rattle + 0.4 * skin, 0.1), bar_s + beat * BEAT_S, SAMPLE_RATE)
    for half_beat in range(8):
        hat = band_noise(len(time_s), 6000, 16_000, SAMPLE_RATE, rng) * np.exp(-(30 + 50 * (half_beat % 2)) * time_s)
        add_at(mix, _panned(0.1 * hat, 0.35), bar_s + half_beat * BEAT_S / 2, SAMPLE_RATE)


def _panned(sound: np.ndarray, place: float) -> np.ndarray:
    """Return a sound (t,) in stereo, between -1 (left) and 1 (right), at constant power."""
    angle = np.pi / 4 * (1 + place)
    return np.stack([np.cos(angle) * sound, np.sin(angle) * sound])
