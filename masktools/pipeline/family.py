"""What jobs may ask of any model, whatever its parts: its shape, its jobs, the ways between wave and tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from masktools.conditioning import Prompts
from masktools.grid import Columns
from masktools.mel import MelConfig
from masktools.pipeline.progress import Progress
from masktools.shapes import Mask, Mel, Tokens, Wave
from masktools.solver import Plan, SolveResult

__all__ = ["JOBS", "Walk", "WalkShape"]

JOBS = {
    "generate": "make audio from nothing or from a text",
    "inpaint": "fill gaps in time",
    "continue": "go on after the end of a recording",
    "loop": "make a recording a loop",
    "bwe": "extend the bandwidth",
    "repair": "repair stretches of time and frequency",
    "embed": "embed recordings",
}
"""What models can do, by name."""


@dataclass(frozen=True)
class WalkShape:
    """The sizes of a model's tokens."""

    n_stages: int  # decodings, one after the other, that fill a grid
    n_rows: int  # tokens of a column
    n_codes: int
    window_cols: int  # columns that are decoded at once
    column_samples: int
    has_bands: bool  # whether rows are bands of frequency, and cells of a mel spectrogram stand behind tokens
    reach_cols: int = 0  # columns beside a gap whose tokens hear it


@runtime_checkable
class Walk(Protocol):
    """A model on a device. Tokens are (b, rows, columns); its mel settings are those in which results are judged."""

    name: str
    mel: MelConfig
    device: torch.device
    precision: torch.dtype
    batch_size: int
    folder: Path | None
    on_solved: Callable[[SolveResult], object] | None

    @property
    def decoding(self) -> Mapping[str, Plan]:
        """The settings of the decoding that suit it, by job."""
        ...

    @property
    def jobs(self) -> frozenset[str]:
        """What it can do, names in ``JOBS``."""
        ...

    @property
    def shape(self) -> WalkShape:
        """The sizes of its tokens."""
        ...

    @property
    def grid(self) -> Columns:
        """Where its token columns lie in time."""
        ...

    @property
    def sample_rate(self) -> int:
        """The model's rate in Hz."""
        ...

    @property
    def window_cols(self) -> int:
        """Columns that are decoded at once."""
        ...

    @property
    def window_samples(self) -> int:
        """Samples of a full window, at the model's rate."""
        ...

    @property
    def parts(self) -> dict[str, Any]:
        """The parts by name, None for one that it goes without."""
        ...

    def to_mel(self, wave: Wave) -> Mel:
        """Return the mel spectrogram of waves at the model's rate."""
        ...

    def encode(self, wave: Wave) -> Tokens:
        """Return the tokens of waves at the model's rate; the last column is filled up."""
        ...

    def decode(self, tokens: Tokens, n_samples: int | None = None) -> Wave:
        """Return the waves that tokens stand for, cut after n_samples if that is given."""
        ...

    def condition(self, prompts: Prompts | None) -> Tensor | None:
        """Return the conditions of texts or embeddings, one for each along the first axis; None for none."""
        ...

    def fill(
        self,
        tokens: Tokens,
        mask: Mask,
        seeds: Sequence[int],
        solver: Plan = ...,
        condition: Tensor | None = None,
        overlap_cols: int | None = None,
        progress: Progress | None = None,
    ) -> SolveResult:
        """Return tokens without masked ones."""
        ...
