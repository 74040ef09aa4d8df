"""The causal transformer over delayed token streams: what comes next, as MusicGen's kind of model says.

Stream k lags k places behind stream 0: token (k, column) stands at place 1 + column + k, after a first place without
tokens, and its logits are read one place before. It has two uses: it rescores what a masked model has drawn, and it
writes the first seconds that a masked model goes on from.

Source: Copet et al., Simple and controllable music generation (arXiv:2306.05284), section 2.2; MAGNeT
    (arXiv:2401.04577), sections 3.4 and 3.5, for the uses.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.errors import ParameterError
from masktools.transformer.streams import StreamTransformer, StreamTransformerConfig, Text

__all__ = ["DelayedPrior", "DelayedPriorConfig"]


@dataclass(frozen=True)
class DelayedPriorConfig(StreamTransformerConfig):
    """Settings of the causal transformer; ``context`` and ``span`` mean nothing to it."""


class DelayedPrior(StreamTransformer):
    """Causal predictor of delayed token streams, under the names and shapes of a stream transformer's weights."""

    causal = True

    def delayed(self, tokens: Tensor) -> Tensor:
        """Return tokens (b, K, w) at their places, (b, K, w + K - 1); ``mask_id`` where there is none."""
        n_streams, n_cols = tokens.shape[1:]
        places = tokens.new_full((len(tokens), n_streams, n_cols + n_streams - 1), self.mask_id)
        for stream in range(n_streams):
            n_read = min(n_cols, places.shape[2] - 1 - stream)
            places[:, stream, 1 + stream : 1 + stream + n_read] = tokens[:, stream, :n_read]
        return places

    def all_logits(self, tokens: Tensor, text: Text | None = None) -> Tensor:
        """Return the logits (b, K, w, k) of every token, given those at places before its own.

        Args:
            tokens: (b, K, w) codes, and ``mask_id`` where one is unknown.
            text: From ``read``; None for none.

        Raises:
            ParameterError: Tokens of another shape.
        """
        if tokens.ndim != 3 or tokens.shape[1] != self.config.n_streams:
            raise ParameterError(f"tokens must have shape (b, {self.config.n_streams}, w), got {tuple(tokens.shape)}")
        hidden, n_cols = self.hidden(self.delayed(tokens), self.attention(0), text), tokens.shape[2]
        return torch.stack([head(hidden[:, k : k + n_cols]) for k, head in enumerate(self.heads)], dim=1)

    def log_p(self, tokens: Tensor, stream: int, text: Text | None = None, temperature: float = 1.0) -> Tensor:
        """Return the log probability (b, w) of the tokens of one stream.

        Args:
            tokens: (b, K, w) codes, and ``mask_id`` where one is unknown.
            stream: Its number.
            text: From ``read``; None for none.
            temperature: Divisor of the logits, above 0.
        """
        n_cols = tokens.shape[2]
        hidden = self.hidden(self.delayed(tokens), self.attention(0), text)
        logits = self.heads[stream](hidden[:, stream : stream + n_cols]).float() / temperature
        return -F.cross_entropy(logits.flatten(0, 1), tokens[:, stream].flatten().long(), reduction="none").view(
            len(tokens), n_cols
        )
