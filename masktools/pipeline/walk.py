"""The pipeline of a model over a grid of bands: wave <-> mel <-> tokens, and the function that fills masked tokens.

Waves are (b, t) at the model's rate; recordings of other rates, with several channels and of any length are handled
by the jobs on top of it.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from masktools.core.errors import ParameterError
from masktools.core.levels import FixedSlope, Levels
from masktools.core.runtime import single_precision, to_device
from masktools.core.shapes import (
    Condition,
    FlatMask,
    FlatTokens,
    Logits,
    Mask,
    Mel,
    Tokens,
    Wave,
    Window,
    cover,
    stitch,
)
from masktools.mel import MelConfig, level_of
from masktools.mel.spectrogram import TokenGrid
from masktools.networks.conditioning import as_conditioner
from masktools.networks.grain import Grain
from masktools.networks.transformer import MaskedTransformer
from masktools.networks.transformer.cached import CachedPredictor, CompiledLogits, check_compiler
from masktools.pipeline.family import Counter, Placed, Walk, WalkShape, check_mel_settings, check_same
from masktools.solver import Predict, SolverConfig, SolveResult, over_windows, solve, stage_forwards, stage_plan
from masktools.solver.request import StepTrace


def keep_known(
    generated: Mel, original: Mel, unknown: Bool[Tensor, "b f m"], n_frames: int = 3, n_bins: int = 0
) -> Mel:
    """Return the original where it is known and the generated spectrogram elsewhere, without a step at the border.

    The difference between the two at the border is continued into the unknown side, with a linear fade-out over
    ``n_frames`` frames and ``n_bins`` mel bins.
    """
    offset = (original - generated).masked_fill(unknown, 0.0)
    carried = _carried(offset, unknown, 2, n_frames) + _carried(offset, unknown, 1, n_bins)
    return (generated + carried).clamp(-1.0, 1.0).where(unknown, original)


def _carried(offset: Tensor, unknown: Tensor, dim: int, reach: int) -> Tensor:
    """Return for each unknown cell the faded difference of the nearest known cells along an axis, from both sides."""
    total = torch.zeros_like(offset)
    for step in (1, -1):
        moving = offset
        edge = [slice(None)] * offset.ndim
        edge[dim] = slice(0, 1) if step == 1 else slice(-1, None)
        for distance in range(1, reach + 1):
            moving = moving.roll(step, dim).where(unknown, 0.0)
            moving[tuple(edge)] = 0.0  # no difference from beyond the edge
            total += moving * (1.0 - distance / (reach + 1.0))
    return total


_CONTEXT_COLS = 4  # receptive field of a part beyond a window, in columns
_BLOCK_COLS = 256  # columns of mel spectrogram computed at once


class Pipeline(Walk):
    """A model over a grid of bands: conversions between wave, mel spectrogram and tokens.

    Precision lower than fp32 is used to predict and decode tokens; they are always computed from audio in
    fp32.
    """

    jobs = frozenset({"generate", "inpaint", "continue", "loop", "bwe", "repair", "embed"})
    tokenizer: Any
    transformer: MaskedTransformer
    vocoder: Any

    @single_precision()
    def __init__(
        self,
        mel: MelConfig,
        tokenizer: nn.Module,
        transformer: MaskedTransformer,
        vocoder: nn.Module,
        conditioner: Any = None,
        grain: Grain | None = None,
        **placed: Unpack[Placed],
    ) -> None:
        reader = None if conditioner is None else as_conditioner(conditioner)
        parts = {"tokenizer": tokenizer, "transformer": transformer, "vocoder": vocoder, "conditioner": reader}
        super().__init__(mel, {**parts, "grain": grain}, **placed)
        self.decoding = {job: stage_plan(own, 1)[0] for job, own in self.decoding.items()}
        self._compiled: CompiledLogits | None = None
        self.levels: Levels = FixedSlope()  # of the bands above the model's
        self.grid = TokenGrid.from_mel(mel, self.tokenizer.patch)

    def _check_fit(self) -> None:
        tokenizer, config = self.tokenizer, self.transformer.config
        check_mel_settings(self.mel, {"vocoder": self.vocoder.mel_config})
        pairs = {
            "the tokenizer's mel bins and the model's": (tokenizer.n_rows * tokenizer.patch, self.mel.n_mels),
            "the codes of the tokenizer and of the transformer": (tokenizer.n_codes, config.n_codes),
            "the token rows of the tokenizer and of the transformer": (tokenizer.n_rows, config.n_rows),
        }
        check_same(pairs, self.conditioner, config.condition_dim)

    @property
    def shape(self) -> WalkShape:
        """Sizes of the tokens."""
        grid = self.grid
        return WalkShape(1, grid.n_rows, self.tokenizer.n_codes, self.window_cols, grid.column_samples, True)

    def pack(self) -> None:
        """Replace the layers of the parts by packed ones, unless the transformer is compiled.

        Raises:
            DeviceError: int8 on a processor that does not support it.
            ParameterError: the transformer is compiled.
        """
        if self._compiled is not None:
            raise ParameterError("a compiled transformer must stay as it is: pack the model before it is compiled")
        super().pack()

    def compile(self, backend: str = "inductor") -> None:
        """Use the compiled transformer for predictions from now on; its first calls take a while.

        A solver that caches, and embeddings, still use the uncompiled transformer.

        Args:
            backend: torch's name of the compiler backend.

        Raises:
            DeviceError: torch lacks what it needs to compile.
            ParameterError: the transformer is packed for a CPU.
        """
        if self.transformer.one_by_one:
            raise ParameterError("a transformer packed for a CPU must stay as it is: compile one that is not packed")
        check_compiler(self.device)
        self._compiled = CompiledLogits(self.transformer, backend)

    @property
    def lowest_rendered(self) -> float:
        """The lowest value of a mel spectrogram that the vocoder distinguishes: -1, or below it."""
        floor_db: float | None = getattr(getattr(self.vocoder, "config", None), "floor_db", None)
        return -1.0 if floor_db is None else min(-1.0, max(level_of(floor_db, self.mel), self.front_end.bottom))

    @torch.inference_mode()
    def to_mel(self, wave: Wave, lowest: float = -1.0) -> Mel:
        """Return the mel spectrogram in whole columns, the last one padded with silence.

        A wave shorter than a frame is padded with silence. Values lie in [-1, 1]; with a ``lowest`` below -1, for
        a vocoder, down to there.

        Raises:
            ParameterError: a wave without samples.
            AudioError: samples that are NaN, infinite or far beyond full scale.
        """
        wave, n_frames = self._in_frames(wave)
        parts = [self._frames(wave, block, lowest) for block in self._blocks(n_frames)]
        mel = torch.cat(parts, dim=-1)[..., :n_frames]
        return F.pad(mel, (0, -n_frames % self.grid.patch_frames), value=max(lowest, self.front_end.bottom))

    def _blocks(self, n_frames: int) -> list[Window]:
        length = _BLOCK_COLS * self.grid.patch_frames
        return [Window(start, min(start + length, n_frames)) for start in range(0, n_frames, length)]

    def _frames(self, wave: Wave, block: Window, lowest: float) -> Mel:
        """Return some frames of a long wave, equal to those computed from the whole."""
        hop, n_frames = self.mel.hop_length, wave.shape[-1] // self.mel.hop_length
        context = ceil(self.mel.n_fft / hop)
        start, stop = max(0, block.start - context), min(n_frames, block.stop + context)
        frames = self.front_end(wave[:, start * hop : stop * hop], lowest)
        return frames[..., block.start - start : block.stop - start]

    def erase(self, mel: Mel, mask: Mask) -> Mel:
        """Return the mel spectrogram with silence in the cells of masked tokens.

        Tokens are not local: known tokens that are computed from a spectrogram with the masked cells would depend
        on them.
        """
        return mel.masked_fill(self.cells(mask.to(mel.device)), self.front_end.silence)

    def cells(self, mask: Mask) -> Bool[Tensor, "b f m"]:
        """Return the mask of mel cells for a mask of tokens."""
        grid = self.grid
        return mask.repeat_interleave(grid.patch_mels, 1).repeat_interleave(grid.patch_frames, 2)

    @torch.inference_mode()
    def tokenise(self, mel: Mel) -> Tokens:
        """Return the tokens of a mel spectrogram of whole columns, window by window where it is long."""
        windows = self.token_windows(mel.shape[-1] // self.grid.patch_frames)
        read = [window for window, _ in windows]
        parts = self._by_window(self.tokenizer.encode, mel, read, self.grid.patch_frames)
        kept = [
            part[..., own.start - window.start : own.stop - window.start]
            for part, (window, own) in zip(parts, windows, strict=True)
        ]
        return torch.cat(kept, dim=-1)

    def token_windows(self, n_cols: int) -> list[tuple[Window, Window]]:
        """Return the windows of columns for the tokenizer, and those of their columns whose tokens are kept."""
        windows = self._windows(n_cols)
        cuts = [0, *((before.stop + after.start) // 2 for before, after in pairwise(windows)), n_cols]
        return [(window, Window(*kept)) for window, kept in zip(windows, pairwise(cuts), strict=True)]

    @torch.inference_mode()
    def to_mel_from(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram decoded from tokens."""
        frames, n_cols = self.grid.patch_frames, tokens.shape[-1]
        windows = self._windows(n_cols)
        with self.autocast(self.tokenizer):
            parts = self._by_window(self.tokenizer.decode, to_device(tokens, self.device), windows, 1)
        return stitch(parts, [window.scaled(frames) for window in windows], n_cols * frames, frames).clamp(-1.0, 1.0)

    def deepened(self, mel: Mel, wave: Wave, unknown: Bool[Tensor, "b f m"]) -> Mel:
        """Return a mel spectrogram with the vocoder's full range of levels in the cells known from a wave."""
        if self.lowest_rendered >= -1.0:
            return mel
        whole = self.to_mel(wave, self.lowest_rendered)[..., : mel.shape[-1]]
        return whole.where((whole < -1.0) & ~unknown.to(whole.device), mel)

    @torch.inference_mode()
    def render(self, mel: Mel) -> Wave:
        """Return the wave of a mel spectrogram of whole columns.

        Raises:
            MasktoolsError: the output of the vocoder is not finite.
        """
        n_cols = mel.shape[-1] // self.grid.patch_frames
        windows = self._windows(n_cols)
        with self.autocast(self.vocoder):
            parts = self._by_window(self.vocoder, to_device(mel, self.device), windows, self.grid.patch_frames)
        return self.joined(parts, windows, self.grid.column_samples)

    def encode(self, wave: Wave) -> Tokens:
        """Return the tokens of waves at the model's rate; the last column is padded with silence."""
        return self.tokenise(self.to_mel(wave))

    def decode(self, tokens: Tokens, n_samples: int | None = None) -> Wave:
        """Return the waves decoded from tokens, cropped to n_samples if that is given."""
        return self.render(self.grained(self.to_mel_from(tokens)))[:, :n_samples]

    def predictor(
        self,
        condition: Condition | None = None,
        on_call: Callable[[], object] | None = None,
        remembers: bool = False,
    ) -> Predict:
        """Return the predictor of logits for the solver, in batches of ``batch_size`` clips.

        Args:
            condition: one condition for each item of the solver's batch, or None for none at all.
            on_call: called after every prediction.
            remembers: whether to cache keys and values, for ``SolverConfig.cache_every`` above 1.
        """
        if remembers:
            return CachedPredictor(self.transformer, condition, self.batch_size, self.autocast, on_call)
        network = self.transformer.logits if self._compiled is None else self._compiled
        only_masked = self.device.type == "cpu"  # counting them would stall a GPU

        @torch.inference_mode()
        def predict(tokens: FlatTokens, mask: FlatMask, items: Tensor, conditional: bool) -> Logits:
            chosen = condition[items] if conditional and condition is not None else None

            def compute(part: slice) -> Tensor:
                given = None if chosen is None else chosen[part]
                with self.autocast():
                    return network(tokens[part], mask[part], given, only_masked=only_masked).float()

            logits = self.in_batches(compute, len(tokens))
            if on_call is not None:
                on_call()
            return logits

        return predict

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
        (solver,) = plan
        width, n_cols = self.window_cols, tokens.shape[-1]
        overlap = width // 4 if overlap_cols is None else overlap_cols
        n_windows = 1 + max(0, ceil((n_cols - width) / max(1, width - overlap)))
        n_slots = tokens.shape[-2] * min(n_cols, width)
        count.total = n_windows * stage_forwards(plan, n_slots, condition is not None)  # of a full mask, the most
        predict = self.predictor(condition, count, solver.cache_every > 1)
        use_condition = [condition is not None] * len(tokens)

        def window(_: slice, given: Tensor, own: Tensor, words: list[int]) -> tuple[Tensor, Sequence[StepTrace]]:
            result = solve(predict, given, own, words, solver, use_condition)
            return result.tokens, result.trace

        return over_windows(window, tokens, mask, seeds, width, overlap if n_cols > width else 0)

    def _windows(self, n_cols: int) -> list[Window]:
        """Return windows of columns with enough overlap to cover the receptive field of each part."""
        context = min(_CONTEXT_COLS, (self.window_cols - 1) // 2)
        return cover(n_cols, self.window_cols, self.window_cols - 2 * context)

    def _by_window(
        self, function: Callable[[Tensor], Tensor], whole: Tensor, windows: Sequence[Window], per_column: int
    ) -> list[Tensor]:
        """Return a function of each window of columns of (b, ..., w * per_column), ``batch_size`` clips at a time."""
        clips = [
            clip[..., window.start * per_column : window.stop * per_column] for window in windows for clip in whole
        ]
        if not clips:
            raise ParameterError("a batch must hold at least one clip, got none")
        done = self.in_batches(lambda part: function(torch.stack(clips[part])), len(clips))
        return list((done.float() if done.is_floating_point() else done).split(len(whole)))
