"""A model over token streams: wave <-> K streams of tokens, and the stages that fill masked ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import BundleError, MasktoolsError, ParameterError
from masktools.core.runtime import to_device
from masktools.core.segments import Window, cover, stitch
from masktools.core.shapes import Mask, Tokens, Wave
from masktools.mel import MelConfig, MelFrontEnd
from masktools.mel.grid import ColumnGrid
from masktools.networks.conditioning import Conditioner, Prompts, as_condition
from masktools.networks.transformer import DelayedPrior, StreamTransformer
from masktools.pipeline.family import Counter, OnDevice, Progress, WalkShape, check_mel_settings, check_same
from masktools.pipeline.stream_session import StreamSession
from masktools.solver import (
    Plan,
    SolverConfig,
    SolveResult,
    over_windows,
    solve_stages,
    span_groups,
    stage_forwards,
    stage_plan,
)
from masktools.solver.request import StepTrace

_CODEC_COLS = 1024  # that a codec computes at once
_CODEC_CONTEXT = 64  # columns that it hears beyond those that are kept
_FADE = 512  # samples of the cross-fade between windows of a decoder
_STREAM_JOBS = frozenset({"generate", "inpaint", "continue", "loop"})


class StreamWalk(OnDevice):
    """The parts of a streams model on one device, and the ways between wave and tokens.

    The parts are put into evaluation, without gradients. A codec reads waves, or mel spectrograms that a vocoder makes
    waves of.
    """

    jobs = _STREAM_JOBS

    def __init__(
        self,
        mel: MelConfig,
        codec: nn.Module,
        transformer: StreamTransformer,
        vocoder: nn.Module | None = None,
        conditioner: Any = None,
        prior: DelayedPrior | None = None,
        *,
        name: str = "unnamed",
        decoding: Mapping[str, Plan] | None = None,
        device: torch.device | str = "cpu",
        precision: torch.dtype = torch.float32,
        batch_size: int = 8,
    ) -> None:
        if batch_size < 1:
            raise ParameterError(f"batch_size must be at least 1, got {batch_size}")
        self.mel, self.name, self.precision, self.batch_size = mel, name, precision, batch_size
        self.decoding: Mapping[str, Plan] = dict(decoding or {})
        self.device = torch.device(device)
        self.codec: Any = codec
        self.transformer, self.vocoder, self.conditioner, self.prior = transformer, vocoder, conditioner, prior
        self.folder: Path | None = None  # of the bundle that it was loaded from
        self.on_solved: Callable[[SolveResult], object] | None = None  # told of every decoding
        self.front_end = MelFrontEnd(mel)
        self._check_fit()
        column = self.codec.config.hop_length if self.codec.reads_waves else self.codec.patch * mel.hop_length
        self.grid = ColumnGrid(self.codec.n_rows, column, mel.sample_rate)
        for part in (self.front_end, codec, transformer, vocoder, conditioner, prior):
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(False).to(self.device)

    def _check_fit(self) -> None:
        codec, sizes = self.codec, self.transformer.config
        if codec.reads_waves == (self.vocoder is not None):
            what = "no vocoder" if codec.reads_waves else "a vocoder"
            raise BundleError(f"this model's codec goes with {what}: these parts are of two models")
        if self.vocoder is not None:
            vocoder: Any = self.vocoder
            check_mel_settings(self.mel, {"vocoder": vocoder.mel_config})
        pairs = {
            "the streams of the codec and of the transformer": (codec.n_rows, sizes.n_streams),
            "the codes of the codec and of the transformer": (codec.n_codes, sizes.n_codes),
        }
        if codec.reads_waves:
            pairs["the rates of the codec and of the mel settings"] = (codec.config.sample_rate, self.mel.sample_rate)
        else:
            pairs["the mel bins of the codec and of the mel settings"] = (codec.config.n_mels, self.mel.n_mels)
        if self.prior is not None:
            theirs = (self.prior.config.n_streams, self.prior.config.n_codes, self.prior.config.text_dim)
            ours = (sizes.n_streams, sizes.n_codes, sizes.text_dim)
            pairs |= {
                f"the {what} of the prior and of the transformer": pair
                for what, pair in zip(("streams", "codes", "text"), zip(theirs, ours, strict=True), strict=True)
            }
        if self.conditioner is not None:
            pairs["the embeddings of the conditioner and those the transformer reads"] = (
                self.conditioner.dim,
                sizes.text_dim,
            )
        check_same(pairs)

    @property
    def parts(self) -> dict[str, Any]:
        """The parts by name, None for one that the model goes without."""
        return {
            "codec": self.codec,
            "transformer": self.transformer,
            "vocoder": self.vocoder,
            "conditioner": self.conditioner,
            "prior": self.prior,
        }

    @property
    def shape(self) -> WalkShape:
        """The sizes of the tokens."""
        sizes, column = self.transformer.config, self.grid.column_samples
        return WalkShape(
            sizes.n_streams, sizes.n_streams, sizes.n_codes, sizes.n_cols, column, False, self.codec.reach_cols
        )

    def pack(self) -> None:
        """Exchange the layers of the parts for those that compute fastest in the model's precision."""
        for part in (self.codec, self.transformer, self.vocoder, self.prior):
            if hasattr(part, "pack"):
                part.pack(self.precision)  # pyright: ignore

    @torch.inference_mode()
    def encode(self, wave: Wave) -> Tokens:
        """Return the tokens (b, K, w) of waves at the model's rate; the last column is filled up with silence.

        Raises:
            ParameterError: a wave without samples.
        """
        if not wave.numel():
            raise ParameterError("a wave must have at least one sample, got none")
        n_cols, column = self.grid.n_columns(wave.shape[-1]), self.grid.column_samples
        wave = to_device(wave.float(), self.device)
        if not self.codec.reads_waves:
            mel, patch = self.to_mel(wave), self.codec.patch
            given, column = F.pad(mel, (0, n_cols * patch - mel.shape[-1]), value=self.front_end.silence), patch
        else:
            given = wave
        kept = []
        for window in self._codec_windows(n_cols):
            start, stop = max(0, window.start - _CODEC_CONTEXT), min(n_cols, window.stop + _CODEC_CONTEXT)
            part = given[..., start * column : stop * column]
            tokens = torch.cat(self.in_batches(lambda clips, part=part: self.codec.encode(part[clips]), len(part)))
            kept.append(tokens[..., window.start - start : window.stop - start])
        return torch.cat(kept, dim=-1)

    @torch.inference_mode()
    def decode(self, tokens: Tokens, n_samples: int | None = None) -> Wave:
        """Return the waves that tokens stand for, cut after n_samples if that is given.

        Raises:
            MasktoolsError: a decoder returned something that is not finite.
        """
        tokens, n_cols, column = to_device(tokens, self.device), tokens.shape[-1], self.grid.column_samples
        windows = cover(n_cols, _CODEC_COLS, _CODEC_COLS - 2 * _CODEC_CONTEXT)
        parts = [
            torch.cat(
                self.in_batches(
                    lambda clips, window=window: self._rendered(tokens[clips, :, window.start : window.stop]),
                    len(tokens),
                )
            )
            for window in windows
        ]
        wide = [Window(window.start * column, window.stop * column) for window in windows]
        wave = stitch(parts, wide, n_cols * column, _FADE)
        if not wave.isfinite().all():
            raise MasktoolsError("the codec must return finite samples, got NaN or infinity: use --precision fp32")
        return wave[:, :n_samples]

    def _rendered(self, tokens: Tokens) -> Wave:
        decoded = self.codec.decode(tokens)
        if self.vocoder is None:
            return decoded.float()
        with self.autocast(self.vocoder):
            return self.vocoder(decoded.float()).float()

    def _codec_windows(self, n_cols: int) -> list[Window]:
        return [Window(start, min(start + _CODEC_COLS, n_cols)) for start in range(0, n_cols, _CODEC_COLS)]

    def condition(self, prompts: Prompts | None) -> Tensor | None:
        """Return the conditions of texts (b, l, text_dim): a row for each token of a text, or one for an embedding.

        Rows beyond the end of a shorter text are zero. Embeddings may be given in place of texts where the model reads
        one vector a text.

        Raises:
            ParameterError: prompts that the model cannot read.
        """
        if prompts is None:
            return None
        states_of = getattr(self.conditioner, "text_states", None)
        if states_of is None:
            reader: Conditioner | None = self.conditioner
            return as_condition(prompts, reader, self.transformer.config.text_dim).to(self.device)[:, None]
        texts = [prompts] if isinstance(prompts, str) else prompts
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise ParameterError("this model reads texts, not embeddings: give a text")
        return states_of(list(texts)).to(self.device)

    def session(
        self, condition: Tensor | None, on_call: Callable[[], object] | None = None, show: tuple | None = None
    ) -> StreamSession:
        """Return what the solver's stages ask, for one batch.

        Args:
            condition: one for each item, or None for no condition at all.
            on_call: called after every prediction.
            show: tokens and mask of which what is known of finer streams is shown.
        """
        return StreamSession(
            self.transformer,
            condition,
            shown=show,
            prior=self.prior,
            batch_size=self.batch_size,
            precision=self.autocast,
            on_call=on_call,
        )

    @torch.inference_mode()
    def fill(
        self,
        tokens: Tokens,
        mask: Mask,
        seeds: Sequence[int],
        solver: Plan = SolverConfig(),
        condition: Tensor | None = None,
        overlap_cols: int | None = None,
        progress: Progress | None = None,
    ) -> SolveResult:
        """Return tokens without masked ones: the streams one after the other, window by window where they are long.

        Args:
            tokens: (b, K, w); values under the mask are never read.
            mask: True where a token is to be predicted.
            seeds: one for each item.
            solver: settings of the decoding, one for all streams or one for each.
            condition: one for each item, or None to decode without.
            overlap_cols: columns that neighbouring windows share; half a window where it is not given.
            progress: called after every prediction.

        Raises:
            ParameterError: arguments that do not fit each other.
        """
        tokens, mask = to_device(tokens, self.device), to_device(mask, self.device)
        plan, width = stage_plan(solver, self.shape.n_stages), min(self.window_cols, tokens.shape[-1])
        stages = [replace(config, prior_start=0.0) for config in plan]
        overlap = min(width - 1, width // 2 if overlap_cols is None else overlap_cols)
        n_windows = 1 + max(0, ceil((tokens.shape[-1] - width) / (width - overlap)))
        groups = [self._groups(config, width) for config in plan]
        n_units = [width if labels is None else ceil(width / self.transformer.config.span) for labels in groups]
        total = sum(
            stage_forwards([config], units, condition is not None) for config, units in zip(plan, n_units, strict=True)
        )
        count = None if progress is None else Counter(progress, n_windows * total)
        use_condition = [condition is not None] * len(tokens)

        def fill_window(
            columns: slice, given: Tensor, own: Tensor, words: list[int]
        ) -> tuple[Tensor, Sequence[StepTrace]]:
            session = self.session(condition, count)
            labels = [None if part is None else part[:, : given.shape[-1]] for part in groups]
            begun: Sequence[StepTrace] = ()
            n_begun = round(plan[0].prior_start * width)
            fresh = own[..., :n_begun].all(dim=(1, 2))
            if n_begun and fresh.any():
                start = session.begin(n_begun, words)
                given, own, begun = given.clone(), own.clone(), start.trace
                given[fresh, :, :n_begun], own[fresh, :, :n_begun] = start.tokens[fresh], False
            grids, masks = given.split(1, dim=1), own.split(1, dim=1)
            done = solve_stages(session, grids, masks, words, stages, use_condition, labels)
            return torch.cat(done.tokens, dim=1), (*begun, *done.trace)

        result = over_windows(fill_window, tokens, mask, seeds, width, overlap)
        if count is not None:
            count.finish()
        if self.on_solved is not None:
            self.on_solved(result)
        return result

    def _groups(self, config: SolverConfig, width: int) -> Tensor | None:
        """Return the spans of columns that are accepted together, where settings do not have spans that overlap."""
        span = self.transformer.config.span
        return None if config.overlap or span == 1 or config.pace != "closed" else span_groups(1, width, span)
