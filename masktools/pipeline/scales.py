"""A model over scales: wave <-> clips of tokens from coarse to fine, and the stages that draw them, scale by scale.

A column of tokens is a whole clip: all of its scales, one after the other. A recording longer than a clip has
several columns, which are independent of each other.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import ParameterError
from masktools.core.runtime import to_device
from masktools.core.shapes import Mask, Mel, Tokens, Wave, cover
from masktools.mel import MelConfig
from masktools.mel.spectrogram import ColumnGrid
from masktools.networks.scales import (
    NoteClassifier,
    ScaleSession,
    ScaleTokenizer,
    ScaleTransformer,
    check_steps,
    scale_plan,
)
from masktools.networks.vocoder import GriffinLim, GriffinLimConfig
from masktools.pipeline.family import Counter, Placed, Walk, WalkShape, check_mel_settings, check_same
from masktools.solver import SolverConfig, SolveResult, over_windows, solve_stages
from masktools.solver.request import StepTrace

_RENDERED_CLIPS = 12  # in a batch of the vocoder; the first and the last are only context


class ScaleWalk(Walk):
    """A model over scales: conversions between wave and tokens.

    Without a vocoder, Griffin-Lim makes waves of spectrograms. A classifier of notes takes no part in decoding: it is
    for evaluation.
    """

    jobs = frozenset({"generate", "coarsen", "vary"})
    tokenizer: ScaleTokenizer
    transformer: ScaleTransformer
    vocoder: Any
    classifier: NoteClassifier | None

    def __init__(
        self,
        mel: MelConfig,
        tokenizer: ScaleTokenizer,
        transformer: ScaleTransformer,
        vocoder: nn.Module | None = None,
        conditioner: Any = None,
        classifier: NoteClassifier | None = None,
        **placed: Unpack[Placed],
    ) -> None:
        self._render: Any = GriffinLim(GriffinLimConfig(), mel) if vocoder is None else vocoder
        self.pyramid = tokenizer.pyramid
        parts = {"tokenizer": tokenizer, "transformer": transformer, "vocoder": vocoder, "conditioner": conditioner}
        super().__init__(mel, {**parts, "classifier": classifier}, **placed)
        self._render.eval().requires_grad_(False).to(self.device)
        self.decoding = {"generate": scale_plan(len(self.pyramid)), **self.decoding}
        self.usual = self.decoding["generate"]
        self.grid = ColumnGrid(self.pyramid.total, tokenizer.n_frames * mel.hop_length, mel.sample_rate)

    def _check_fit(self) -> None:
        theirs, ours = self.tokenizer.config, self.transformer.config
        if self.tokenizer.pyramid != self.transformer.pyramid:
            raise ParameterError(
                f"the scales of the tokenizer ({self.tokenizer.pyramid}) and of the transformer "
                f"({self.transformer.pyramid}) must be the same: these parts are of two models"
            )
        check_mel_settings(self.mel, {"vocoder": self._render.mel_config})
        pairs = {
            "the mel bins of the tokenizer and of the mel settings": (theirs.n_mels, self.mel.n_mels),
            "the codes of the tokenizer and of the transformer": (theirs.n_codes, ours.n_codes),
            "the code dimensions of the tokenizer and of the transformer": (theirs.code_dim, ours.code_dim),
        }
        check_same(pairs, self.conditioner, ours.condition_dim)

    @property
    def window_cols(self) -> int:
        """Number of columns that are drawn at once: a clip."""
        return 1

    @property
    def shape(self) -> WalkShape:
        """Sizes of the tokens."""
        sizes, column = self.transformer.config, self.grid.column_samples
        return WalkShape(len(self.pyramid), self.pyramid.total, sizes.n_codes, 1, column, False)

    @torch.inference_mode()
    def encode(self, wave: Wave) -> Tokens:
        """Return the tokens (b, n, w) of waves at the model's rate; the last clip is padded with silence."""
        mel = self.to_mel(wave)
        n_cols, n_frames = self.grid.n_columns(wave.shape[-1]), self.tokenizer.n_frames
        mel = F.pad(mel, (0, n_cols * n_frames - mel.shape[-1]), value=self.front_end.silence)
        clips = mel.unflatten(-1, (n_cols, n_frames)).transpose(1, 2).flatten(0, 1)

        def encoded(part: slice) -> Tensor:
            return self.pyramid.pack(self.tokenizer.encode(clips[part]))

        return self.in_batches(encoded, len(clips)).unflatten(0, (len(mel), n_cols)).transpose(1, 2)

    @torch.inference_mode()
    def decode(self, tokens: Tokens, n_samples: int | None = None, n_scales: int | None = None) -> Wave:
        """Return the waves decoded from tokens, cropped to n_samples if that is given.

        Args:
            tokens: (b, n, w) tokens.
            n_samples: length of each wave; all of every clip by default.
            n_scales: number of scales to use, the coarsest first; all by default.

        Raises:
            ParameterError: a number of scales that the model does not have.
            MasktoolsError: the output of the vocoder is not finite.
        """
        mel, n_cols, n_frames = self.to_spectrogram(tokens, n_scales), tokens.shape[-1], self.tokenizer.n_frames
        windows = cover(n_cols, min(n_cols, _RENDERED_CLIPS), max(1, min(n_cols, _RENDERED_CLIPS) - 2))
        parts = [self._rendered(mel[..., window.start * n_frames : window.stop * n_frames]) for window in windows]
        return self.joined(parts, windows, self.grid.column_samples)[:, :n_samples]

    def _rendered(self, mel: Mel) -> Wave:
        with self.autocast(self._render):
            return self.in_batches(lambda part: self._render(mel[part]).float(), len(mel))

    @torch.inference_mode()
    def to_spectrogram(self, tokens: Tokens, n_scales: int | None = None) -> Mel:
        """Return the spectrograms (b, f, m) in [-1, 1] of tokens (b, n, w), from all or only the coarsest scales.

        Raises:
            ParameterError: a number of scales that the model does not have.
        """
        kept = self.scales_of(tokens, n_scales)

        def decoded(part: slice) -> Tensor:
            return self.tokenizer.decode([grid[part] for grid in kept])

        made = self.in_batches(decoded, len(kept[0]))
        return made.unflatten(0, (len(tokens), tokens.shape[-1])).transpose(1, 2).flatten(2)

    def scales_of(self, tokens: Tokens, n_scales: int | None = None) -> list[Tensor]:
        """Return the grids (b w, h_k, w_k) of the first scales of tokens (b, n, w), one for each column.

        Raises:
            ParameterError: a number of scales that the model does not have.
        """
        if n_scales is not None and not 1 <= n_scales <= len(self.pyramid):
            raise ParameterError(f"scales must be 1 to {len(self.pyramid)}, got {n_scales}")
        sequences = to_device(tokens, self.device).transpose(1, 2).flatten(0, 1)
        return self.pyramid.unpack(sequences)[:n_scales]

    def finer_than(self, n_scales: int, tokens: Tokens) -> Mask:
        """Return the mask (b, n, w) of the tokens of all but the first scales: those that ``vary`` redraws.

        Raises:
            ParameterError: a number of scales that leaves none to draw.
        """
        if not 0 <= n_scales < len(self.pyramid):
            raise ParameterError(f"scales that are kept must be 0 to {len(self.pyramid) - 1}, got {n_scales}")
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        mask[:, self.pyramid.offsets[n_scales] :] = True
        return mask

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
        """Fill clip after clip, independently, whatever ``overlap_cols`` is."""
        check_steps(self.transformer, plan)
        passes = 1 if condition is None else 2
        count.total = sum(config.n_steps for config in plan) * passes * tokens.shape[-1]
        use_condition = [condition is not None] * len(tokens)

        def fill_clip(_: slice, given: Tensor, own: Tensor, words: list[int]) -> tuple[Tensor, Sequence[StepTrace]]:
            quantiser = self.tokenizer.quantiser
            session = ScaleSession(self.transformer, quantiser, condition, self.device.type == "cpu", count)
            grids, masks = (self.pyramid.unpack(part.squeeze(-1)) for part in (given, own))
            with self.autocast():
                done = solve_stages(session, grids, masks, words, plan, use_condition)
            return self.pyramid.pack(done.tokens)[..., None], done.trace

        return over_windows(fill_clip, tokens, mask, seeds, 1, 0)
