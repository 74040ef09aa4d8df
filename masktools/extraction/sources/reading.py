"""Items -> waves, whatever they are read from."""

import os
import tempfile
from pathlib import Path

import numpy as np

from masktools.errors import AudioError
from masktools.extraction.sources.items import Item
from masktools.extraction.sources.remote import ending_of, fetch, is_url
from masktools.extraction.sources.shards import SHARD_ENDING, member_bytes
from masktools.io import Recording, open_recording

__all__ = ["read_item", "span_of"]


def read_item(item: Item) -> tuple[np.ndarray, int]:
    """Return the samples (channels, t) float32 of an item, full scale 1, and their sample rate in Hz.

    What stops behind the end of its recording is as long as the recording lasts.

    Raises:
        AudioError: the recording is missing, damaged, no audio, not finite, or ends before the item starts.
        ParameterError: a package for this kind of URL is missing.
    """
    if item.member is not None or ending_of(item.location) == SHARD_ENDING:
        held, called = member_bytes(item), f"{item.location}/{item.member}"
    elif is_url(item.location):
        held, called = fetch(item.location), item.location
    else:
        return _part(item, item.location)
    # Readers of audio want a file, and all that is checked of files is checked of this one.
    with tempfile.TemporaryDirectory(prefix="masktools-") as folder:
        path = os.path.join(folder, f"recording{ending_of(item.member or item.location)}")
        Path(path).write_bytes(held)
        try:
            return _part(item, path)
        except AudioError as error:
            raise AudioError(str(error).replace(path, called)) from error


def _part(item: Item, path: str) -> tuple[np.ndarray, int]:
    with open_recording(path) as recording:
        return recording.read(*span_of(item, recording)), recording.sample_rate


def span_of(item: Item, recording: Recording) -> tuple[int, int]:
    """Return the first sample of an item in its recording, and the one behind its last.

    Raises:
        AudioError: the recording ends before the item starts.
    """
    rate, n = recording.sample_rate, recording.n_samples
    start = round((item.start_s or 0.0) * rate)
    if start >= n:
        raise AudioError(
            f"{recording.path} ends at {recording.duration_s:.3f} s, before {item.key} starts: {item.start_s:g} s"
        )
    return start, n if item.stop_s is None else min(n, max(start + 1, round(item.stop_s * rate)))
