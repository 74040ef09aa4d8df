"""Recordings of a few classes that anyone can tell apart, with captions, and models that give them back."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from masktools.evaluation.clips import Clip
from masktools.model import Model, Result
from tests.tiny import SAMPLE_RATE, tiny_pipeline

SECONDS = 1.5
CLASSES = {"hum": 110.0, "beep": 880.0, "whistle": 3520.0}


def clip(label: str, seed: int, seconds: float = SECONDS, kind: str = "noises") -> Clip:
    """Return a trembling tone of a class over some noise."""
    rng = np.random.default_rng((seed, *label.encode()))
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    hertz = CLASSES[label] * 2 ** rng.uniform(-0.1, 0.1)
    wave = rng.uniform(0.1, 0.3) * np.sin(2 * np.pi * hertz * time_s) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time_s))
    wave += 0.01 * rng.standard_normal(len(time_s))
    return Clip(f"{label}-{seed}", wave.astype(np.float32), SAMPLE_RATE, kind, labels=(label,), caption=f"a {label}")


def clips(n_each: int, first: int = 0) -> list[Clip]:
    """Return as many clips of each class."""
    return [clip(label, first + number) for number in range(n_each) for label in CLASSES]


class Ear:
    """An embedder and encoder in one: the level of each class's band; a text is heard as its class."""

    name = "levels of three bands"
    dim = 3

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        halves = np.array_split(np.asarray(wave, np.float64), 2)
        hertz = [np.fft.rfftfreq(len(half), 1 / sample_rate) for half in halves]
        power = [np.abs(np.fft.rfft(half)) ** 2 / len(half) for half in halves]
        bands = [
            [p[(hz > 0.7 * centre) & (hz < 1.4 * centre)].sum() for centre in CLASSES.values()]
            for p, hz in zip(power, hertz, strict=True)
        ]
        return np.log10(np.array(bands) + 1.0)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.array([[float(label in text) for label in CLASSES] for text in texts])


def tiny_model(**settings) -> Model:
    return Model(tiny_pipeline(n_cols=8, **settings))


class Repeating(Model):
    """A model that answers with recordings: those of its captions in turn, or, unasked, any of them."""

    def __init__(self, recordings: Sequence[Clip]) -> None:
        super().__init__(tiny_pipeline(n_cols=8))
        self.recordings, self.asked = list(recordings), []

    def generate(self, prompts=None, n=1, seconds=None, **settings) -> list[Result]:
        self.asked.append((prompts, settings["solver"]))
        if prompts is None:
            chosen = [self.recordings[number % len(self.recordings)] for number in range(n)]
        else:
            known = {text: [one for one in self.recordings if one.caption == text] for text in prompts}
            chosen = [known[text][number % len(known[text])] for text in prompts for number in range(n)]
        return [Result(one.wave, one.sample_rate, {}) for one in chosen]


def renamed(recordings: Sequence[Clip], captions: Sequence[str]) -> list[Clip]:
    """Return recordings with other captions."""
    return [replace(one, caption=caption) for one, caption in zip(recordings, captions, strict=True)]
