"""What jobs may ask of any model, whatever its parts; whether parts are of one model; progress of a job."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.errors import BundleError, MelMismatchError, ParameterError
from masktools.core.runtime import has_fast_bf16, in_batches, to_device
from masktools.core.shapes import Mask, Mel, Tokens, Wave
from masktools.mel import MelConfig, MelFrontEnd, differing_fields
from masktools.mel.grid import Columns
from masktools.networks.conditioning import Conditioner, Prompts
from masktools.networks.transformer import MaskedTransformer
from masktools.solver import Plan, SolveResult

Progress = Callable[[int, int], object]
"""Called with (steps done, steps in all) while something is computed."""


def share_of(progress: Progress | None, index: int, n_parts: int) -> Progress | None:
    """Return the callback for one of several equal parts of a job."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, n_parts * total)


class Counter:
    """Counts predictions and tells how far they have come."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        """Count one prediction."""
        self.done = min(self.done + 1, self.total)
        self.progress(self.done, self.total)

    def finish(self) -> None:
        """Say that everything is done, where it took fewer predictions than foreseen."""
        if self.done < self.total:
            self.progress(self.total, self.total)


JOBS = {
    "generate": "make audio from nothing or from a text",
    "inpaint": "fill gaps in time",
    "continue": "go on after the end of a recording",
    "loop": "make a recording a loop",
    "bwe": "extend the bandwidth",
    "repair": "repair stretches of time and frequency",
    "embed": "embed recordings",
    "coarsen": "rebuild a recording of its coarse scales",
    "vary": "draw other detail for a recording",
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


class OnDevice:
    """What the walks of all families have in common: their window, their spectrogram, and how their parts compute."""

    mel: MelConfig
    device: torch.device
    precision: torch.dtype
    transformer: Any
    grid: Any
    front_end: MelFrontEnd
    batch_size: int  # clips that are computed at once

    @property
    def sample_rate(self) -> int:
        """The model's rate in Hz."""
        return self.mel.sample_rate

    @property
    def window_cols(self) -> int:
        """Columns that the transformer reads at once."""
        return self.transformer.config.n_cols

    @property
    def window_samples(self) -> int:
        """Samples of a full window, at the model's rate."""
        return self.window_cols * self.grid.column_samples

    def autocast(self, part: Any = None) -> AbstractContextManager[Any]:
        """Compute with a part, by default the transformer, in the model's precision inside the block.

        One that is packed sees to it itself.
        """
        dtype = self.precision
        if dtype == torch.int8:  # of the transformer; what has none of its own takes the next best
            dtype = torch.bfloat16 if has_fast_bf16() else torch.float32
        if dtype == torch.float32 or getattr(self.transformer if part is None else part, "packed", False):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)

    @torch.inference_mode()
    def to_mel(self, wave: Wave) -> Mel:
        """Return the spectrogram in whole frames; what the wave does not reach of the last one is silence.

        Raises:
            ParameterError: a wave without samples.
        """
        if not wave.numel():
            raise ParameterError("a wave must have at least one sample, got none")
        n_frames, hop = ceil(wave.shape[-1] / self.mel.hop_length), self.mel.hop_length
        shortest = self.mel.margin // hop + 1
        filled = F.pad(to_device(wave.float(), self.device), (0, max(n_frames, shortest) * hop - wave.shape[-1]))
        return self.front_end(filled)[..., :n_frames]

    def in_batches(self, compute: Callable[[slice], Tensor], n_clips: int) -> list[Tensor]:
        """Return what a function makes of clips, ``batch_size`` at a time, and fewer from when memory runs out.

        Raises:
            MasktoolsError: memory ran out for a single clip.
        """
        made, self.batch_size = in_batches(compute, n_clips, self.batch_size)
        return made


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


def check_mel_settings(ours: MelConfig, parts: Mapping[str, MelConfig]) -> None:
    """Refuse parts that were made for other mel settings.

    Raises:
        MelMismatchError: the message names the part and each field that differs, with both values.
    """
    for name, theirs in parts.items():
        fields = differing_fields(ours, theirs)
        if fields:
            listed = ", ".join(f"{field} {mine:g} and {other:g}" for field, (mine, other) in fields.items())
            raise MelMismatchError(
                f"parts must be made for the same mel settings, but the model and its {name} differ in {listed}: "
                f"take a {name} that was trained with the model's settings"
            )


def check_fit(
    mel: MelConfig, tokenizer: Any, transformer: MaskedTransformer, vocoder: Any, conditioner: Conditioner | None
) -> None:
    """Refuse parts that are not of one model.

    Raises:
        MelMismatchError: the vocoder was made for other mel settings.
        BundleError: sizes that must be the same are not.
    """
    check_mel_settings(mel, {"vocoder": vocoder.mel_config})
    config = transformer.config
    pairs = {
        "the tokenizer's mel bins and the model's": (tokenizer.n_rows * tokenizer.patch, mel.n_mels),
        "the codes of the tokenizer and of the transformer": (tokenizer.n_codes, config.n_codes),
        "the token rows of the tokenizer and of the transformer": (tokenizer.n_rows, config.n_rows),
    }
    if conditioner is not None:
        sizes = (conditioner.dim, config.condition_dim)
        pairs["the embeddings of the conditioner and those the transformer reads"] = sizes
    check_same(pairs)


def check_same(pairs: Mapping[str, tuple[int, int]]) -> None:
    """Refuse sizes that must be the same and are not; each pair is named by what it is the size of.

    Raises:
        BundleError: the message names the first that differ, with both values.
    """
    for what, (left, right) in pairs.items():
        if left != right:
            raise BundleError(f"{what} must be of one number, got {left} and {right}: these parts are of two models")
