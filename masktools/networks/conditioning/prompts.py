"""Prompts as users give them (texts, embeddings, files of embeddings) -> unit vectors."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from masktools.core.arguments import check_positive, shown
from masktools.core.errors import ParameterError
from masktools.core.shapes import Condition, Wave


def check_texts(texts: Sequence[str]) -> None:
    """Raise where there are no texts, or empty ones.

    Raises:
        ParameterError: there are no texts, or one is empty.
    """
    if isinstance(texts, str) or not texts:
        raise ParameterError(f"prompts must be a list of at least one text, got {shown(texts)}")
    for text in texts:
        if not text.strip():
            raise ParameterError(f"a prompt must name a sound, but {text!r} is empty")


def check_wave(wave: Wave, sample_rate: int) -> None:
    """Raise where there are no samples, or invalid ones.

    Raises:
        ParameterError: there are no samples, some are not finite, or the rate is not positive.
    """
    check_positive("Hz", sample_rate=sample_rate)
    if wave.shape[-1] == 0:
        raise ParameterError("a wave to embed must have samples, got none")
    if not wave.isfinite().all():
        raise ParameterError("a wave to embed must be finite, got NaN or infinite samples")


Prompts = str | os.PathLike[str] | Sequence[Any] | np.ndarray | Tensor  # a sequence of texts


@runtime_checkable
class Conditioner(Protocol):
    """A conditioner: embeds texts and sounds as unit vectors of one space."""

    @property
    def dim(self) -> int:
        """Size of an embedding."""
        ...

    def embed_audio(self, wave: Wave, sample_rate: int) -> Condition:
        """Return one embedding per wave."""
        ...

    def embed_text(self, texts: list[str]) -> Condition:
        """Return one embedding per text."""
        ...


def as_condition(prompts: Prompts, conditioner: Conditioner | None, dim: int | None = None) -> Condition:
    """Return conditions (b, d) of unit norm, float32, from prompts in any form.

    Args:
        prompts: a text, a list of texts, embeddings (d,) or (b, d), or the path of a .npy file of embeddings
        conditioner: encoder of texts; None where only embeddings are given
        dim: dimensions that embeddings must have, if there is no conditioner

    Raises:
        ParameterError: a text is empty or there is no conditioner to read it; or embeddings are of another size,
            zero, not finite, or not in a .npy file of numbers.

    >>> as_condition(np.array([[3.0, 4.0]]), None)
    tensor([[0.6000, 0.8000]])
    """
    if isinstance(prompts, os.PathLike) or (isinstance(prompts, str) and prompts.endswith(".npy")):
        prompts = _read(Path(prompts))
    wanted = conditioner.dim if conditioner is not None else dim
    if isinstance(prompts, np.ndarray | Tensor):
        return _as_unit(_numbers(prompts), wanted)
    texts = [prompts] if isinstance(prompts, str) else _listed(prompts)
    if not all(isinstance(text, str) for text in texts):
        kinds = sorted({type(text).__name__ for text in texts})
        raise ParameterError(f"prompts must be texts, embeddings or a .npy file, got a list of {', '.join(kinds)}")
    check_texts(texts)
    if conditioner is None:
        raise ParameterError(f"this model reads no texts: give embeddings instead of {texts[0]!r}, or no prompt")
    return _as_unit(conditioner.embed_text(texts), wanted)


def _listed(prompts: object) -> list[Any]:
    """Return the prompts as a list; tables and dictionaries are refused as ambiguous."""
    if isinstance(prompts, Mapping | bytes) or not isinstance(prompts, Iterable) or getattr(prompts, "ndim", 1) != 1:
        raise ParameterError(f"prompts must be texts, embeddings or a .npy file, got {shown(prompts)}")
    return list(prompts)


def _read(path: Path) -> np.ndarray:
    if not _is_file(path):
        raise ParameterError(f"no embeddings at {path}: a prompt that ends in .npy names a file")
    try:
        content = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ParameterError(f"{path} must be a .npy file of numbers: {error}") from error
    if not isinstance(content, np.ndarray):
        content.close()
        raise ParameterError(f"{path} must hold one array, got an archive of several: save it with numpy.save")
    return content


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # an impossible file name
        return False


def _numbers(vectors: np.ndarray | Tensor) -> Tensor:
    is_array = isinstance(vectors, np.ndarray)
    is_real = vectors.dtype.kind in "fiu" if is_array else not (vectors.is_complex() or vectors.dtype == torch.bool)
    if not is_real:
        raise ParameterError(f"embeddings must be real numbers, got {vectors.dtype}")
    with np.errstate(over="ignore"):  # infinite values are refused later
        return torch.from_numpy(vectors.astype(np.float32)) if is_array else vectors.detach().to_dense().float()


def _as_unit(vectors: Tensor, dim: int | None) -> Condition:
    rows = vectors.unsqueeze(0) if vectors.ndim == 1 else vectors
    if rows.ndim != 2 or 0 in rows.shape or (dim is not None and rows.shape[1] != dim):
        wanted = "b, d" if dim is None else f"b, {dim}"
        raise ParameterError(f"embeddings must be ({wanted}), got {tuple(vectors.shape)}")
    if not rows.isfinite().all():
        bad = (~rows.isfinite()).any(dim=1).nonzero().flatten().tolist()
        raise ParameterError(f"embeddings must be finite, but row {bad[0]} holds NaN or infinity")
    peaks = rows.abs().amax(dim=1, keepdim=True)
    if not (peaks > 0).all():
        raise ParameterError(f"embeddings must not be zero, but row {int((peaks <= 0).flatten().nonzero()[0, 0])} is")
    return torch.nn.functional.normalize(rows / peaks, dim=1)
