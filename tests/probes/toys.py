"""Small data sets whose answers are known, and their vectors."""

import numpy as np

from probes.data import Clip, TaggedData
from probes.vectors import Vectors


def tagged(n_clips=400, n_labels=6, seed=0, group_size=4) -> TaggedData:
    """Return clips with some of several labels, three fifths of them to train."""
    rng = np.random.default_rng(seed)
    wanted = rng.random((n_clips, n_labels)) < 0.3
    clips = tuple(
        Clip(
            f"k{i}",
            f"{i}.wav",
            ("train", "train", "train", "valid", "test")[i % 5],
            None,
            labels_of(row),
            f"g{i // group_size}",
        )
        for i, row in enumerate(wanted)
    )
    return TaggedData("toy", clips, tuple("abcdefghij"[:n_labels]), True, "a toy")


def folded(n_clips=150, n_labels=3, n_folds=3, seed=0) -> TaggedData:
    """Return clips of one label each, in folds."""
    rng = np.random.default_rng(seed)
    clips = (Clip(f"k{i}", f"{i}.wav", "", i % n_folds + 1, (int(rng.integers(n_labels)),)) for i in range(n_clips))
    return TaggedData("folded", tuple(clips), tuple("abcdef"[:n_labels]), False)


def labels_of(row: np.ndarray) -> tuple[int, ...]:
    """Return the places of what is true."""
    return tuple(int(place) for place in np.flatnonzero(row))


def telling(data: TaggedData, noise=0.1, width=12, seed=0) -> np.ndarray:
    """Return vectors (n, width) that say what the labels are, the better the less noise."""
    wanted = data.targets()
    indicators = wanted if wanted.ndim == 2 else np.eye(len(data.labels))[wanted]
    directions = np.random.default_rng(99).standard_normal((len(data.labels), width))
    rng = np.random.default_rng(seed)
    return (indicators @ directions + noise * rng.standard_normal((len(wanted), width))).astype(np.float32)


def silent(data: TaggedData, width=12, seed=0) -> np.ndarray:
    """Return vectors (n, width) that say nothing."""
    return np.random.default_rng(seed).standard_normal((len(data.clips), width)).astype(np.float32)


def vectors_of_layers(data: TaggedData, *layers: np.ndarray, name="toy vectors") -> Vectors:
    """Return vectors with one layer for each array."""
    return Vectors.from_array(name, [clip.key for clip in data.clips], np.stack(layers, axis=1))
