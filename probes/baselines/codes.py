"""Histograms of tokens: what the tokenizer hears, with no transformer behind it."""

from collections.abc import Callable

import numpy as np

from masktools.features import Encoder


def code_histogram(encoder: Encoder, by_row: bool = False) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return the function from a wave to the square roots of its codes' shares, (codes,) or (rows * codes,).

    Roots, since the distances of shares are those of their most frequent codes alone: the Euclidean distance of
    roots is that of Hellinger.

    Args:
        encoder: whose tokenizer listens.
        by_row: count each row of the spectrogram apart, lowest first.
    """
    n_codes = encoder.pipeline.transformer.config.n_codes

    def describe(wave: np.ndarray, sample_rate: int) -> np.ndarray:
        heard = encoder.encode(np.asarray(wave, np.float32), sample_rate, layer=0, frames=False, tokens=True)
        tokens = np.asarray(heard.tokens)
        rows = list(tokens) if by_row else [tokens.ravel()]
        counts = np.concatenate([np.bincount(row, minlength=n_codes) / row.size for row in rows])
        return np.sqrt(counts).astype(np.float32)

    return describe
