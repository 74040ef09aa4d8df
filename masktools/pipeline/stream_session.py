"""One decoding by a stream transformer, as the solver's stages ask for it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from masktools.runtime import in_batches
from masktools.shapes import FlatMask, FlatTokens, Logits
from masktools.solver import Predict, Rescore
from masktools.transformer import DelayedPrior, StreamTransformer, Text

__all__ = ["StreamSession"]


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
