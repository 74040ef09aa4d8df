"""Learn how loud the upper bands of recordings are, given their lower ones: the table that --to works with.

    python recipes/mini/levels.py manifest.csv -o levels.safetensors
    masktools bundle ... --levels levels.safetensors

The manifest is that of `masktools cache` (recipes/README.md). Of its split `train`, all recordings count that reach up
to 19 kHz, each with the same weight; those under a non-commercial licence are left out. 16 minutes of audio take half a
minute on one core. The same recordings give the same file.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from masktools import io
from masktools.core.levels import (
    CONTEXT_S,
    FLOOR_DB,
    HOPS,
    LevelMixture,
    band_matrix,
    context_of,
    frame_length,
    frames_of,
)
from masktools.detection import find_bandwidth

REACH_HZ = 19_000.0  # that a recording must have
GAIN_DB = 8.0  # standard deviation of the gains that recordings are heard with: they come at any level
N_PARTS, N_ROUNDS = 2, 60  # of the mixture, and of expectation and maximisation
RIDGE_DB2 = 1.0  # added to each variance
EVERY = 2  # frames, of which one counts


def levels_of(path: Path) -> np.ndarray | None:
    """Return the levels and their averages, (frames, 58), of all channels of a recording; None if it ends early."""
    samples, rate = (audio := io.read(path)).samples, audio.sample_rate
    if rate < 2 * REACH_HZ:
        return None
    edge_hz = find_bandwidth(samples, rate).cutoff_hz
    if edge_hz is not None and edge_hz < REACH_HZ:
        return None
    of_bands = band_matrix(rate)
    n_context = round(CONTEXT_S * rate / (frame_length(rate) // HOPS))
    found = []
    for wave in samples:
        density = np.abs(frames_of(wave, rate)) ** 2 @ of_bands
        levels_db = np.maximum(10 * np.log10(density + 1e-30), FLOOR_DB)
        found.append(np.concatenate([levels_db, context_of(levels_db, n_context)], axis=1)[::EVERY])
    return np.concatenate(found)


def fitted(levels_db: np.ndarray, weights: np.ndarray) -> LevelMixture:
    """Return the mixture that makes weighted levels (frames, 58) most likely.

    It starts from the louder and the quieter moments. Source: Bishop (2006), section 9.2.2.
    """
    weights = weights / weights.sum()
    ranks = np.argsort(np.argsort(levels_db.mean(axis=1), kind="stable"), kind="stable") * N_PARTS // len(levels_db)
    shares = np.eye(N_PARTS)[ranks]
    for _ in range(N_ROUNDS):
        each = shares * weights[:, None]
        sizes = each.sum(axis=0)
        means = each.T @ levels_db / sizes[:, None]
        likely, roots = np.empty_like(shares), []
        for part in range(N_PARTS):
            centred = levels_db - means[part]
            covariance = (centred * each[:, part, None]).T @ centred / sizes[part]
            root = np.linalg.cholesky(covariance + RIDGE_DB2 * np.eye(len(covariance)))
            roots.append(root)
            squares = np.square(centred @ np.linalg.inv(root).T).sum(axis=1)
            likely[:, part] = np.log(sizes[part]) - np.log(np.diag(root)).sum() - 0.5 * squares
        shares = np.exp(likely - likely.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
    rows, columns = np.tril_indices(levels_db.shape[1])
    return LevelMixture(sizes, means, np.stack(roots)[:, rows, columns])


def main() -> None:
    """Read the manifest, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="CSV with path, split and nc")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the table, levels.safetensors")
    args = parser.parse_args()
    with args.manifest.open(encoding="utf-8", newline="") as file:
        wanted = [row for row in csv.DictReader(file) if row["split"] == "train" and row.get("nc", "0") in ("", "0")]
    found = [levels_of(args.manifest.parent / row["path"]) for row in wanted]
    heard = [levels for levels in found if levels is not None]
    if not heard:
        parser.error(f"no recording of the split train reaches {REACH_HZ:g} Hz")
    levels_db = np.concatenate(heard)
    levels_db += np.random.default_rng(0).normal(0, GAIN_DB, (len(levels_db), 1))
    weights = np.concatenate([np.full(len(levels), 1 / len(levels)) for levels in heard])
    args.output.write_bytes(fitted(levels_db, weights).to_bytes())
    print(f"{args.output}: of {len(heard)} recordings of {len(wanted)}")


if __name__ == "__main__":
    main()
