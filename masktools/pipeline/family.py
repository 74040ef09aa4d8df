"""Base class of all models; checks that parts fit each other; progress of a job."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_least
from masktools.core.arrays import check_loudest
from masktools.core.errors import BundleError, MasktoolsError, MelMismatchError, ParameterError
from masktools.core.runtime import has_fast_bf16, in_batches, to_device
from masktools.core.shapes import Mask, Mel, Tokens, Wave, Window, stitch
from masktools.mel import MelConfig, MelFrontEnd, differing_fields
from masktools.networks.conditioning import Conditioner, Prompts, as_condition
from masktools.networks.grain import Grain
from masktools.solver import Plan, SolverConfig, SolveResult, stage_plan

Item = TypeVar("Item")

Progress = Callable[[int, int], object]
"""Called with (steps done, steps in total) while something is computed."""


def share_of(progress: Progress | None, index: int, n_parts: int) -> Progress | None:
    """Return the callback for one of several equal parts of a job."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, n_parts * total)


def watched(items: Sequence[Item], progress: Progress | None) -> Iterator[Item]:
    """Yield items, and report progress after each."""
    for number, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            progress(number, len(items))


class Counter:
    """Counts predictions and reports progress; None reports nothing."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        """Count one prediction."""
        self.done = min(self.done + 1, self.total)
        if self.progress is not None:
            self.progress(self.done, self.total)

    def finish(self) -> None:
        """Report that everything is done, even after fewer predictions than expected."""
        if self.done < self.total and self.progress is not None:
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
"""The jobs of models, by name."""


@dataclass(frozen=True)
class WalkShape:
    """Sizes of a model's tokens."""

    n_stages: int  # consecutive decodings that fill a grid
    n_rows: int  # tokens of a column
    n_codes: int
    window_cols: int  # columns in a window of the decoding
    column_samples: int
    has_bands: bool  # whether rows are frequency bands, and tokens cover cells of a mel spectrogram
    reach_cols: int = 0  # receptive field of tokens beside a gap, in columns


class Placed(TypedDict, total=False):
    """Arguments of a model: its name, its device and its precision."""

    name: str  # in reports
    decoding: Mapping[str, Plan] | None  # job -> its own decoding settings
    device: torch.device | str
    precision: torch.dtype
    batch_size: int  # clips computed at once; halved when memory runs out


_GRAIN_FRAMES = 4096  # computed at once
_FADE = 512  # samples of the cross-fade between windows of a vocoder or a decoder


class Walk(ABC):
    """A model on a device: wave <-> tokens (b, rows, columns), and the function that fills masked ones.

    The parts are put into evaluation mode, without gradients. Quality is measured with its mel settings.

    Args:
        mel: settings of the mel front end.
        parts: the parts by name, None for a missing one.
        **placed: name, device, precision and batch size.

    Raises:
        ParameterError: a batch size below 1.
    """

    jobs: ClassVar[frozenset[str]]  # names in ``JOBS`` that it supports
    transformer: Any
    conditioner: Conditioner | None
    grain: Grain | None = None
    grid: Any  # position of the token columns in time
    usual: Plan = SolverConfig()  # default decoding settings

    def __init__(self, mel: MelConfig, parts: Mapping[str, Any], **placed: Unpack[Placed]) -> None:
        self.mel, self.name = mel, placed.get("name", "unnamed")
        self.decoding: Mapping[str, Plan] = dict(placed.get("decoding") or {})
        self.device = torch.device(placed.get("device", "cpu"))
        self.precision, self.batch_size = placed.get("precision", torch.float32), placed.get("batch_size", 8)
        check_least(1, batch_size=self.batch_size)
        self.folder: Path | None = None  # of the bundle that it was loaded from
        self.on_solved: Callable[[SolveResult], object] | None = None  # called after every decoding
        self.front_end = MelFrontEnd(mel)
        self._parts = tuple(parts)
        for name, part in parts.items():
            setattr(self, name, part)
        self._check_fit()
        for part in (self.front_end, *parts.values()):
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(False).to(self.device)

    @abstractmethod
    def _check_fit(self) -> None:
        """Raise where parts do not fit each other."""

    @property
    def parts(self) -> dict[str, Any]:
        """The parts by name, None for a missing one."""
        return {name: getattr(self, name) for name in self._parts}

    @property
    @abstractmethod
    def shape(self) -> WalkShape:
        """Sizes of the tokens."""

    @property
    def sample_rate(self) -> int:
        """The model's rate in Hz."""
        return self.mel.sample_rate

    @property
    def window_cols(self) -> int:
        """Number of columns in a window of the decoding."""
        return self.transformer.config.n_cols

    @property
    def window_samples(self) -> int:
        """Number of samples in a full window, at the model's rate."""
        return self.window_cols * self.grid.column_samples

    def autocast(self, part: Any = None) -> AbstractContextManager[Any]:
        """Context manager for computing with a part, by default the transformer, in the model's precision.

        A packed part needs no context.
        """
        dtype = self.precision
        if dtype == torch.int8:  # of the transformer; parts without int8 use the next precision
            dtype = torch.bfloat16 if has_fast_bf16() else torch.float32
        if dtype == torch.float32 or getattr(self.transformer if part is None else part, "packed", False):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)

    def pack(self) -> None:
        """Replace the layers of the parts by packed ones, the fastest in the model's precision.

        The parts themselves change, and cannot be trained any more. Those of a bundle are packed on loading, and packed
        parts are left as they are.

        Raises:
            DeviceError: int8 on a processor that does not support it.
        """
        for part in self.parts.values():
            if hasattr(part, "pack"):
                part.pack(self.precision)

    def in_batches(self, compute: Callable[[slice], Tensor], n_clips: int) -> Tensor:
        """Return the results of a function for clips, in batches of ``batch_size``, or fewer when memory runs out.

        Raises:
            MasktoolsError: memory ran out for a single clip.
        """
        made, self.batch_size = in_batches(compute, n_clips, self.batch_size)
        return torch.cat(made)

    @torch.inference_mode()
    def to_mel(self, wave: Wave) -> Mel:
        """Return the spectrogram in whole frames, the last one padded with silence.

        Raises:
            ParameterError: a wave without samples.
            AudioError: samples that are NaN, infinite or far beyond full scale.
        """
        filled, n_frames = self._in_frames(wave)
        return self.front_end(filled)[..., :n_frames]

    def _in_frames(self, wave: Wave) -> tuple[Tensor, int]:
        """Return a wave on the device, padded with silence to whole frames; and its number of frames."""
        check_sound(wave)
        n_frames, hop = ceil(wave.shape[-1] / self.mel.hop_length), self.mel.hop_length
        n_filled = max(n_frames, self.mel.margin // hop + 1) * hop
        return F.pad(to_device(wave.float(), self.device), (0, n_filled - wave.shape[-1])), n_frames

    def grained(self, mel: Mel, first_frame: int = 0) -> Mel:
        """Return a mel spectrogram that was decoded from tokens with grain; unchanged if the model has none.

        Args:
            mel: decoded mel spectrogram (b, f, m).
            first_frame: position of its first frame in the recording.
        """
        grain, n_frames = self.grain, mel.shape[-1]
        if grain is None:
            return mel
        made = []
        for start in range(0, n_frames, _GRAIN_FRAMES):
            first, stop = max(0, start - grain.reach), min(n_frames, start + _GRAIN_FRAMES)
            part = mel[..., first : stop + grain.reach]
            place = first_frame + first
            whole = self.in_batches(lambda clips, part=part, place=place: grain(part[clips].float(), place), len(part))
            made.append(whole[..., start - first : stop - first])
        return torch.cat(made, dim=-1)

    def joined(self, parts: Sequence[Tensor], windows: Sequence[Window], column_samples: int) -> Wave:
        """Return the wave from the parts of windows that are given in columns.

        Raises:
            MasktoolsError: the output of the vocoder, or of a codec's decoder, is not finite.
        """
        wide = [window.scaled(column_samples) for window in windows]
        wave = stitch(parts, wide, wide[-1].stop, _FADE)
        if wave.isfinite().all():
            return wave
        remedy = "use --precision fp32"
        if self.precision == torch.float32:
            remedy = "the weights of the model, or its mel spectrogram, are not what it was trained with"
        raise MasktoolsError(f"the vocoder must return finite samples, got NaN or infinity: {remedy}")

    @abstractmethod
    def encode(self, wave: Wave) -> Tokens:
        """Return the tokens of waves at the model's rate; the last column is padded with silence.

        Raises:
            ParameterError: a wave without samples.
        """

    @abstractmethod
    def decode(self, tokens: Tokens, n_samples: int | None = None) -> Wave:
        """Return the waves decoded from tokens, cropped to n_samples if that is given."""

    def condition(self, prompts: Prompts | None) -> Tensor | None:
        """Return the conditions (b, d) of texts or of embeddings; None for none.

        Raises:
            ParameterError: prompts that the conditioner cannot read.
        """
        if prompts is None:
            return None
        return as_condition(prompts, self.conditioner, self.transformer.config.condition_dim).to(self.device)

    @torch.inference_mode()
    def similarity(self, waves: Wave, condition: Tensor) -> Tensor:
        """Return the cosine (b,) of sounds at the model's rate and their conditions, as the model's encoder hears them.

        Args:
            waves: samples (b, t).
            condition: one condition for each, as ``condition`` returns them.

        Raises:
            ParameterError: a model that hears no sounds, or whose texts are sequences of states.
        """
        hear = getattr(self.conditioner, "embed_audio", None)
        if hear is None:
            raise ParameterError(
                f"model {self.name!r} has no encoder of sounds, and cannot tell how near one is to a text"
            )
        heard = torch.cat([hear(wave, self.sample_rate) for wave in waves.float().split(1)])
        return (heard.to(condition) * condition.flatten(1)).sum(dim=1)

    @torch.inference_mode()
    def fill(
        self,
        tokens: Tokens,
        mask: Mask,
        seeds: Sequence[int],
        solver: Plan | None = None,
        condition: Tensor | None = None,
        overlap_cols: int | None = None,
        progress: Progress | None = None,
    ) -> SolveResult:
        """Return tokens with all masked ones filled, for any mask.

        Grids wider than the transformer's window are filled in windows from left to right; tokens filled in one are
        known
        in the next. Stages are filled in order: streams, or scales from coarse to fine.

        Args:
            tokens: tokens; values under the mask are not read.
            mask: True for tokens to be predicted.
            seeds: one seed for each item.
            solver: decoding settings, one for all stages or one for each; the model's by default.
            condition: one condition for each item, or None for unconditional decoding.
            overlap_cols: columns that adjacent windows share; the model's number by default.
            progress: called after every prediction.

        Raises:
            ParameterError: arguments that do not fit each other, or settings that the model was not trained for.
        """
        tokens, mask = to_device(tokens, self.device), to_device(mask, self.device)
        count = Counter(progress, 0)
        plan = stage_plan(self.usual if solver is None else solver, self.shape.n_stages)
        result = self._fill(tokens, mask, seeds, plan, condition, overlap_cols, count)
        count.finish()
        if self.on_solved is not None:
            self.on_solved(result)
        return result

    @abstractmethod
    def _fill(
        self,
        tokens: Tokens,
        mask: Mask,
        seeds: Sequence[int],
        plan: Sequence[SolverConfig],
        condition: Tensor | None,
        overlap_cols: int | None,
        count: Counter,
    ) -> SolveResult:
        """Fill tokens on the device; ``count`` gets the number of predictions, and is called after each."""


def check_sound(wave: Wave) -> None:
    """Raise where waves have no samples, or, on a CPU, samples that are NaN, infinite or far beyond full scale.

    Raises:
        ParameterError: there are no samples.
        AudioError: samples of which no spectrum can be computed.
    """
    if not wave.numel():
        raise ParameterError("a wave must have at least one sample, got none")
    if wave.device.type == "cpu":
        check_loudest(float(wave.abs().max()))


def check_mel_settings(ours: MelConfig, parts: Mapping[str, MelConfig]) -> None:
    """Raise where parts were made for other mel settings.

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


def check_same(pairs: Mapping[str, tuple[int, int]], conditioner: Any, condition_dim: int) -> None:
    """Raise where sizes that must be equal are not; the key of a pair is its name in the message.

    Raises:
        BundleError: the message names the first that differ, with both values.
    """
    if conditioner is not None:
        sizes = (conditioner.dim, condition_dim)
        pairs = {**pairs, "the embeddings of the conditioner and those the transformer reads": sizes}
    for what, (left, right) in pairs.items():
        if left != right:
            raise BundleError(f"{what} must be of one number, got {left} and {right}: these parts are of two models")
