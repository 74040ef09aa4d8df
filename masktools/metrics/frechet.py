"""The Frechet distance between two sets of embeddings: between the Gaussians that have their means and covariances.

Known as FD, and with embeddings of audio as FAD. Its value depends on the embedder and on the number of vectors: it
is large for few vectors even where both sets are of one distribution, so compare only sets of equal size, or use
``frechet_infinity``.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from masktools.errors import ParameterError

__all__ = ["FrechetLimit", "Moments", "as_vectors", "frechet_distance", "frechet_infinity", "principal_axes"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean (d,) and scatter (d, d) of vectors; those of two sets can be merged exactly.

    Source: Chan, Golub and LeVeque, Updating formulae (1979), Eqs. 1.5.
    """

    n: int
    mean: np.ndarray
    scatter: np.ndarray  # the sum of outer products of deviations from the mean

    @classmethod
    def of(cls, vectors: np.ndarray) -> "Moments":
        """Return the moments of vectors (n, d).

        Raises:
            ParameterError: No vectors, or some that are not finite.
        """
        rows = as_vectors(vectors)
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    def __add__(self, other: "Moments") -> "Moments":
        if self.mean.shape != other.mean.shape:
            raise ParameterError(f"moments must be of one dimension, got {len(self.mean)} and {len(other.mean)}")
        n, step = self.n + other.n, other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.n * other.n / n)
        return Moments(n, self.mean + step * (other.n / n), scatter)

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance (d, d).

        Raises:
            ParameterError: There are fewer than two vectors.
        """
        if self.n < 2:
            raise ParameterError(f"a covariance needs at least 2 vectors, got {self.n}")
        return self.scatter / (self.n - 1)

    def save(self, path: str | os.PathLike[str], name: str = "embedding") -> None:
        """Write ``NAME.mu``, ``NAME.cov`` (names that fadtk reads too) and ``NAME.n`` to an .npz file."""
        target = Path(path)
        partial = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.npz")
        arrays: dict[str, Any] = {f"{name}.mu": self.mean, f"{name}.cov": self.covariance, f"{name}.n": self.n}
        np.savez(partial, **arrays)
        partial.replace(target)

    @classmethod
    def load(cls, path: str | os.PathLike[str], name: str = "embedding", n: int | None = None) -> "Moments":
        """Return the moments that ``save`` or fadtk wrote.

        Args:
            path: of the .npz file.
            name: of the embedder, as it was written.
            n: of how many vectors they are, at least 2, where the file does not say so; fadtk's do not.

        Raises:
            ParameterError: There is no such file, or it holds other statistics.
        """
        if not Path(path).is_file():
            raise ParameterError(f"no statistics at {path}")
        with np.load(path, allow_pickle=False) as found:
            missing = {f"{name}.mu", f"{name}.cov"} - set(found.files)
            if missing:
                raise ParameterError(f"{path} must hold {', '.join(sorted(missing))}, it has {', '.join(found.files)}")
            counted = int(found[f"{name}.n"]) if f"{name}.n" in found.files else n
            mean, covariance = (np.asarray(found[f"{name}.{key}"], np.float64) for key in ("mu", "cov"))
        if counted is None or counted < 2:
            raise ParameterError(f"{path} must say of how many vectors it is, got {counted}: give `n`, at least 2")
        if mean.ndim != 1 or covariance.shape != 2 * mean.shape or not np.isfinite(covariance).all():
            shapes = f"{mean.shape} and {covariance.shape}"
            raise ParameterError(f"{path} must hold a mean (d,) and a finite covariance (d, d), got {shapes}")
        return cls(counted, mean, covariance * (counted - 1))


def frechet_distance(reference: np.ndarray | Moments, estimate: np.ndarray | Moments) -> float:
    """Return the squared Frechet distance of two sets of vectors (n, d) and (m, d), or of their moments.

    Computed in float64 with symmetric eigenproblems and singular values: never complex, and 0 for equal sets.

    Raises:
        ParameterError: Fewer than two vectors, other dimensions, or values that are not finite.

    Source: Dowson and Landau (1982), Eq. 4; Kilgour et al., Frechet Audio Distance (arXiv:1812.08466), section 3.
    """
    one, other = (x if isinstance(x, Moments) else Moments.of(x) for x in (reference, estimate))
    if one.mean.shape != other.mean.shape:
        raise ParameterError(f"both sets must be of one dimension, got {len(one.mean)} and {len(other.mean)}")
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    if isinstance(reference, Moments) or isinstance(estimate, Moments) or max(one.n, other.n) > len(one.mean):
        root = _root_trace(one.covariance, other.covariance)
    else:
        # The trace of the root of S1 S2 is the nuclear norm of the product of the centred data: no d x d matrices.
        first, second = (as_vectors(x) - x.mean(axis=0, dtype=np.float64) for x in (reference, estimate))
        root = float(np.linalg.norm(first @ second.T, "nuc")) / float(np.sqrt((one.n - 1) * (other.n - 1)))
    gap = one.mean - other.mean
    return max(0.0, float(gap @ gap + traces - 2 * root))


class FrechetLimit(NamedTuple):
    """The distance extrapolated to endless sets, and the share of variance that the line explains.

    The value may fall a little below zero. Sets that are far apart hardly change with their size: their share is low.
    """

    value: float
    r_squared: float


def frechet_infinity(
    reference: np.ndarray, estimate: np.ndarray, n_points: int = 15, n_smallest: int | None = None, seed: int = 0
) -> FrechetLimit:
    """Return the Frechet distance extrapolated to an endless estimate, by a line over 1/n.

    Args:
        reference: vectors (n, d).
        estimate: vectors (m, d), of which random subsets are taken without replacement.
        n_points: sizes of subsets.
        n_smallest: the smallest size; a third of m if it is not given.
        seed: of the subsets.

    Raises:
        ParameterError: Too few vectors, or values that are not finite.

    Source: Chong and Forsyth, Effectively unbiased FID (arXiv:1911.07023), section 3.2.
    """
    base, rows = Moments.of(reference), as_vectors(estimate)
    smallest = max(2, len(rows) // 3) if n_smallest is None else n_smallest
    if not 2 <= smallest < len(rows) or n_points < 3:
        raise ParameterError(
            f"an extrapolation needs 3 sizes from 2 to below {len(rows)}, got {n_points} from {smallest}"
        )
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(smallest, len(rows), n_points).astype(int))
    found = np.array([frechet_distance(base, rows[rng.permutation(len(rows))[:size]]) for size in sizes])
    slope, value = np.polyfit(1 / sizes, found, 1)
    residual = found - (value + slope / sizes)
    spread = float(np.sum((found - found.mean()) ** 2))
    return FrechetLimit(float(value), 1.0 - float(np.sum(residual**2)) / spread if spread > 0 else 1.0)


def principal_axes(vectors: np.ndarray, n: int) -> np.ndarray:
    """Return the directions (d, k) in which vectors (m, d) vary most, k at most n; vectors @ axes are components.

    Between few vectors of many dimensions a Frechet distance is mostly their number: on components it is not.

    Raises:
        ParameterError: Fewer than two vectors, values that are not finite, or n below 1.
    """
    rows = as_vectors(vectors)
    if n < 1 or len(rows) < 2:
        raise ParameterError(f"principal axes need n of at least 1 and 2 vectors, got {n} and {len(rows)}")
    _, _, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return axes[: min(n, len(rows) - 1)].T


def as_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, d) in float64.

    Raises:
        ParameterError: Another shape, no vectors, or values that are not finite.
    """
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ParameterError(f"vectors must be of shape (n, d) and not empty, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ParameterError("vectors must be finite, got NaN or infinity")
    return rows


def _root_trace(first: np.ndarray, second: np.ndarray) -> float:
    """Return the trace of the square root of the product of two covariances.

    It is the nuclear norm of the product of their roots. The roots of the eigenvalues of the product are the same
    numbers, but they turn a rounding of 1e-16 into 1e-8 wherever a covariance has no variance.
    """
    return float(np.linalg.norm(_root(first) @ _root(second), "nuc"))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the square root of a covariance (d, d); eigenvalues that are but rounding count as 0."""
    values, axes = np.linalg.eigh(covariance)
    rounding = values[-1] * len(values) * np.finfo(np.float64).eps
    return (axes * np.sqrt(np.where(values > rounding, values, 0.0))) @ axes.T
