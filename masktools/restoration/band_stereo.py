"""Which waves the model extends for the channels of a recording, and what each channel gets of them."""

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

from masktools.arguments import checked_name
from masktools.errors import ParameterError
from masktools.restoration.band_level import HOP, MATCHED_BAND, SILENCE, SMOOTHING_S, at_samples, high_pass

__all__ = ["CHANNEL_MODES", "LINKED", "MID_SIDE", "Twins", "check_channels", "side_of"]

LINKED, INDEPENDENT, MID_SIDE = "linked", "independent", "mid_side"
CHANNEL_MODES = (LINKED, INDEPENDENT, MID_SIDE)
"""All channels with the same random numbers, each with its own, or the middle of two and their difference after it."""

MAX_RATIO = 2.0  # of the side's amplitude to the middle's
_DELAYS_S, _FEEDBACK = (0.0031, 0.0053, 0.0089), 0.6  # of the all-pass filters that take a wave out of step with itself


def check_channels(mode: str, n_channels: int) -> None:
    """Refuse an unknown mode, or one that is not for so many channels.

    Raises:
        ParameterError: the message says what there is.
    """
    checked_name("channels", mode, CHANNEL_MODES)
    if mode == MID_SIDE and n_channels != 2:
        raise ParameterError(f"channels 'mid_side' is for recordings of 2 channels, got {n_channels}: choose 'linked'")


class Twins:
    """Finds channels that have been equal from the beginning on: they are computed once."""

    def __init__(self, n_channels: int, linked: bool) -> None:
        self.places = [0] * n_channels if linked else list(range(n_channels))

    def part(self, samples: np.ndarray) -> None:
        """Note where the next samples (channels, n) of supposed twins differ: they are twins no longer."""
        known: dict[int, list[int]] = {}
        for channel, place in enumerate(self.places):
            groups = known.setdefault(place, [])
            like = next((own for own in groups if np.array_equal(samples[own], samples[channel])), channel)
            if like == channel:
                groups.append(channel)
            self.places[channel] = like

    @property
    def firsts(self) -> list[int]:
        """The channels that are computed, in order."""
        return sorted(set(self.places))


def side_of(middle: np.ndarray, known: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return what lies between two channels above a cutoff, (t,), made from what they share there.

    Just below the cutoff it is measured how loud the side is beside the middle, and how much of it goes with the
    middle: that part leans the added band to one side, and the rest, out of step with the middle, makes it wide.

    Args:
        middle: (t,) the added band of the middle.
        known: (2, t) the recording.
        sample_rate: in Hz.
        cutoff_hz: where the band begins.
    """
    mid, side = 0.5 * (known[0] + known[1]), 0.5 * (known[0] - known[1])
    mid, side = (_upper_band(wave, sample_rate, cutoff_hz) for wave in (mid, side))
    cross, mid_power, side_power = (_averaged(a * b, sample_rate) for a, b in ((mid, side), (mid, mid), (side, side)))
    quiet = SILENCE**2
    ratio = np.minimum(np.sqrt(side_power / np.maximum(mid_power, quiet)), MAX_RATIO)
    lean = np.clip(cross / np.maximum(mid_power, quiet), -ratio, ratio)
    wide = np.sqrt(np.maximum(0.0, ratio**2 - lean**2))
    n = len(middle)
    return at_samples(lean, n) * middle + at_samples(wide, n) * _out_of_step(middle, sample_rate)


def _upper_band(wave: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    low, high = (share * cutoff_hz for share in MATCHED_BAND)
    return high_pass(wave, sample_rate, low) - high_pass(wave, sample_rate, high)


def _averaged(products: np.ndarray, sample_rate: int) -> np.ndarray:
    blocks = np.pad(products, (0, -len(products) % HOP)).reshape(-1, HOP).mean(axis=1)
    return uniform_filter1d(blocks, max(1, round(SMOOTHING_S * sample_rate / HOP)), mode="nearest")


def _out_of_step(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a wave of the same spectrum that has next to nothing in common with it, sample by sample.

    Source: M. R. Schroeder, Natural sounding artificial reverberation (1962): all-pass filters in series.
    """
    for delay_s in _DELAYS_S:
        taps = np.zeros(max(1, round(delay_s * sample_rate)) + 1)
        taps[0], taps[-1] = _FEEDBACK, 1.0
        wave = np.asarray(lfilter(taps, np.concatenate([[1.0], np.zeros(len(taps) - 2), [_FEEDBACK]]), wave))
    return wave
