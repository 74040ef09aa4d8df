"""Items -> sources that an encoder reads: short ones decoded ahead, mono and at its rate; long ones left as they are.

What is decoded ahead gives what reading the file piece by piece would give, bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from masktools.errors import MasktoolsError
from masktools.extraction.sources import Item, read_item
from masktools.extraction.sources.reading import span_of
from masktools.extraction.sources.remote import ending_of, is_url
from masktools.extraction.sources.shards import SHARD_ENDING
from masktools.io import Recording, open_recording

if TYPE_CHECKING:
    from masktools.features import Source
else:
    Source = Any  # who lists recordings need not wait for torch

__all__ = ["LONG_S", "SHORT_S", "Convert", "Prepared", "opened", "prepare", "reason_of"]

SHORT_S = 60.0
"""Recordings up to this length are computed beside others; longer ones have windows enough of their own."""

LONG_S = 300.0
"""Longer recordings are not decoded ahead, but piece by piece while they are computed."""

Convert = Callable[[Source], Source]
"""Gives a recording that is held in memory, at the rate of the encoder."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An item that waits for the encoder: in memory, or in its file, or not to be had."""

    item: Item
    source: Source | None = None  # None: it is long, or cannot be read
    duration_s: float = 0.0
    error: str | None = None

    @property
    def is_short(self) -> bool:
        """Whether it is computed beside others."""
        return self.source is not None and self.duration_s <= SHORT_S

    @property
    def n_bytes(self) -> int:
        """How much memory it takes."""
        return 0 if self.source is None else 4 * self.source.n_samples


def prepare(item: Item, convert: Convert) -> Prepared:
    """Return an item as it is given to the encoder; what is wrong with it is told there, and raises nothing."""
    try:
        if _is_file(item):
            with opened(item) as source:
                long = source.duration_s > LONG_S
                return Prepared(item, None if long else convert(source), source.duration_s)
        samples, rate = read_item(item)
        source = _held(samples, rate, item.key)
        return Prepared(item, convert(source), source.duration_s)
    except Exception as error:  # the recordings after it shall not pay for it, whatever it is
        return Prepared(item, error=reason_of(error, item))


def reason_of(error: Exception, item: Item) -> str:
    """Return why a recording could not be embedded, in one line."""
    if isinstance(error, MasktoolsError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{item.location}: {error.strerror or error}"
    else:
        text = f"{item.location}: internal error ({type(error).__name__}: {error})"
    return " ".join(text.split())


@contextmanager
def opened(item: Item) -> Iterator[Source]:
    """Give the recording of an item that is a file, or the part of it that is meant, read piece by piece.

    Raises:
        AudioError: the file is missing, damaged, no audio, or ends before the part starts.
    """
    with open_recording(item.location) as recording:
        start, stop = span_of(item, recording)
        yield _source(recording, start, stop)


def _source(recording: Recording, start: int, stop: int) -> Source:
    from masktools.features import Source as Read

    def read(first: int, last: int) -> np.ndarray:
        return recording.read(start + first, start + last)

    return Read(read, stop - start, recording.sample_rate, str(recording.path))


def _held(samples: np.ndarray, rate: int, name: str) -> Source:
    from masktools.features import Source as Held

    return Held(lambda first, last: samples[:, first:last], samples.shape[1], rate, name)


def _is_file(item: Item) -> bool:
    return item.member is None and not is_url(item.location) and ending_of(item.location) != SHARD_ENDING
