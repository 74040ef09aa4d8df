"""Choice of layers, and pooling: vectors of tokens -> those of columns -> that of the clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masktools.core.arguments import checked_name, shown
from masktools.core.errors import ParameterError, unknown_name
from masktools.core.shapes import Condition, FlatTokens
from masktools.networks.transformer import MaskedTransformer


@dataclass(frozen=True, eq=False)
class Embedding:
    """Embedding of a recording. If several layers were asked for, arrays have a first axis for them.

    Attributes:
        clip: (d,) float32, one vector for all of the recording; None where nothing was pooled.
        frames: (m, d) float32, one vector for each frame; (m, rows, d) where nothing was pooled; None where they were
            not asked for.
        times_s: (m,) float64, centre of each frame in seconds.
        tokens: (rows, columns) uint16, row 0 the lowest, a column each 4096 samples at the usual settings; None where
            they were not asked for.
        duration_s: length of the recording in seconds.
    """

    clip: np.ndarray | None
    frames: np.ndarray | None = None
    times_s: np.ndarray | None = None
    tokens: np.ndarray | None = None
    duration_s: float = 0.0

    def __post_init__(self) -> None:
        """Check that frames and their times belong together."""
        if (self.frames is None) != (self.times_s is None):
            raise ParameterError("frames and times_s must be given together: each frame has its time")
        if self.frames is not None and self.times_s is not None and len(self.times_s) not in self.frames.shape[:2]:
            raise ParameterError(f"there are {len(self.times_s)} times for frames of shape {self.frames.shape}")


LayerLike = int | np.integer | str | Sequence[int] | Sequence[float] | np.ndarray | Tensor
"""A number, ``last``, ``mean``, ``all``, whole numbers (layers side by side) or floats (the weight of each layer)."""

_NAMES = ("last", "mean", "all")


@dataclass(frozen=True)
class LayerChoice:
    """Layers side by side, or a weighted sum of them. Layer 0 is the input of the first block, i the output of block i.

    Attributes:
        layers: indices of the layers, each from 0 to the model's depth.
        weights: one for each of ``layers`` for a weighted sum; None where they stand side by side.
        single: whether the result has no axis of layers.
    """

    layers: tuple[int, ...]
    weights: tuple[float, ...] | None = None
    single: bool = True

    def __post_init__(self) -> None:
        """Check that there is something to compute."""
        if not self.layers:
            raise ParameterError("at least one layer must be asked for, got none")
        if self.weights is not None and len(self.weights) != len(self.layers):
            raise ParameterError(f"{len(self.layers)} layers need as many weights, got {len(self.weights)}")
        if self.single and self.weights is None and len(self.layers) > 1:
            raise ParameterError(f"{len(self.layers)} layers side by side are not a single one")

    @property
    def n_out(self) -> int:
        """Number of vectors side by side."""
        return 1 if self.weights is not None else len(self.layers)


def parse_layers(layer: LayerLike, depth: int) -> LayerChoice:
    """Return the chosen layers of a model with ``depth`` blocks.

    >>> parse_layers(-1, depth=8).layers
    (8,)
    >>> parse_layers([2, 5], depth=8)
    LayerChoice(layers=(2, 5), weights=None, single=False)

    Raises:
        ParameterError: a layer that the model does not have, an unknown name, or weights of another number.
    """
    if isinstance(layer, str):
        return _named(layer, depth)
    values = _numbers(layer)
    if values.dtype.kind in "iu" and values.ndim == 0:
        return LayerChoice((_counted(int(values), depth),))
    if values.dtype.kind in "iu" and values.ndim == 1:
        return LayerChoice(tuple(_counted(int(value), depth) for value in values), single=False)
    if values.dtype.kind == "f" and values.ndim == 1 and values.size:
        return _weighted(values, depth)
    raise ParameterError(
        f"layer must be a whole number, one of {', '.join(_NAMES)}, a list of whole numbers or {depth + 1} weights, "
        f"got {shown(layer)}"
    )


def _numbers(layer: object) -> np.ndarray:
    try:
        if isinstance(layer, Tensor):
            layer = layer.detach().cpu()
            layer = layer.double() if layer.is_floating_point() else layer
        return np.asarray(layer)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):  # lists of unequal lengths, and what is no list
        return np.zeros((), object)


def _named(name: str, depth: int) -> LayerChoice:
    if name not in _NAMES:
        raise unknown_name("layer", name, (*_NAMES, f"a number from {-depth - 1} to {depth}"))
    every = tuple(range(depth + 1))
    if name == "last":
        return LayerChoice((depth,))
    if name == "all":
        return LayerChoice(every, single=False)
    return LayerChoice(every, weights=(1 / len(every),) * len(every))


def _counted(layer: int, depth: int) -> int:
    if not -depth - 1 <= layer <= depth:
        raise ParameterError(f"layer must lie in [{-depth - 1}, {depth}], got {layer}: this model has {depth} blocks")
    return layer % (depth + 1)


def _weighted(weights: np.ndarray, depth: int) -> LayerChoice:
    if len(weights) != depth + 1:
        raise ParameterError(f"weights of layers must be {depth + 1}, one for each from 0 on, got {len(weights)}")
    if not np.isfinite(weights).all() or not weights.any():
        raise ParameterError(f"weights of layers must be finite and not all zero, got {weights.tolist()}")
    used = [index for index, weight in enumerate(weights) if weight]
    return LayerChoice(tuple(used), weights=tuple(float(weights[index]) for index in used))


def hidden_states(
    transformer: MaskedTransformer, tokens: FlatTokens, condition: Condition | None, choice: LayerChoice
) -> Tensor:
    """Return the states (l, b, n, d) of given tokens, without the prefix; blocks above the last layer do not run.

    Args:
        transformer: the model.
        tokens: tokens, at most a full clip of them.
        condition: (b, d) vector that is put before the tokens; the learned vector if None.
        choice: layers to return.

    Raises:
        ParameterError: shapes that do not fit the model.
    """
    nothing = torch.zeros_like(tokens, dtype=torch.bool)
    sequence = transformer.enter(tokens, nothing, condition, None)
    kept: dict[int, Tensor] = {}
    total: Tensor | None = None
    wanted = set(choice.layers)
    weight_of = dict(zip(choice.layers, choice.weights or (), strict=False))
    for number in range(max(wanted) + 1):
        if number:
            sequence = transformer.blocks[number - 1](sequence)
        if number not in wanted:
            continue
        if choice.weights is None:
            kept[number] = sequence[:, 1:]
        else:
            part = weight_of[number] * sequence[:, 1:].float()
            total = part if total is None else total + part
    if total is not None:
        return total[None]
    return torch.stack([kept[number] for number in choice.layers])


POOLS = ("mean", "rows", "max", "mean_std", "rows_std", "none")
"""Names of the pools.

``mean`` averages over rows and time. ``rows`` averages over time and concatenates the rows, lowest first.
``max`` is the maximum over rows and time. ``mean_std`` is the mean and the standard deviation over time of the average
over rows, ``rows_std`` those of each row. ``none`` keeps every token's own vector: there are frames (m, rows, d) and no
vector of the clip.
"""

_BY_ROW, _WITH_STD = ("rows", "rows_std"), ("mean_std", "rows_std")


def check_pool(pool: str) -> str:
    """Return the name of a pool, checked.

    Raises:
        ParameterError: an unknown name.
    """
    return checked_name("pool", pool, POOLS)


def frame_factor(pool: str, n_rows: int) -> int:
    """Return the dimensions of a frame's vector (of a token's, with ``none``), in multiples of the model's width."""
    return n_rows if pool in _BY_ROW else 1


def clip_factor(pool: str, n_rows: int) -> int:
    """Return the dimensions of a clip's vector, in multiples of the model's width (0 with ``none``)."""
    return {"mean_std": 2, "rows_std": 2 * n_rows, "none": 0}.get(pool, frame_factor(pool, n_rows))


def pool_rows(states: Tensor, pool: str) -> Tensor:
    """Return the states (..., r, d) of columns, one vector each, (..., d or r * d); unchanged with ``none``."""
    if pool == "none":
        return states
    if pool in _BY_ROW:
        return states.flatten(-2)
    return states.amax(dim=-2) if pool == "max" else states.mean(dim=-2)


class ClipPool:
    """Pools the columns of a clip, which come in any order and in pieces. Sums are kept in double precision."""

    def __init__(self, pool: str) -> None:
        self.pool = check_pool(pool)
        self._n = 0
        self._sum: np.ndarray | None = None  # (l, d), or the maximum so far
        self._squares: np.ndarray | None = None

    def add(self, columns: np.ndarray) -> None:
        """Add the vectors (l, w, d) of some columns."""
        self._n += columns.shape[1]
        if self.pool == "max":
            largest = columns.max(axis=1)
            self._sum = largest if self._sum is None else np.maximum(self._sum, largest)
            return
        total = columns.sum(axis=1, dtype=np.float64)
        self._sum = total if self._sum is None else self._sum + total
        if self.pool in _WITH_STD:
            squares = np.square(columns, dtype=np.float64).sum(axis=1)
            self._squares = squares if self._squares is None else self._squares + squares

    def vector(self) -> np.ndarray | None:
        """Return the pooled vectors (l, d), float32; None where nothing is pooled."""
        if self.pool == "none" or self._sum is None:
            return None
        if self.pool == "max":
            return self._sum.astype(np.float32)
        mean = self._sum / self._n
        if self._squares is None:
            return mean.astype(np.float32)
        variance = np.maximum(self._squares / self._n - np.square(mean), 0.0)
        return np.concatenate([mean, np.sqrt(variance)], axis=-1).astype(np.float32)
