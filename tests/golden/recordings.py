"""The recordings of the golden run: made by rule, with the damage that each job looks for."""

import json
from pathlib import Path

import numpy as np
import soundfile

__all__ = ["write_recordings"]

_KINDS = ("music", "environment", "speech")


def _notes(seconds: float, rate: int, seed: int) -> np.ndarray:
    """Return decaying chords over a drum of noise that repeat every second, (t,), peak near 0.6."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    beat = time_s % 0.5
    sound = 0.05 * rng.standard_normal(time_s.size) * np.exp(-20 * beat)
    for number, hertz in enumerate(220 * 2 ** (np.array([0, 3, 7, 12]) / 12)):
        for harmonic in range(1, 6):
            wave = np.sin(2 * np.pi * hertz * harmonic * time_s)
            sound += 0.12 / harmonic * wave * np.exp(-4 * ((time_s + 0.25 * number) % 1))
    return sound + 0.002 * rng.standard_normal(time_s.size)


def _low_passed(sound: np.ndarray, rate: int, hertz: float) -> np.ndarray:
    spectrum = np.fft.rfft(sound, axis=0)
    spectrum[round(hertz * len(sound) / rate) :] = 0
    return np.fft.irfft(spectrum, len(sound), axis=0)


def _gap(sound: np.ndarray, rate: int, start_s: float, stop_s: float) -> np.ndarray:
    sound = sound.copy()
    sound[round(start_s * rate) : round(stop_s * rate)] = 0
    return sound


def _stereo(seconds: float, rate: int, seed: int) -> np.ndarray:
    middle, side = _notes(seconds, rate, seed), 0.3 * _notes(seconds, rate, seed + 1)
    return np.stack([middle + side, middle - side], 1) * 0.7


def write_recordings(folder: Path) -> None:
    """Write what the commands of the golden run read."""
    tape = _gap(_gap(_notes(6, 22_050, 0), 22_050, 1.2, 1.23), 22_050, 3.0, 3.4)
    soundfile.write(folder / "tape.wav", tape, 22_050, "PCM_16")
    soundfile.write(folder / "stereo.flac", _gap(_stereo(5, 44_100, 2), 44_100, 2.0, 2.3), 44_100, "PCM_24")
    soundfile.write(folder / "dull.wav", _low_passed(_stereo(5, 48_000, 4), 48_000, 5_500), 48_000, "FLOAT")
    soundfile.write(folder / "phone.wav", _gap(_notes(4, 8_000, 6), 8_000, 1.5, 1.6), 8_000, "PCM_16")
    soundfile.write(folder / "whole.wav", _notes(4, 22_050, 7), 22_050, "PCM_16")
    soundfile.write(folder / "song.ogg", _stereo(4, 44_100, 8), 44_100)
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(range(200)))
    many = folder / "many"
    many.mkdir()
    for number in range(3):
        soundfile.write(many / f"take{number}.wav", _gap(_notes(2, 22_050, 10 + number), 22_050, 0.8, 1.1), 22_050)
    (folder / "labels.txt").write_text("1.200000\t1.230000\tfirst\n3.000000\t3.400000\tsecond\n", encoding="utf-8")
    (folder / "gaps.json").write_text(json.dumps({"gaps": [[1.2, 1.23], [3.0, 3.4]]}), encoding="utf-8")
    (folder / "prompts.txt").write_text("a dog barks\nrain falls\n", encoding="utf-8")
    _write_collection(folder / "collection")


def _write_collection(folder: Path) -> None:
    """Write twelve recordings of three kinds with a manifest of three splits."""
    folder.mkdir()
    rows = ["path,split,kind,labels,caption,origin,bandwidth_hz,nc"]
    for number in range(12):
        kind, split = _KINDS[number % 3], ("train", "train", "valid", "test")[number // 3]
        soundfile.write(folder / f"{number}.wav", _notes(4.5, 22_050, 20 + number), 22_050, "PCM_16")
        rows.append(f"{number}.wav,{split},{kind},{kind}{number % 2},A sound of {kind}.,real,11025,0")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
