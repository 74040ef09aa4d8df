"""A small classifier of notes by pitch and family: names generated notes, and evaluates them.

Source: the role is that of the two classifiers of Nistal et al. (arXiv:2006.09266); here one trunk has two heads.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel

__all__ = ["NoteClassifier", "NoteClassifierConfig", "NoteGuess"]


class NoteGuess(NamedTuple):
    """Output of a classifier for notes."""

    pitch: Tensor  # logits (b, n_pitches)
    family: Tensor  # logits (b, n_families)


@dataclass(frozen=True)
class NoteClassifierConfig:
    """Settings of the classifier, and its accuracy."""

    n_mels: int = 80
    lowest: int = 21  # MIDI number of the first pitch
    n_pitches: int = 88
    families: tuple[str, ...] = ()
    widths: tuple[int, ...] = (24, 48, 96)
    dropout: float = 0.1
    accuracy: tuple[float, float] | None = None  # of pitch and family, on notes of instruments it was not trained on

    def __post_init__(self) -> None:
        """Check every range."""
        if min(self.n_mels, self.n_pitches, *self.widths, len(self.widths)) < 1 or len(self.families) < 2:
            raise ParameterError(
                f"a classifier needs bins, pitches, widths and 2 families at least, got {self.n_mels}, "
                f"{self.n_pitches}, {self.widths} and {self.families}"
            )


class NoteClassifier(nn.Module):
    """Spectrograms (b, f, m) -> logits of pitch and of family. The frequency axis is never pooled."""

    def __init__(self, config: NoteClassifierConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for n_in, n_out in zip((1, *config.widths), config.widths, strict=False):
            # Every layer pools over time, none over frequency, where position means pitch.
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.GroupNorm(1, n_out), nn.SiLU(), nn.MaxPool2d((1, 2))]
        self.trunk = nn.Sequential(*layers)
        self.squeeze = nn.Conv1d(config.widths[-1], 16, 1)
        self.mixed = nn.Sequential(nn.Linear(16 * config.n_mels, 256), nn.SiLU(), nn.Dropout(config.dropout))
        self.pitch = nn.Linear(256, config.n_pitches)
        self.family = nn.Linear(256, len(config.families))

    def forward(self, mel: Mel) -> NoteGuess:
        """Return the logits of notes."""
        cells = self.trunk(mel.unsqueeze(1)).mean(dim=3)
        mixed = self.mixed(self.squeeze(cells).flatten(1))
        return NoteGuess(self.pitch(mixed), self.family(mixed))

    @torch.no_grad()
    def guess(self, mel: Mel, batch_size: int = 64) -> NoteGuess:
        """Return the logits of many notes, in batches."""
        made = [self(part) for part in mel.split(batch_size)]
        return NoteGuess(torch.cat([one.pitch for one in made]), torch.cat([one.family for one in made]))
