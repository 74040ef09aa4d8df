"""What a recording has above its cutoff, taken away: whistles of codecs, aliases, noise of a converter."""

import numpy as np

from masktools.restoration.band_level import high_pass, high_pass_reach
from masktools.restoration.band_streams import Reader

__all__ = ["FAINT_DB", "cleaned"]

FAINT_DB = -50.0  # beside what is below the cutoff: what is louder is no leftover


def cleaned(reader: Reader, n_samples: int, sample_rate: int, cutoff_hz: float) -> Reader:
    """Return a reader of the recording without what it has above the cutoff; 200 Hz below it nothing changes."""
    reach = high_pass_reach(sample_rate)

    def read(start: int, stop: int) -> np.ndarray:
        first, last = max(0, start - reach), min(n_samples, stop + reach)
        part = reader(first, last)
        kept = slice(start - first, stop - first)
        low = [wave[kept] - high_pass(wave, sample_rate, cutoff_hz)[kept] for wave in part]
        return np.stack(low).astype(part.dtype)

    return read
