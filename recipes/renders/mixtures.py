"""Mixtures: music, speech and surroundings at once, at levels drawn by chance."""

from pathlib import Path

import numpy as np

from recipes.renders.levels import faded, scaled, typical_level_db
from recipes.renders.music import render_music
from recipes.renders.noises import NOISES, noise
from recipes.renders.rendered import OWN_LICENCE, Rendered
from recipes.renders.speech import render_speech

_COMBINATIONS = (("music", "speech"), ("music", "noise"), ("speech", "noise"), ("music", "speech", "noise"), ("noise",))
_WEIGHTS = (0.4, 0.25, 0.15, 0.12, 0.08)


def render_mixture(
    number: int, duration_s: float, sample_rate: int, rng: np.random.Generator, split: str, soundfont: Path
) -> Rendered:
    """Return a mixture.

    Args:
        number: Of the mixture, which chooses the style of its music.
        duration_s: In seconds.
        sample_rate: In Hz.
        rng: What draws everything.
        split: Whose voices.
        soundfont: The General MIDI bank.

    Raises:
        ParameterError: A program or the bank is missing, or a program fails.
    """
    n = round(duration_s * sample_rate)
    parts = _COMBINATIONS[rng.choice(len(_COMBINATIONS), p=_WEIGHTS)]
    mix, labels, described = np.zeros(n), list[str](), dict[str, str]()
    licence, voice = OWN_LICENCE, ""
    for part in parts:
        if part == "music":
            made = render_music(number, duration_s, sample_rate, rng, soundfont)
            sound, level_db, licence = made.wave, rng.uniform(-14, 2), made.licence
        elif part == "speech":
            made = render_speech(duration_s, sample_rate, rng, split, clean=True)
            sound, level_db, voice = made.wave, rng.uniform(-6, 4), made.voice
        else:
            made = _surroundings(n, sample_rate, rng)
            sound, level_db = made.wave, rng.uniform(-26, -2)
        mix[: len(sound)] += 10 ** (level_db / 20) * sound / (np.sqrt(np.mean(np.square(sound))) + 1e-12)
        labels += made.labels
        described[part] = made.caption
    wave = faded(scaled(mix, typical_level_db(rng), sample_rate), sample_rate)
    kept = tuple(label for label in dict.fromkeys(labels) if label not in ("loud", "quiet", "bright", "dark"))
    return Rendered(wave, kept, _caption(described), licence, voice)


def _surroundings(n: int, sample_rate: int, rng: np.random.Generator) -> Rendered:
    """Return one or two sounds of surroundings."""
    names = [str(name) for name in rng.permutation(list(NOISES))[: 2 if rng.random() < 0.3 else 1]]
    sound = sum((rng.uniform(0.3, 1.0) * noise(name, n, sample_rate, rng) for name in names), np.zeros(n))
    caption = " and ".join(name.replace("_", " ") for name in names)
    return Rendered(sound.astype(np.float32), tuple(names), caption.capitalize() + ".")


def _caption(described: dict[str, str]) -> str:
    """Return one sentence out of those about the parts, without what was measured of a part alone."""
    words = {part: text.removesuffix(".") for part, text in described.items()}
    if "music" in words:
        plain = [word for word in words["music"].split() if word not in ("loud", "quiet", "bright", "dark")]
        words["music"] = _with_article(" ".join(plain[1:]))
    for part in list(words)[1:]:
        words[part] = words[part][0].lower() + words[part][1:]
    if "speech" in words and "music" in words:
        speech = words["speech"][0].upper() + words["speech"][1:]
        behind = f", with {words['noise']}" if "noise" in words else ""
        return f"{speech} over {words['music'][0].lower()}{words['music'][1:]}{behind}."
    return ", with ".join(words.values()) + "."


def _with_article(text: str) -> str:
    return f"{'An' if text[0] in 'aeiou' else 'A'} {text}"
