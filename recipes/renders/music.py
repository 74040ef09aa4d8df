"""Composed pieces rendered with a General MIDI bank by fluidsynth, described by rule."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from masktools.core.errors import ParameterError
from masktools.io import read, resample
from recipes.renders.chip import play_chip
from recipes.renders.composer import Piece, compose
from recipes.renders.levels import centroid_hz, faded, rms_db, scaled, typical_level_db
from recipes.renders.midi import midi_file
from recipes.renders.programs import call
from recipes.renders.rendered import BANK_LICENCE, OWN_LICENCE, Rendered
from recipes.renders.styles import STYLES

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""The bank of Debian's package fluid-soundfont-gm."""

_SYNTH_RATE = 44_100  # Hz
_QUIET_DB, _LOUD_DB, _DARK_HZ, _BRIGHT_HZ = -20.4, -15.6, 1170.0, 1510.0  # thirds of the training music
_SLOW, _FAST = 2.5, 5.5  # onsets a second


def render_music(
    number: int, duration_s: float, sample_rate: int, rng: np.random.Generator, soundfont: Path
) -> Rendered:
    """Return a piece of music; numbers in turn go through all the styles.

    Args:
        number: Of the piece, from 0.
        duration_s: In seconds.
        sample_rate: In Hz.
        rng: What composes it.
        soundfont: The General MIDI bank.

    Raises:
        ParameterError: fluidsynth or the bank is missing, or fluidsynth fails.
    """
    order = np.random.default_rng(number // len(STYLES)).permutation(len(STYLES))
    style = STYLES[order[number % len(STYLES)]]
    piece = compose(style, duration_s, rng)
    if rng.random() < style.chip:
        piece, licence = _for_chip(piece), OWN_LICENCE
        played = play_chip(piece, sample_rate, rng)
    else:
        licence = BANK_LICENCE if soundfont.name == SOUNDFONT.name else f"that of {soundfont.name}"
        played = synthesise(piece, sample_rate, soundfont, rng)
    wave = _treated(played[: round(duration_s * sample_rate)], sample_rate, rng)
    wave = faded(scaled(wave, typical_level_db(rng), sample_rate), sample_rate)
    measured = _measured(piece, wave, sample_rate)
    labels = tuple(dict.fromkeys((*piece.labels, *measured)))
    return Rendered(wave, labels, _caption(piece, measured, rng), licence)


def _for_chip(piece: Piece) -> Piece:
    """Return a piece that is named after what plays it."""
    plain = [label for label in piece.labels if label not in piece.instruments]
    instruments = ("synth", "drums") if "drums" in piece.instruments else ("synth",)
    noun = piece.noun if "chiptune" in piece.noun else f"chiptune {piece.noun.removeprefix('game ')}"
    return replace(
        piece, noun=noun, labels=tuple(dict.fromkeys(("chiptune", *plain, *instruments))), instruments=instruments
    )


def synthesise(piece: Piece, sample_rate: int, soundfont: Path, rng: np.random.Generator) -> np.ndarray:
    """Return a piece as fluidsynth plays it, mono (t,), with or without reverb and chorus.

    Raises:
        ParameterError: fluidsynth or the bank is missing, or fluidsynth fails.
    """
    if not soundfont.is_file():
        raise ParameterError(
            f"no General MIDI bank at {soundfont}: apt-get install fluid-soundfont-gm, or name another"
        )
    reverb, chorus = rng.random() < 0.7, rng.random() < 0.5
    settings = {
        "synth.reverb.active": int(reverb),
        "synth.chorus.active": int(chorus),
        "synth.reverb.room-size": f"{rng.uniform(0.1, 0.9):.2f}",
        "synth.reverb.level": f"{rng.uniform(0.2, 0.9):.2f}",
        "synth.reverb.damp": f"{rng.uniform(0.0, 0.8):.2f}",
        "synth.dynamic-sample-loading": 1,
        "audio.file.format": "float",
        "audio.file.type": "wav",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    with tempfile.TemporaryDirectory(prefix="masktools-render-") as folder:
        score, sound = Path(folder, "piece.mid"), Path(folder, "piece.wav")
        score.write_bytes(midi_file(piece.parts, piece.tempo))
        rate = ["-r", str(_SYNTH_RATE), "-g", "0.5"]
        call("fluidsynth", ["-n", "-i", "-q", *rate, *options, "-F", str(sound), str(soundfont), str(score)])
        if not sound.is_file():
            raise ParameterError(f"fluidsynth rendered nothing with {soundfont}: is it a SoundFont of General MIDI?")
        samples = read(sound).samples
    mono = samples.mean(axis=0)
    return resample(mono, _SYNTH_RATE, sample_rate)


def _treated(wave: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return some waves as they are, some with more or less treble, some driven hard."""
    kind = rng.random()
    if kind < 0.45:
        return wave
    wave = wave.astype(np.float64)
    if kind < 0.9:  # a tilt about 1 kHz
        spectrum = np.fft.rfft(wave)
        frequencies = np.fft.rfftfreq(len(wave), 1 / sample_rate)
        octaves = np.log2(np.clip(frequencies, 100, None) / 1000)
        return np.fft.irfft(spectrum * 10 ** (rng.uniform(-4.0, 1.0) * octaves / 20), len(wave))
    drive = rng.uniform(1.5, 5.0) / (np.abs(wave).max() + 1e-9)
    return np.tanh(wave * drive)


def _measured(piece: Piece, wave: np.ndarray, sample_rate: int) -> tuple[str, ...]:
    """Return the words that fit what was measured: of pace, level and brightness."""
    level, centroid, pace = rms_db(wave), centroid_hz(wave, sample_rate), piece.onsets_per_s
    words = ["slow"] if pace < _SLOW else ["fast"] if pace > _FAST else []
    words += ["quiet"] if level < _QUIET_DB else ["loud"] if level > _LOUD_DB else []
    words += ["dark"] if centroid < _DARK_HZ else ["bright"] if centroid > _BRIGHT_HZ else []
    return tuple(words)


def _caption(piece: Piece, measured: tuple[str, ...], rng: np.random.Generator) -> str:
    """Return a sentence about a piece: some of what was measured, what it is, and perhaps what plays and its mode."""
    told = [word for word in measured if rng.random() < 0.7]
    names = [name.replace("_", " ") for name in piece.instruments]
    names = [name for name in names if name.removesuffix("s") not in piece.noun]
    if piece.noun == "solo" and names:
        what, names = f"{names[0]} solo", names[1:]
    else:
        what = piece.noun
    if len(piece.instruments) == 1 and names and not piece.noun.startswith("percussion") and rng.random() < 0.7:
        what, names = f"{names[0]} {what}", []
    adjectives = " ".join([*told, what])
    article = "An" if adjectives[0] in "aeiou" else "A"
    sentence = f"{article} {adjectives}"
    chosen = [names[i] for i in sorted(rng.permutation(len(names))[: rng.integers(0, 4)])]
    if chosen and "with" not in what:
        listed = chosen[0] if len(chosen) == 1 else f"{', '.join(chosen[:-1])} and {chosen[-1]}"
        sentence += f" with {listed}"
    if "percussion" not in piece.labels and rng.random() < 0.15:
        sentence += f" in a {'minor' if piece.key.is_minor else 'major'} key"
    return f"{sentence}."
