"""A model over token streams: wave <-> K streams of tokens, and the stages that fill masked ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import BundleError, ParameterError
from masktools.core.runtime import to_device
from masktools.core.shapes import FlatMask, FlatTokens, Logits, Mask, Tokens, Wave, Window, cover, unflatten
from masktools.mel import MelConfig
from masktools.mel.spectrogram import ColumnGrid
from masktools.networks.conditioning import Prompts, as_condition
from masktools.networks.grain import Grain
from masktools.networks.transformer import DelayedPrior, StreamTransformer, Text
from masktools.pipeline.family import Counter, Placed, Walk, WalkShape, check_mel_settings, check_same, check_sound
from masktools.solver import (
    Predict,
    Rescore,
    SolverConfig,
    SolveResult,
    derive_seed,
    over_windows,
    solve,
    solve_stages,
    span_groups,
    stage_forwards,
)
from masktools.solver.request import StepTrace

_CODEC_COLS = 1024  # in a window of the codec
_CODEC_CONTEXT = 64  # context columns on either side of the window


class StreamWalk(Walk):
    """A model over token streams: conversions between wave and tokens.

    A codec works on waves, or on mel spectrograms, from which a vocoder makes waves.
    """

    jobs = frozenset({"generate", "inpaint", "continue", "loop"})
    codec: Any
    transformer: StreamTransformer
    vocoder: Any
    prior: DelayedPrior | None

    def __init__(
        self,
        mel: MelConfig,
        codec: nn.Module,
        transformer: StreamTransformer,
        vocoder: nn.Module | None = None,
        conditioner: Any = None,
        prior: DelayedPrior | None = None,
        grain: Grain | None = None,
        **placed: Unpack[Placed],
    ) -> None:
        parts = {"codec": codec, "transformer": transformer, "vocoder": vocoder, "conditioner": conditioner}
        super().__init__(mel, {**parts, "prior": prior, "grain": grain}, **placed)
        column = self.codec.config.hop_length if self.codec.reads_waves else self.codec.patch * mel.hop_length
        self.grid = ColumnGrid(self.codec.n_rows, column, mel.sample_rate)

    def _check_fit(self) -> None:
        codec, sizes = self.codec, self.transformer.config
        if codec.reads_waves == (self.vocoder is not None):
            what = "no vocoder" if codec.reads_waves else "a vocoder"
            raise BundleError(f"this model's codec goes with {what}: these parts are of two models")
        if self.vocoder is not None:
            check_mel_settings(self.mel, {"vocoder": self.vocoder.mel_config})
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
        check_same(pairs, self.conditioner, sizes.text_dim)

    @property
    def shape(self) -> WalkShape:
        """Sizes of the tokens."""
        sizes, column = self.transformer.config, self.grid.column_samples
        return WalkShape(
            sizes.n_streams, sizes.n_streams, sizes.n_codes, sizes.n_cols, column, False, self.codec.reach_cols
        )

    @torch.inference_mode()
    def encode(self, wave: Wave) -> Tokens:
        """Return the tokens (b, K, w) of waves at the model's rate; the last column is padded with silence."""
        check_sound(wave)
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
            tokens = self.in_batches(lambda clips, part=part: self.codec.encode(part[clips]), len(part))
            kept.append(tokens[..., window.start - start : window.stop - start])
        return torch.cat(kept, dim=-1)

    @torch.inference_mode()
    def decode(self, tokens: Tokens, n_samples: int | None = None) -> Wave:
        """Return the waves decoded from tokens, cropped to n_samples if that is given."""
        tokens, n_cols = to_device(tokens, self.device), tokens.shape[-1]
        windows = cover(n_cols, _CODEC_COLS, _CODEC_COLS - 2 * _CODEC_CONTEXT)

        def rendered(window: Window) -> Tensor:
            part = tokens[..., window.start : window.stop]
            return self.in_batches(lambda clips: self._rendered(part[clips], window.start), len(part))

        return self.joined([rendered(window) for window in windows], windows, self.grid.column_samples)[:, :n_samples]

    def _rendered(self, tokens: Tokens, first_col: int) -> Wave:
        decoded = self.codec.decode(tokens).float()
        if self.vocoder is None:
            return decoded
        grained = self.grained(decoded, first_col * self.codec.patch)
        with self.autocast(self.vocoder):
            return self.vocoder(grained).float()

    def _codec_windows(self, n_cols: int) -> list[Window]:
        return [Window(start, min(start + _CODEC_COLS, n_cols)) for start in range(0, n_cols, _CODEC_COLS)]

    def condition(self, prompts: Prompts | None) -> Tensor | None:
        """Return the conditions of texts (b, l, text_dim): a row for each token of a text, or one for an embedding.

        Rows behind the end of a shorter text are zero. Embeddings may be given instead of texts if the model has
        one vector per text.

        Raises:
            ParameterError: prompts that the model cannot read.
        """
        if prompts is None:
            return None
        states_of = getattr(self.conditioner, "text_states", None)
        if states_of is None:
            return as_condition(prompts, self.conditioner, self.transformer.config.text_dim).to(self.device)[:, None]
        texts = [prompts] if isinstance(prompts, str) else prompts
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise ParameterError("this model reads texts, not embeddings: give a text")
        return states_of(list(texts)).to(self.device)

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
        width = min(self.window_cols, tokens.shape[-1])
        stages = [replace(config, prior_start=0.0) for config in plan]
        overlap = min(width - 1, width // 2 if overlap_cols is None else overlap_cols)
        n_windows = 1 + max(0, ceil((tokens.shape[-1] - width) / (width - overlap)))
        groups = [self._groups(config, width) for config in plan]
        n_units = [width if labels is None else ceil(width / self.transformer.config.span) for labels in groups]
        count.total = n_windows * sum(
            stage_forwards([config], units, condition is not None) for config, units in zip(plan, n_units, strict=True)
        )
        use_condition = [condition is not None] * len(tokens)

        def fill_window(
            columns: slice, given: Tensor, own: Tensor, words: list[int]
        ) -> tuple[Tensor, Sequence[StepTrace]]:
            session = StreamSession(self, condition, count)
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

        return over_windows(fill_window, tokens, mask, seeds, width, overlap)

    def _groups(self, config: SolverConfig, width: int) -> Tensor | None:
        """Return the spans of columns that are accepted together, unless settings use overlapping spans."""
        span = self.transformer.config.span
        return None if config.overlap or span == 1 or config.pace != "closed" else span_groups(1, width, span)


_TOP_K, _GUIDANCE = 250, 3.0  # for the output of the prior


class StreamSession:
    """The stages of one batch: stage k predicts stream k from the coarser streams, with the finer ones masked.

    Keys and values of the texts are computed once. The module keeps no state.
    """

    def __init__(self, walk: Any, condition: Tensor | None = None, on_call: Callable[[], object] | None = None) -> None:
        """Encode the texts.

        Args:
            walk: a ``StreamWalk``, with its transformer, its causal model and its precision.
            condition: states (b, l, text_dim) of a text for each item, for ``StreamTransformer.read``; None
                for unconditional decoding.
            on_call: called after every prediction.
        """
        self.walk, self.transformer, self.prior, self._on_call = walk, walk.transformer, walk.prior, on_call
        self._text = None if condition is None else self._read(self.transformer, condition)
        self._prior_text = None if condition is None or self.prior is None else self._read(self.prior, condition)

    @torch.inference_mode()
    def _read(self, network: StreamTransformer, condition: Tensor) -> Text:
        with self.walk.autocast():
            return network.read(condition)

    def columns(self, stage: int, decided: Sequence[Tensor], row: Tensor, items: Tensor) -> Tensor:
        """Return all streams (a, K, w) as the input of a stage.

        Args:
            stage: number of the stage.
            decided: tokens (b, 1, w) of the streams before it.
            row: (a, w) tokens of its own stream, with ``mask_id`` for masked ones.
            items: (a,) index of each row in the batch.
        """
        grid = row.new_full((len(row), self.transformer.config.n_streams, row.shape[1]), self.transformer.mask_id)
        for stream, tokens in enumerate(decided):
            grid[:, stream] = tokens[items, 0]
        grid[:, stage] = row
        return grid

    def predictor(self, stage: int, decided: Sequence[Tensor]) -> Predict:
        """Return the predictor of a stream's logits for the solver."""
        mask_id = self.transformer.mask_id

        @torch.inference_mode()
        def predict(tokens: FlatTokens, mask: FlatMask, items: Tensor, conditional: bool) -> Logits:
            columns = self.columns(stage, decided, tokens.masked_fill(mask, mask_id), items)
            text = self._text if conditional else None

            def compute(part: slice) -> Tensor:
                with self.walk.autocast():
                    given = None if text is None else text.select(items[part])
                    return self.transformer.logits(columns[part], stage, given).float()

            return self._in_parts(compute, len(columns))

        return predict

    def rescorer(self, stage: int, decided: Sequence[Tensor]) -> Rescore | None:
        """Return the external model's function for the probabilities of drawn tokens, None without such a model.

        Finer streams are masked for it, as they are for the stage.
        """
        prior = self.prior
        if prior is None:
            return None

        @torch.inference_mode()
        def rescore(tokens: FlatTokens, mask: FlatMask, items: Tensor) -> Tensor:
            columns = self.columns(stage, decided, tokens, items)

            def compute(part: slice) -> Tensor:
                with self.walk.autocast():
                    given = None if self._prior_text is None else self._prior_text.select(items[part])
                    return prior.log_p(columns[part], stage, given).float()

            return self._in_parts(compute, len(columns))

        return rescore

    def _in_parts(self, compute: Callable[[slice], Tensor], n_clips: int) -> Tensor:
        made = self.walk.in_batches(compute, n_clips)
        if self._on_call is not None:
            self._on_call()
        return made

    def begin(self, n_cols: int, seeds: Sequence[int]) -> SolveResult:
        """Return the first columns (b, K, n_cols) as generated by the causal model, column by column.

        Args:
            n_cols: number of columns, at least 1.
            seeds: one seed for each clip.

        Raises:
            ParameterError: the model has no causal model.

        Source: MusicGen (arXiv:2306.05284), section 3.1, for the 250 codes and the guidance of 3.
        """
        prior = self.prior
        if prior is None:
            raise ParameterError("prior_start needs a causal model beside this one, which has none: leave it 0")
        n_streams = prior.config.n_streams

        @torch.inference_mode()
        def predict(tokens: FlatTokens, mask: FlatMask, items: Tensor, conditional: bool) -> Logits:
            columns = unflatten(tokens.masked_fill(mask, prior.mask_id), n_streams)

            def compute(part: slice) -> Tensor:
                with self.walk.autocast():
                    given = self._prior_text.select(items[part]) if conditional and self._prior_text else None
                    return prior.all_logits(columns[part], given).float()

            return self._in_parts(compute, len(columns)).movedim(1, 2).flatten(1, 2)

        # Stream k lags k positions behind the first: tokens at the same position are drawn at once.
        places = torch.arange(n_cols) + torch.arange(n_streams)[:, None]
        counts = places.flatten().bincount().flip(0).cumsum(0).flip(0).tolist()[1:]
        config = SolverConfig(
            policy="raster",
            temperature=0.0,
            counts=(*counts, 0),
            guidance=_GUIDANCE,
            guidance_schedule="constant",
            top_k=min(_TOP_K, prior.config.n_codes),
        )
        unknown = torch.ones(len(seeds), n_streams, n_cols, dtype=torch.bool, device=prior.norm.weight.device)
        words = [derive_seed(seed, n_streams) for seed in seeds]  # different from those of the streams
        use_condition = [self._prior_text is not None] * len(seeds)
        blank = torch.zeros_like(unknown, dtype=torch.int64)
        return solve(predict, blank, unknown, words, config, use_condition, places)
