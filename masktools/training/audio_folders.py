"""A folder of audio that training can read: an audio cache or tar shards."""

import os
from pathlib import Path

from masktools.errors import ParameterError
from masktools.training.audio_cache import AudioCache
from masktools.training.shards import ShardSet

__all__ = ["open_audio"]


def open_audio(folder: str | os.PathLike[str], sample_rate: int = 22_050) -> AudioCache | ShardSet:
    """Return the audio cache of a folder, or its tar shards at a rate.

    Raises:
        ParameterError: There is neither, or the cache is at another rate.
    """
    place = Path(folder)
    if (place / "waves.int16").is_file():
        cache = AudioCache(place)
        if cache.sample_rate != sample_rate:
            raise ParameterError(f"the cache must be at {sample_rate} Hz, got {cache.sample_rate} Hz in {place}")
        return cache
    if place.is_dir() and next(place.rglob("*.tar"), None) is not None:
        return ShardSet(place, sample_rate)
    raise ParameterError(f"no audio cache and no tar shards in {place}: make one with `masktools cache`")
