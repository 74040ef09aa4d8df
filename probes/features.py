"""The vectors of a data set's clips: computed once, kept on disk, read by every probe of them.

What computes them is an ``Extractor``: the encoder of a model, or any function of a recording.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from masktools.core.errors import MasktoolsError, ParameterError, unknown_name
from masktools.extraction import Item, read_item
from masktools.extraction.items import ExtractionSettings, Row
from masktools.extraction.worker import Progress, Sink, Worker, run_local
from masktools.features import Encoder
from masktools.io import resample
from probes.cache import VectorCache, stamp_of
from probes.data import TaggedData
from probes.vectors import Vectors

POOLS = ("mean", "rows", "max", "mean_std", "rows_std")
WINDOWS = ("vector", "prediction")
"""What is averaged over a recording longer than the model's window: the vectors, or the predictions from them."""


class Extractor(Protocol):
    """What makes vectors of recordings."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def about(self) -> dict[str, Any]:
        """How it makes them, as JSON has it; vectors are taken from the disk where this is the same."""
        ...

    def extract(self, items: Sequence[Item], sink: Sink, progress: Progress | None = None) -> None:
        """Store a row for each item that is not finished; what cannot be read has a row that says why."""
        ...


@dataclass(frozen=True)
class _Holder(Worker):
    """A worker with an encoder that is at hand."""

    held: Encoder | None = None

    @property
    def encoder(self) -> Encoder:
        """The model."""
        return self.held or super().encoder


@dataclass(frozen=True)
class EncoderExtractor:
    """All layers of a model's encoder.

    Attributes:
        worker: the model, and where it computes; its settings are replaced by what follows.
        prefix: learned, or condition: what the model's conditioner hears in the recording.
        pool: one of ``POOLS``.
        windows: one of ``WINDOWS``. With ``prediction`` there is a vector for each window of the model's length.
        dtype: of the vectors on the disk: float32, or float16 for half the room.
        hop_s: shorter than a column, it says how often a recording is heard, each time a little later.
        label: what tables call it; the model's name and the prefix if empty.
    """

    worker: Worker
    prefix: str = "learned"
    pool: str = "mean"
    windows: str = "vector"
    dtype: str = "float32"
    hop_s: float | None = None
    label: str = ""

    def __post_init__(self) -> None:
        for kind, got, known in (("pool", self.pool, POOLS), ("windows", self.windows, WINDOWS)):
            if got not in known:
                raise unknown_name(kind, got, known)
        if self.windows == "prediction" and (self.pool.endswith("_std") or self.hop_s is not None):
            what = f"the pool {self.pool}" if self.hop_s is None else f"a hop of {self.hop_s:g} s"
            raise ParameterError(f"{what} has no vectors of windows: choose windows vector, or leave it out")

    @classmethod
    def of(cls, encoder: Encoder, **settings: Any) -> "EncoderExtractor":
        """Return the extractor of an encoder that is at hand; the settings are the attributes but ``worker``."""
        return cls(_Holder(held=encoder), **settings)

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.label or f"{self.worker.encoder.name}, {self.prefix} prefix"

    @property
    def settings(self) -> ExtractionSettings:
        """What is computed of each recording."""
        encoder = self.worker.encoder
        by_window = self.windows == "prediction"
        window_s = encoder.pipeline.window_cols * encoder.hop_s
        return ExtractionSettings(
            "all", self.pool, window_s if by_window else self.hop_s, by_window, False, self.prefix, self.dtype
        )

    @property
    def about(self) -> dict[str, Any]:
        """The model, by its weights, and the settings."""
        return {
            "model": self.worker.encoder.name,
            "identity": self.worker.identity,
            "windows": self.windows,
            **self.settings.to_json(),
        }

    def extract(self, items: Sequence[Item], sink: Sink, progress: Progress | None = None) -> None:
        """Store a row for each item that is not finished."""
        worker = replace(self.worker, settings=self.settings)
        worker.check()
        run_local(items, worker, sink, progress)


@dataclass(frozen=True)
class FunctionExtractor:
    """Any function of a recording.

    Attributes:
        name: what tables call it.
        function: (wave (t,) float32 with channels averaged, sample rate in Hz) -> (d,) or (layers, d).
        identity: what the vectors depend on: settings, versions, weights. Change it, and they are computed anew.
        sample_rate: in Hz, that the function wants; the recording's own if None.
    """

    name: str
    function: Callable[[np.ndarray, int], np.ndarray]
    identity: str
    sample_rate: int | None = None
    more: dict[str, Any] = field(default_factory=dict)  # to be told beside the result

    @property
    def about(self) -> dict[str, Any]:
        """The function by its name and its identity."""
        return {"function": self.name, "identity": self.identity, "sample_rate": self.sample_rate, **self.more}

    def extract(self, items: Sequence[Item], sink: Sink, progress: Progress | None = None) -> None:
        """Store a row for each item that is not finished."""
        finished = sink.finished()
        for done, item in enumerate(items, start=1):
            if item.key not in finished:
                sink.add([self._row(item)])
            if progress is not None:
                progress(done, len(items))

    def _row(self, item: Item) -> Row:
        try:
            samples, rate = read_item(item)
            mono = samples.mean(axis=0, keepdims=True)
            wanted = self.sample_rate or rate
            vector = np.asarray(self.function(resample(mono, rate, wanted)[0], wanted), np.float32)
        except (MasktoolsError, OSError) as error:
            return Row(item.key, error=" ".join(str(error).splitlines()))
        if vector.ndim not in (1, 2) or not np.isfinite(vector).all():
            return Row(item.key, error=f"{self.name} must give a finite vector, got shape {vector.shape}")
        return Row(item.key, clip=vector, duration_s=samples.shape[1] / rate)


def vectors_of(data: TaggedData, extractor: Extractor, cache: Path, progress: Progress | None = None) -> Vectors:
    """Return the vectors of a data set; what an earlier run has computed is taken from the disk.

    Args:
        data: the clips.
        extractor: what makes vectors of them.
        cache: the folder under which vectors are kept, each kind in a folder of its own.
        progress: called with (recordings done, recordings in all).

    Raises:
        ParameterError: not one clip has vectors, or what is on the disk is damaged.
    """
    about = extractor.about
    fingerprint = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / f"{_plain(data.name)}-{_plain(extractor.name)}-{fingerprint}"
    store = VectorCache(folder, {clip.key: stamp_of(clip.path) for clip in data.clips}, about)
    items = [Item(clip.key, clip.path) for clip in data.clips]
    try:
        extractor.extract(items, store, progress)
    finally:
        store.flush()
    return store.vectors(extractor.name, [clip.key for clip in data.clips], about)


def _plain(name: str) -> str:
    """Return a name as part of a folder's.

    >>> _plain("mini, learned prefix")
    'mini-learned-prefix'
    """
    words = "".join(letter if letter.isalnum() else " " for letter in name).split()
    return "-".join(words)[:60] or "unnamed"
