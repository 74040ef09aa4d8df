"""The recordings of the demonstration, and how each is damaged before it is restored."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import kaiserord, oaconvolve

from masktools.demo import music, rain, voice
from masktools.errors import ParameterError

__all__ = ["RECORDINGS", "Recording", "low_passed", "with_gaps"]

_STOP_DB, _TRANSITION_HZ = 90.0, 250.0  # of the low-pass; it is down by 6 dB at the cutoff


@dataclass(frozen=True)
class Recording:
    """One recording that the project synthesises, and its two damages."""

    name: str  # of its files
    title: str
    play: Callable[[], tuple[np.ndarray, int]]  # samples (channels, t) and their rate in Hz
    gaps: tuple[tuple[float, float], ...]  # start and end in seconds
    cutoff_hz: float

    def __post_init__(self) -> None:
        if not all(0 <= start_s < end_s for start_s, end_s in self.gaps):
            raise ParameterError(f"gaps must be (start, end) in seconds, start first, got {self.gaps}")
        if self.cutoff_hz <= _TRANSITION_HZ:
            raise ParameterError(f"cutoff_hz must be above {_TRANSITION_HZ:g} Hz, got {self.cutoff_hz:g} Hz")


RECORDINGS = (
    Recording("music", "Plucked strings, bass and drums", music.play, ((2.55, 2.95), (5.2, 6.2)), 5500.0),
    Recording("rain", "Rain, wind and drips", rain.play, ((1.8, 2.2), (4.5, 5.5)), 4000.0),
    Recording("voice", "A synthetic voice that counts", voice.play, ((1.76, 2.16), (4.3, 5.3)), 4000.0),
)


def with_gaps(samples: np.ndarray, sample_rate: int, gaps: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return samples (channels, t) with zeros in each gap of (start, end) seconds."""
    damaged = samples.copy()
    for start_s, end_s in gaps:
        damaged[:, round(start_s * sample_rate) : round(end_s * sample_rate)] = 0.0
    return damaged


def low_passed(samples: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return samples (channels, t) without what lies above the cutoff, without delay.

    A linear-phase Kaiser filter: 90 dB down from 125 Hz above the cutoff on.
    """
    n_taps, beta = kaiserord(_STOP_DB, 2 * _TRANSITION_HZ / sample_rate)
    time = np.arange(-(n_taps // 2), n_taps // 2 + 1)  # samples
    share = 2 * cutoff_hz / sample_rate
    taps = share * np.sinc(share * time) * np.kaiser(len(time), float(beta))
    return oaconvolve(samples, taps.reshape(1, -1), mode="same", axes=-1).astype(np.float32)
