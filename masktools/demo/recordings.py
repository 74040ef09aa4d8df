"""The synthesised recordings of the demonstration, and the damage to be restored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.signal import butter, kaiserord, lfilter, oaconvolve, sosfilt, sosfiltfilt

from masktools.core.errors import ParameterError


def band_noise(n: int, low_hz: float, high_hz: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return n samples of noise between two frequencies, of root mean square 1."""
    sos = butter(2, (low_hz, min(high_hz, 0.499 * sample_rate)), "bandpass", fs=sample_rate, output="sos")
    noise = np.asarray(sosfilt(sos, rng.standard_normal(n + sample_rate // 20)))[-n:]  # the filter has settled
    return noise / np.sqrt(np.mean(noise**2))


def add_at(mix: np.ndarray, sound: np.ndarray, at_s: float, sample_rate: int) -> None:
    """Add a sound (..., t) to a mix in place; it is cut at the end of the mix."""
    start = round(at_s * sample_rate)
    n = max(0, min(sound.shape[-1], mix.shape[-1] - start))
    mix[..., start : start + n] += sound[..., :n]


def with_room(dry: np.ndarray, sample_rate: int, decay_s: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return sound (channels, t) with reverberation: exponentially decaying noise, different in each channel.

    Args:
        dry: the sound without reverberation.
        sample_rate: sampling rate in Hz.
        decay_s: reverberation time (60 dB) in seconds.
        share: level of the reverberation relative to the sound, from 0.
        rng: random generator of the noise.
    """
    n, time_s = dry.shape[-1], np.arange(round(decay_s * sample_rate)) / sample_rate
    echo = rng.standard_normal((len(dry), len(time_s))) * 10 ** (-3 * time_s / decay_s)
    echo[:, : sample_rate // 100] = 0.0  # the nearest wall is at 3 m distance
    echo /= np.sqrt(np.sum(echo**2, axis=1, keepdims=True))
    return dry + share * oaconvolve(dry, echo, axes=-1)[:, :n]


def finish(mix: np.ndarray, sample_rate: int, peak: float = 0.7) -> np.ndarray:
    """Return a mix (channels, t) as float32 without DC offset, normalised to a peak, with fades of 20 ms."""
    mix = mix - mix.mean(axis=-1, keepdims=True)
    ramp = np.linspace(0.0, 1.0, sample_rate // 50)
    mix[..., : len(ramp)] *= ramp
    mix[..., -len(ramp) :] *= ramp[::-1]
    return (peak * mix / np.abs(mix).max()).astype(np.float32)


MUSIC_RATE = 44_100
BEAT_S = 0.5
BARS = 2 * ((57, 60, 64, 69), (55, 59, 62, 67))  # A minor and G in MIDI notes; no string is plucked twice the same way
ARPEGGIO = (0, 1, 2, 3, 2, 1, 3, 2)  # index of the note in the chord, on each half beat
_MUSIC_S = 4 * len(BARS) * BEAT_S + 0.5


def pluck(midi: float, seconds: float, brightness: float, rng: np.random.Generator) -> np.ndarray:
    """Return a plucked string (t,): a burst of noise that a delay line repeats and dulls.

    Args:
        midi: pitch as a MIDI number, 69 for 440 Hz.
        seconds: length of the sound in seconds.
        brightness: share of the burst's treble that is kept, in (0, 1].
        rng: random generator of the burst.

    Source: Karplus and Strong, Digital synthesis of plucked-string and drum timbres (1983), Eq. 1.
    """
    period = MUSIC_RATE / (440 * 2 ** ((midi - 69) / 12))  # samples
    n, delay = round(seconds * MUSIC_RATE), round(period)
    burst = rng.uniform(-1, 1, delay)
    burst = brightness * burst + (1 - brightness) * np.convolve(burst, np.ones(8) / 8, "same")
    decay = 0.001 ** (period / MUSIC_RATE / 2.5)  # down by 60 dB in 2.5 s, the treble sooner
    turns = [np.append(0.0, burst - burst.mean())]
    for _ in range(int(1.02 * n / delay) + 2):
        before = turns[-1]
        now = decay * 0.5 * (before[1:] + before[:-1])  # Eq. 1
        turns.append(np.append(before[-1], now))
    string = np.concatenate([turn[1:] for turn in turns])
    exact = np.arange(n) * (delay + 0.5) / period  # the loop is half a sample longer than its delay
    return np.interp(exact, np.arange(len(string)), string)


def play_music() -> tuple[np.ndarray, int]:
    """Return the piece, (2, t) float32 of 8.5 s, and its sample rate."""
    rng = np.random.default_rng(1983)
    mix = np.zeros((2, round(_MUSIC_S * MUSIC_RATE)))
    for bar, chord in enumerate(BARS):
        bar_s = 4 * BEAT_S * bar
        for step, which in enumerate(ARPEGGIO):
            at_s = bar_s + step * BEAT_S / 2
            string = pluck(chord[which] + 12 * (step == 6), 1.6, 0.8, rng)
            add_at(mix, _panned(0.8 * string, (-0.6, 0.6)[step % 2]), at_s, MUSIC_RATE)
        for note in chord:  # the chord itself, strummed
            add_at(mix, _panned(0.45 * pluck(note, 2.0, 0.4, rng), 0.0), bar_s + 0.004 * (note % 12), MUSIC_RATE)
        for beat, midi in ((0, chord[0] - 24), (1.5, chord[0] - 24), (2, chord[0] - 12), (3, chord[1] - 24)):
            add_at(mix, _panned(_bass(midi), 0.0), bar_s + beat * BEAT_S, MUSIC_RATE)
        _drums(mix, bar_s, rng)
    return finish(with_room(mix, MUSIC_RATE, 0.9, 0.25, rng), MUSIC_RATE), MUSIC_RATE


def _bass(midi: float) -> np.ndarray:
    time_s = np.arange(round(0.45 * MUSIC_RATE)) / MUSIC_RATE
    phase = 2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * time_s
    partials = sum(np.sin(k * phase) * np.exp(-k * 2.2 * time_s) / k for k in range(1, 9))
    return 0.22 * np.tanh(1.5 * partials) * np.minimum(1, time_s / 0.004) * np.minimum(1, (0.45 - time_s) / 0.05)


def _drums(mix: np.ndarray, bar_s: float, rng: np.random.Generator) -> None:
    time_s = np.arange(round(0.25 * MUSIC_RATE)) / MUSIC_RATE
    kick = np.sin(2 * np.pi * (48 * time_s + 3.2 * (1 - np.exp(-time_s * 30)))) * np.exp(-14 * time_s)
    for beat in (0, 2, 2.5):
        add_at(mix, _panned(0.5 * kick, 0.0), bar_s + beat * BEAT_S, MUSIC_RATE)
    for beat in (1, 3):
        rattle = band_noise(len(time_s), 900, 12_000, MUSIC_RATE, rng) * np.exp(-22 * time_s)
        skin = np.sin(2 * np.pi * 190 * time_s) * np.exp(-28 * time_s)
        add_at(mix, _panned(0.22 * rattle + 0.4 * skin, 0.1), bar_s + beat * BEAT_S, MUSIC_RATE)
    for half_beat in range(8):
        hat = band_noise(len(time_s), 6000, 16_000, MUSIC_RATE, rng) * np.exp(-(30 + 50 * (half_beat % 2)) * time_s)
        add_at(mix, _panned(0.1 * hat, 0.35), bar_s + half_beat * BEAT_S / 2, MUSIC_RATE)


def _panned(sound: np.ndarray, place: float) -> np.ndarray:
    """Return a sound (t,) in stereo, between -1 (left) and 1 (right), at constant power."""
    angle = np.pi / 4 * (1 + place)
    return np.stack([np.cos(angle) * sound, np.sin(angle) * sound])


RAIN_RATE = 44_100
DRIPS_S = (0.7, 1.45, 2.75, 3.3, 4.15, 4.8, 5.9, 6.35, 7.3)
_RAIN_S, _DROPS_PER_S, _LEAVES = 8.0, 900, 24


def play_rain() -> tuple[np.ndarray, int]:
    """Return the scene, (1, t) float32 of 8 s, and its sample rate."""
    rng = np.random.default_rng(1735)
    n = round(_RAIN_S * RAIN_RATE)
    mix = _patter(n, rng) + 0.35 * band_noise(n, 900, 9000, RAIN_RATE, rng)
    mix += 1.1 * _gusts(n, rng) * band_noise(n, 90, 550, RAIN_RATE, rng)
    for at_s in DRIPS_S:
        add_at(mix, _drip(rng), at_s, RAIN_RATE)
    return finish(with_room(mix[None], RAIN_RATE, 0.5, 0.15, rng), RAIN_RATE), RAIN_RATE


def _patter(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return drops on leaves: short rings of many pitches at random times, their levels log-normal."""
    mix = np.zeros(n)
    time_s = np.arange(round(0.012 * RAIN_RATE)) / RAIN_RATE
    for hz in np.geomspace(1100, 10_000, _LEAVES):
        hits = np.zeros(n)
        n_drops = rng.poisson(_DROPS_PER_S * _RAIN_S / _LEAVES)
        np.add.at(hits, rng.integers(0, n, n_drops), rng.choice([-1, 1], n_drops) * rng.lognormal(0, 0.9, n_drops))
        ring = np.exp(-(150 + 0.15 * hz) * time_s) * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time_s)
        mix += oaconvolve(hits, ring)[:n]
    return mix


def _gusts(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the slow course of the wind's strength, between 0.2 and 1."""
    slow = sosfiltfilt(butter(2, 0.4, fs=100, output="sos"), rng.standard_normal(n * 100 // RAIN_RATE + 1))
    slow = (slow - slow.min()) / (slow.max() - slow.min())
    return 0.2 + 0.8 * np.interp(np.arange(n) / RAIN_RATE, np.arange(len(slow)) / 100, slow) ** 2


def _drip(rng: np.random.Generator) -> np.ndarray:
    """Return a drop into water: the splash, and the bubble that rings a little higher as it shrinks."""
    time_s = np.arange(round(0.18 * RAIN_RATE)) / RAIN_RATE
    hz = rng.uniform(700, 1700)
    phase = 2 * np.pi * hz * (time_s + 1.2 * time_s**2)
    bubble = np.sin(phase) * np.exp(-32 * time_s) * np.minimum(1, time_s / 0.003)
    splash = band_noise(len(time_s), 2500, 12_000, RAIN_RATE, rng) * np.exp(-260 * time_s)
    return rng.uniform(6.0, 9.0) * bubble + 2.0 * splash


VOICE_RATE = 22_050
_FRAME = 110  # samples, 5 ms
_PAUSE_S = 0.34
_OPEN = 0.6  # share of a period in which the glottis is open


class Sound(NamedTuple):
    """One speech sound: formants and excitation."""

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


def play_voice() -> tuple[np.ndarray, int]:
    """Return "one" to "nine", (1, t) float32 of about 7 s, and their sample rate."""
    rng = np.random.default_rng(1952)
    pause = np.zeros(round(_PAUSE_S * VOICE_RATE))
    parts = [pause[: len(pause) // 2]]
    for number, word in enumerate(WORDS):
        parts += [_spoken(word, pitch_hz=132 - 3 * number, rng=rng), pause]
    dry = np.concatenate(parts)[None]
    hum = 0.0006 * np.abs(dry).max() * rng.standard_normal(dry.shape)  # no room is silent
    return finish(with_room(dry, VOICE_RATE, 0.35, 0.12, rng) + hum, VOICE_RATE), VOICE_RATE


def _spoken(word: tuple[tuple[str, int], ...], pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Return one word (t,): the course of each setting, then pulses and hiss through the vocal tract."""
    lengths = [max(2, round(ms * VOICE_RATE / 1000 / _FRAME)) for _, ms in word]
    sounds = [SOUNDS[name] for name, _ in word]
    tail = 8  # frames of the release
    n_frames = sum(lengths) + tail
    middles = np.cumsum(lengths) - np.array(lengths) / 2
    moving = np.arange(n_frames)
    formants = np.stack([np.interp(moving, middles, [sound.formants[k] for sound in sounds]) for k in range(3)])
    voice = _smoothed(np.append(np.repeat([sound.voice for sound in sounds], lengths), np.zeros(tail)))
    n = n_frames * _FRAME
    loudness = np.interp(np.arange(n) / _FRAME, moving + 0.5, voice)
    flow, pressure = _pulses(n, pitch_hz, rng)
    spoken = _through_tract(loudness * (pressure + 0.02 * flow * rng.standard_normal(n)), formants)
    spoken += 0.012 * loudness * flow * band_noise(n, 4000, 9000, VOICE_RATE, rng)  # breath, in the pitch's rhythm
    start = 0
    for sound, length in zip(sounds, lengths, strict=True):
        if sound.hiss:
            stop = min(n, start + (length + 2) * _FRAME)
            ramp = np.minimum(1, np.minimum(np.arange(stop - start), np.arange(stop - start)[::-1]) / (1.5 * _FRAME))
            spoken[start:stop] += sound.hiss * ramp * band_noise(stop - start, *sound.hiss_hz, VOICE_RATE, rng)
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
    phase = np.cumsum(pitch_hz * np.linspace(1.08, 0.86, n) * shake / VOICE_RATE) % 1
    opening = np.where(phase < _OPEN, phase / _OPEN, 0.0)
    flow = 27 / 4 * (opening**2 - opening**3)
    return flow, np.diff(flow, prepend=0.0) * VOICE_RATE / 2000


def _through_tract(source: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Return the source (t,) filtered by resonances in series, the lower three of them moving (3, frames).

    Source: Klatt, Software for a cascade/parallel formant synthesizer (1980), Eqs. 1 and 2.
    """
    out = source.copy()
    for hz, bandwidth_hz in zip(formants, (70, 90, 130), strict=True):
        state = np.zeros(2)
        for frame, centre in enumerate(hz):
            part = slice(frame * _FRAME, (frame + 1) * _FRAME)
            out[part], state = lfilter(*_resonance(centre, bandwidth_hz), out[part], zi=state)
    for hz, bandwidth_hz in ((3500, 200), (4500, 300)):  # the upper ones are fixed
        out = np.asarray(lfilter(*_resonance(hz, bandwidth_hz), out))
    return out


def _resonance(hz: float, bandwidth_hz: float) -> tuple[list[float], list[float]]:
    radius = np.exp(-np.pi * bandwidth_hz / VOICE_RATE)
    turn = 2 * radius * np.cos(2 * np.pi * hz / VOICE_RATE)
    return [1 - turn + radius**2], [1, -turn, radius**2]


_STOP_DB, _TRANSITION_HZ = 90.0, 250.0  # of the low-pass filter, which has -6 dB at the cutoff


@dataclass(frozen=True)
class Recording:
    """One synthesised recording, and its two kinds of damage."""

    name: str  # of its files
    title: str
    play: Callable[[], tuple[np.ndarray, int]]  # samples (channels, t) and their rate in Hz
    gaps: tuple[tuple[float, float], ...]  # start and end in seconds
    cutoff_hz: float

    def __post_init__(self) -> None:
        if not all(0 <= start_s < end_s for start_s, end_s in self.gaps):
            raise ParameterError(f"gaps must be (start, end) in seconds, start first, got {self.gaps}")
        if self.cutoff_hz <= _TRANSITION_HZ:
            raise ParameterError(f"cutoff_hz must be above {_TRANSITION_HZ:g} Hz, got {self.cutoff_hz:g} Hz")


RECORDINGS = (
    Recording("music", "Plucked strings, bass and drums", play_music, ((2.55, 2.95), (5.2, 6.2)), 5500.0),
    Recording("rain", "Rain, wind and drips", play_rain, ((1.8, 2.2), (4.5, 5.5)), 4000.0),
    Recording("voice", "A synthetic voice that counts", play_voice, ((1.76, 2.16), (4.3, 5.3)), 4000.0),
)


def with_gaps(samples: np.ndarray, sample_rate: int, gaps: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return samples (channels, t) with zeros in each gap of (start, end) seconds."""
    damaged = samples.copy()
    for start_s, end_s in gaps:
        damaged[:, round(start_s * sample_rate) : round(end_s * sample_rate)] = 0.0
    return damaged


def low_passed(samples: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return samples (channels, t) low-pass filtered at the cutoff, without delay.

    A linear-phase Kaiser filter: 90 dB down from 125 Hz above the cutoff on.
    """
    n_taps, beta = kaiserord(_STOP_DB, 2 * _TRANSITION_HZ / sample_rate)
    time = np.arange(-(n_taps // 2), n_taps // 2 + 1)  # samples
    share = 2 * cutoff_hz / sample_rate
    taps = share * np.sinc(share * time) * np.kaiser(len(time), float(beta))
    return oaconvolve(samples, taps.reshape(1, -1), mode="same", axes=-1).astype(np.float32)
