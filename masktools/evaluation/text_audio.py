"""Encoders that read texts and hear sounds, and the similarity of the two: the score that is known from CLAP."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from masktools.conditioning import Conditioner
from masktools.errors import ParameterError
from masktools.evaluation.embedders import Embedder, JointEmbedder
from masktools.model import Model

__all__ = ["ConditionerScorer", "Scorer", "scorers_of", "unit_rows"]


@runtime_checkable
class Scorer(Protocol):
    """An embedder that reads texts too."""

    @property
    def name(self) -> str:
        """What it is, and which weights it has."""
        ...

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, d) of a wave (t,)."""
        ...

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """Return one vector a text, (n, d)."""
        ...


class ConditionerScorer:
    """A text-audio encoder that hears each recording as a whole."""

    def __init__(self, conditioner: Conditioner, name: str) -> None:
        self.conditioner, self.name = conditioner, name

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return the unit vector (1, d) of a wave (t,)."""
        mono = torch.from_numpy(np.ascontiguousarray(wave, np.float32))[None]
        return self.conditioner.embed_audio(mono, sample_rate).cpu().numpy()

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """Return one unit vector a text, (n, d)."""
        return self.conditioner.embed_text(texts).cpu().numpy()


def scorers_of(model: Model, embedders: Sequence[Embedder] = ()) -> list[Scorer]:
    """Return the model's own text-audio encoder, where it has one, and those embedders that read texts."""
    conditioner = model.pipeline.conditioner
    own: list[Scorer] = []
    if conditioner is not None:
        own.append(ConditionerScorer(conditioner, f"{JointEmbedder(model).name}, whole clips"))
    return [*own, *(embedder for embedder in embedders if isinstance(embedder, Scorer))]


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, d) of length 1, in float64.

    Raises:
        ParameterError: one of them is zero or not finite.
    """
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise ParameterError("the vectors of a text-audio encoder must be finite and not zero")
    return rows / lengths
