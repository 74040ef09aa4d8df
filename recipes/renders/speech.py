"""Speech by espeak-ng: many voices that say made-up sentences, in rooms and with noise about them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masktools.core.errors import ParameterError
from masktools.io import read, resample
from recipes.renders.levels import faded, room, scaled
from recipes.renders.noises import NOISES, noise
from recipes.renders.programs import call
from recipes.renders.rendered import Rendered
from recipes.renders.words import LANGUAGES, sentence

_WOMEN = "f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda linda steph steph2 steph3 grandma whisperf"
_MEN = (
    "m1 m2 m3 m4 m5 m6 m7 m8 adam Alex Andy antonio benjamin boris caleb david Denis Diogo ed edward edward2 "
    "Gene Gene2 grandpa Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta Lee marcelo Marco Mario max "
    "Michael michel miguel Mike norbert pablo paul pedro quincy rob robert sandro shelby Storm travis victor "
    "whisper zac"
)
_ROBOTS = "announcer robosoft robosoft2 robosoft3 robosoft5 robosoft7 RicishayMax RicishayMax2 klatt2 klatt4 UniRobot"


@dataclass(frozen=True)
class Voice:
    """One voice of espeak-ng."""

    variant: str  # its name there
    speaker: str  # what a caption calls it


VOICES: tuple[Voice, ...] = tuple(
    Voice(variant, speaker)
    for speaker, variants in (("woman", _WOMEN), ("man", _MEN), ("robot", _ROBOTS))
    for variant in variants.split()
)
"""All voices."""

_PLURALS = {"woman": "women", "man": "men", "robot": "robots"}
_LONGEST_PAUSE_S = 2.5
_KINDS, _KIND_WEIGHTS = ("sentences", "commands", "digits"), (0.65, 0.2, 0.15)


def voices_of(split: str) -> tuple[Voice, ...]:
    """Return the voices of a split; no voice is in two."""
    of_turn = {5: "valid", 11: "test"}
    return tuple(voice for i, voice in enumerate(VOICES) if of_turn.get(i % 12, "train") == split)


def render_speech(
    duration_s: float, sample_rate: int, rng: np.random.Generator, split: str, clean: bool = False
) -> Rendered:
    """Return somebody speaking, or two who talk.

    Args:
        duration_s: In seconds.
        sample_rate: In Hz.
        rng: What draws everything.
        split: Whose voices.
        clean: Whether to leave out noise, as for mixtures.

    Raises:
        ParameterError: espeak-ng is missing or fails.
    """
    choices = voices_of(split)
    speakers = [choices[i] for i in rng.permutation(len(choices))[: 2 if rng.random() < 0.2 else 1]]
    name = "english" if rng.random() < 0.55 else str(rng.choice(list(LANGUAGES)))
    kind = str(rng.choice(_KINDS, p=_KIND_WEIGHTS))
    manners = [_Manner.drawn(voice, str(rng.choice(LANGUAGES[name].accents)), rng) for voice in speakers]
    n, at, turn = round(duration_s * sample_rate), round(rng.uniform(0, 0.5) * sample_rate), 0
    wave = np.zeros(n)
    pause_s = rng.uniform(0.15, 1.0)
    while at < n:
        said = manners[turn % len(manners)].say(sentence(LANGUAGES[name], kind, rng), sample_rate)
        part = wave[at : at + len(said)]
        part += said[: len(part)]
        at += len(said) + round(min(_LONGEST_PAUSE_S, rng.exponential(pause_s)) * sample_rate)
        turn += rng.random() < 0.7
    if rng.random() < 0.6:
        wave = room(wave, sample_rate, rng.uniform(0.1, 1.2), rng.uniform(0.05, 0.6), rng)
    wave /= np.sqrt(np.mean(wave**2)) + 1e-12
    wave += 10 ** (-rng.uniform(45, 80) / 20) * noise("noise", n, sample_rate, rng)  # of the microphone
    if not clean and rng.random() < 0.4:
        wave += 10 ** (-rng.uniform(12, 35) / 20) * noise(str(rng.choice(list(NOISES))), n, sample_rate, rng)
    wave = faded(scaled(wave, rng.normal(-21, 4), sample_rate), sample_rate)
    caption = _caption(speakers, LANGUAGES[name].name, kind, rng)
    return Rendered(wave, _labels(name, kind), caption, voice=speakers[0].variant)


@dataclass(frozen=True)
class _Manner:
    """How one speaker speaks."""

    voice: str
    words_a_minute: int
    pitch: int
    word_gap: int  # in 10 ms

    @classmethod
    def drawn(cls, voice: Voice, accent: str, rng: np.random.Generator) -> "_Manner":
        speed = int(np.clip(rng.normal(155, 30), 90, 260))
        return cls(f"{accent}+{voice.variant}", speed, int(rng.integers(15, 85)), int(rng.choice((0, 0, 1, 4))))

    def say(self, text: str, sample_rate: int) -> np.ndarray:
        """Return a text as speech (t,)."""
        with tempfile.TemporaryDirectory(prefix="masktools-render-") as folder:
            path = Path(folder, "speech.wav")
            how = ["-v", self.voice, "-s", str(self.words_a_minute), "-p", str(self.pitch), "-g", str(self.word_gap)]
            call("espeak-ng", [*how, "-b", "1", "--stdin", "-w", str(path)], text=text)
            if not path.is_file():
                raise ParameterError(f"espeak-ng said nothing with the voice {self.voice}: is its package complete?")
            audio = read(path)
        return resample(audio.samples[0], audio.sample_rate, sample_rate)


def _labels(language: str, kind: str) -> tuple[str, ...]:
    return ("speech", language, *(("spoken_digit",) if kind == "digits" else ()))


def _caption(speakers: list[Voice], language: str, kind: str, rng: np.random.Generator) -> str:
    who = f"A {speakers[0].speaker}"
    if len(speakers) > 1:
        both = [voice.speaker for voice in speakers]
        pair = f"Two {_PLURALS[both[0]]}" if both[0] == both[1] else f"{who} and a {both[1]}"
        return f"{pair} talk in {language}."
    if kind == "digits":
        return f"{who} says digits in {language}." if rng.random() < 0.7 else f"{who} counts in {language}."
    if kind == "commands":
        return f"{who} gives commands in {language}."
    verb = rng.choice(("speaks", "talks in", "reads aloud in", "is speaking in"))
    return f"{who} {verb} {language}."
