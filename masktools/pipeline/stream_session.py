"""One decoding of a batch by a model over token streams: what its stages see, what rescores them, how it begins."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.core.runtime import in_batches
from masktools.core.shapes import FlatMask, FlatTokens, Logits, unflatten
from masktools.networks.transformer import DelayedPrior, StreamTransformer, Text
from masktools.solver import Predict, Rescore, SolverConfig, SolveResult, derive_seed, solve

_TOP_K, _GUIDANCE = 250, 3.0  # of what the prior writes


class StreamSession:
    """The stages of one batch: stage k predicts stream k, knows the coarser streams, and is not shown the finer ones.

    Keys and values of the texts are made once. The module keeps nothing.
    """

    def __init__(
        self,
        transformer: StreamTransformer,
        condition: Tensor | None = None,
        *,
        shown: tuple[Tensor, Tensor] | None = None,
        prior: DelayedPrior | None = None,
        rescore_temperature: float = 1.0,
        batch_size: int = 8,
        precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
        on_call: Callable[[], object] | None = None,
    ) -> None:
        """Read the texts.

        Args:
            transformer: The network.
            condition: States (b, l, text_dim) of a text for each item, as ``StreamTransformer.read`` takes them; None
                for no condition at all.
            shown: Tokens and mask (b, K, w) of which what is known of finer streams is shown, too, though training hid
                it; None hides it.
            prior: An external model that rescores what is drawn; None for none.
            rescore_temperature: Divisor of its logits.
            batch_size: Clips computed at once.
            precision: Gives the context in which networks compute.
            on_call: Called after every prediction.
        """
        self.transformer, self.prior, self.shown = transformer, prior, shown
        self._temperature, self._batch_size = rescore_temperature, batch_size
        self._precision, self._on_call = precision, on_call
        self._text = None if condition is None else self._read(transformer, condition)
        self._prior_text = None if condition is None or prior is None else self._read(prior, condition)

    @torch.inference_mode()
    def _read(self, network: StreamTransformer, condition: Tensor) -> Text:
        with self._precision():
            return network.read(condition)

    def columns(self, stage: int, decided: Sequence[Tensor], row: Tensor, items: Tensor) -> Tensor:
        """Return all streams (a, K, w) as a stage sees them.

        Args:
            stage: Its number.
            decided: Tokens (b, 1, w) of the streams before it.
            row: (a, w) of its own stream, masked ones marked.
            items: (a,) which of the batch they are.
        """
        grid = row.new_full((len(row), self.transformer.config.n_streams, row.shape[1]), self.transformer.mask_id)
        for stream, tokens in enumerate(decided):
            grid[:, stream] = tokens[items, 0]
        grid[:, stage] = row
        if self.shown is not None:
            tokens, mask = (part[items, stage + 1 :] for part in self.shown)
            grid[:, stage + 1 :] = tokens.masked_fill(mask, self.transformer.mask_id)
        return grid

    def predictor(self, stage: int, decided: Sequence[Tensor]) -> Predict:
        """Return the function that tells the solver the logits of a stream."""
        mask_id = self.transformer.mask_id

        @torch.inference_mode()
        def predict(tokens: FlatTokens, mask: FlatMask, items: Tensor, conditional: bool) -> Logits:
            columns = self.columns(stage, decided, tokens.masked_fill(mask, mask_id), items)
            text = self._text if conditional else None

            def compute(part: slice) -> Tensor:
                with self._precision():
                    given = None if text is None else text.select(items[part])
                    return self.transformer.logits(columns[part], stage, given).float()

            return self._in_parts(compute, len(columns))

        return predict

    def rescorer(self, stage: int, decided: Sequence[Tensor]) -> Rescore | None:
        """Return the function that tells the solver what the external model thinks of drawn tokens, None without one.

        Finer streams are unknown to it, as they are to the stage.
        """
        prior = self.prior
        if prior is None:
            return None

        @torch.inference_mode()
        def rescore(tokens: FlatTokens, mask: FlatMask, items: Tensor) -> Tensor:
            columns = self.columns(stage, decided, tokens, items)

            def compute(part: slice) -> Tensor:
                with self._precision():
                    given = None if self._prior_text is None else self._prior_text.select(items[part])
                    return prior.log_p(columns[part], stage, given, self._temperature).float()

            return self._in_parts(compute, len(columns))

        return rescore

    def _in_parts(self, compute: Callable[[slice], Tensor], n_clips: int) -> Tensor:
        made, self._batch_size = in_batches(compute, n_clips, self._batch_size)
        if self._on_call is not None:
            self._on_call()
        return torch.cat(made)

    def begin(self, n_cols: int, seeds: Sequence[int]) -> SolveResult:
        """Return the first columns (b, K, n_cols) as the causal model writes them, one after the other.

        Args:
            n_cols: their number, at least 1.
            seeds: one for each clip.

        Raises:
            ParameterError: the model has none.

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
                with self._precision():
                    given = self._prior_text.select(items[part]) if conditional and self._prior_text else None
                    return prior.all_logits(columns[part], given).float()

            return self._in_parts(compute, len(columns)).movedim(1, 2).flatten(1, 2)

        # Stream k lags k places behind the first: what stands at the same place is written at once.
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
        words = [derive_seed(seed, n_streams) for seed in seeds]  # others than those of the streams
        use_condition = [self._prior_text is not None] * len(seeds)
        blank = torch.zeros_like(unknown, dtype=torch.int64)
        return solve(predict, blank, unknown, words, config, use_condition, places)
