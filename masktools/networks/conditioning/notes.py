"""Notes as conditions: words for an instrument and a pitch -> a unit vector, without weights.

A vector has an entry for each pitch, each instrument and each family; where nothing is given all entries are zero.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masktools.core.arguments import checked_name
from masktools.core.errors import ParameterError
from masktools.networks.conditioning.prompts import check_texts

NOTE_FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal",
)  # fmt: skip
"""The families of NSynth, in its order."""

_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_PITCH = re.compile(r"(?<![a-z0-9])([a-g])(##?|bb?|♯|♭)?(-1|\d)(?![0-9])", re.IGNORECASE)
_NUMBER = re.compile(r"\bmidi\s*(?:note\s*)?(\d{1,3})\b", re.IGNORECASE)


def pitch_of(text: str) -> int | None:
    """Return the MIDI number of the first pitch in a text, None for none; C4 is 60.

    >>> [pitch_of(text) for text in ("a clarinet, C4", "Bb3", "midi 21", "a flute")]
    [60, 58, 21, None]
    """
    if number := _NUMBER.search(text):
        return int(number[1])
    if (found := _PITCH.search(text)) is None:
        return None
    shift = {"#": 1, "♯": 1, "##": 2, "b": -1, "♭": -1, "bb": -2}.get((found[2] or "").lower(), 0)
    return 12 * (int(found[3]) + 1) + _STEPS[found[1].lower()] + shift


def pitch_name(pitch: int) -> str:
    """Return the name of a MIDI number.

    >>> pitch_name(60), pitch_name(22)
    ('C4', 'A#0')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


@dataclass(frozen=True)
class NoteWordsConfig:
    """Instruments of a note model, each with its family, and the range of its pitches."""

    instruments: tuple[tuple[str, str], ...] = tuple((name, name) for name in NOTE_FAMILIES)
    lowest: int = 21  # MIDI
    highest: int = 108

    def __post_init__(self) -> None:
        """Check that there are instruments, each once, and pitches."""
        names = [name for name, _ in self.instruments]
        if not names or len(set(names)) < len(names) or not all(name and family for name, family in self.instruments):
            raise ParameterError(f"instruments must be one at least, each with a family and there once, got {names}")
        if not 0 <= self.lowest <= self.highest <= 127:
            raise ParameterError(f"0 <= lowest <= highest <= 127 must hold, got {self.lowest} and {self.highest}")

    @property
    def families(self) -> tuple[str, ...]:
        """The families, in alphabetical order."""
        return tuple(sorted({family for _, family in self.instruments}))

    @property
    def n_pitches(self) -> int:
        """Pitches from the lowest to the highest."""
        return self.highest - self.lowest + 1


class NoteWords(nn.Module):
    """Conditioner for texts such as "a clarinet, C4", or for the classes of a note: conditions (b, dim) of unit norm.

    It has no weights; its settings define it.
    """

    def __init__(self, config: NoteWordsConfig) -> None:
        super().__init__()
        self.config = config
        self._family_of = dict(config.instruments)
        words = sorted({*self._family_of, *config.families}, key=len, reverse=True)
        self._patterns = [(re.compile(rf"\b{re.escape(word).replace('_', '[ _-]')}s?\b", re.I), word) for word in words]

    @property
    def dim(self) -> int:
        """Dimensions of a condition."""
        return self.config.n_pitches + len(self.config.instruments) + len(self.config.families)

    def vector(self, pitch: int | None = None, instrument: str | None = None, family: str | None = None) -> Tensor:
        """Return the condition (dim,) of a note: zero without arguments.

        Args:
            pitch: MIDI number; None for any.
            instrument: a name in the settings; None for any, possibly of a family.
            family: family of the instrument, if no instrument is given.

        Raises:
            ParameterError: a pitch, an instrument or a family that the model does not know.
        """
        own, found = self.config, torch.zeros(self.dim)
        if pitch is not None:
            if not own.lowest <= pitch <= own.highest:
                raise ParameterError(
                    f"a pitch must lie from {pitch_name(own.lowest)} ({own.lowest}) to {pitch_name(own.highest)} "
                    f"({own.highest}), got {pitch_name(pitch)} ({pitch})"
                )
            found[pitch - own.lowest] = 1.0
        if instrument is not None:
            checked_name("instrument", instrument, self._family_of)
            found[own.n_pitches + list(self._family_of).index(instrument)] = 1.0
            family = self._family_of[instrument]
        if family is not None:
            checked_name("family", family, own.families)
            found[own.n_pitches + len(own.instruments) + own.families.index(family)] = 1.0
        return torch.nn.functional.normalize(found, dim=0)

    def classes(self, text: str) -> tuple[int | None, str | None, str | None]:
        """Return the pitch, the instrument and the family in a text, None for what it leaves open.

        Raises:
            ParameterError: it contains nothing that the model knows.
        """
        words = [word for pattern, word in self._patterns if pattern.search(_PITCH.sub(" ", text))]
        instrument = next((word for word in words if word in self._family_of), None)
        family = next((word for word in words if word in self.config.families), None)
        pitch = pitch_of(text)
        if pitch is None and instrument is None and family is None:
            known = ", ".join(self._family_of)
            raise ParameterError(f"{text!r} names no note: give a pitch such as C4, or an instrument of {known}")
        return pitch, instrument, None if instrument is not None else family

    def embed_text(self, texts: list[str]) -> Tensor:
        """Return the condition (b, dim) of each text.

        Raises:
            ParameterError: a text that is empty or contains nothing that the model knows.
        """
        check_texts(texts)
        return torch.stack([self.vector(*self.classes(text)) for text in texts])

    def embed_audio(self, wave: Tensor, sample_rate: int) -> Tensor:
        """Raise: notes are conditioned by words only.

        Raises:
            ParameterError: always.
        """
        raise ParameterError("this model is told notes by words, such as 'a clarinet, C4': it reads no sounds")


def instruments_of(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the instruments of notes, each once, in alphabetical order; the first family counts."""
    first: dict[str, str] = {}
    for name, family in sorted(pairs):
        first.setdefault(name, family)
    return tuple(first.items())
