"""What is added above the band of the model, up to where such recordings end.

Detail comes from the band below, which is copied upwards moment by moment; how loud each band is at each moment comes
from the levels of the bands below it. Both are functions of the recording alone: nothing is left to chance, and
equal channels stay equal. A recording passes by in stretches of some seconds, each with what it needs on both sides.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from masktools.levels import (
    BAND_EDGES_HZ,
    CONTEXT_S,
    HOPS,
    Levels,
    band_matrix,
    frame_length,
    frames_of,
    window_of,
)
from masktools.restoration.band_level import HOP, high_pass, high_pass_reach, loudness_gate
from masktools.restoration.band_stereo import Twins
from masktools.restoration.band_streams import in_windows
from masktools.segments import Window

__all__ = ["UpperBand"]

STRETCH_S = 4.0
GENERATED_DB = 6.0  # by which levels that a model made are off
CLEAN = 0.97  # of the cutoff, up to which a recording's levels are its own
BEYOND_DB_PER_OCTAVE = -36.0  # above the last band that levels are known of
_FAINT = 1e-20  # power

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class UpperBand:
    """Adds what a recording lacks from ``start_hz`` to ``top_hz``."""

    sample_rate: int  # Hz
    cutoff_hz: float  # where the recording's own band ends
    start_hz: float  # from the cutoff on; what lies between the two was generated
    top_hz: float  # at most half the sample rate
    levels: Levels
    gain_db: float = 0.0

    def joined(self, pairs: Iterable[Pair], n_samples: int) -> Iterator[Pair]:
        """Yield recordings and what is added to them, (channels, n) each, with the upper band in the latter.

        What was added above ``start_hz`` before gives way. The stretches that come out are not those that come in; what
        they hold does not depend on these.
        """
        source = iter(pairs)
        first = next(source, None)
        if first is None:
            return
        n_channels, types = len(first[0]), (first[0].dtype, first[1].dtype)
        hop = self._n_fft // HOPS
        stretch, margin = (round(seconds * self.sample_rate / hop) * hop for seconds in (STRETCH_S, self._margin_s))
        starts = range(0, n_samples, stretch)
        windows = [Window(max(0, at - margin), min(n_samples, at + stretch + margin)) for at in starts]
        stacked = (np.concatenate(pair) for pair in chain([first], source))
        for start, around in zip(starts, in_windows(stacked, windows), strict=True):
            original = around.samples[:n_channels].astype(types[0], copy=False)
            band = around.samples[n_channels:].astype(types[1], copy=False)
            inside = slice(start - around.start, min(start + stretch, n_samples) - around.start)
            yield original[:, inside], self._of_channels(original, band, inside).astype(types[1])

    @property
    def _margin_s(self) -> float:
        """What is read on either side: the context of levels, the reach of two filters, and a frame."""
        return 0.5 * CONTEXT_S + (2 * high_pass_reach(self.sample_rate) + 2 * self._n_fft + 2 * HOP) / self.sample_rate

    def _of_channels(self, original: np.ndarray, band: np.ndarray, inside: slice) -> np.ndarray:
        """Return what is added to all channels; equal ones are computed once."""
        twins = Twins(len(original), linked=True)
        twins.part(np.concatenate([original, band], axis=1))
        made = {place: self._whole(original[place], band[place], inside) for place in twins.firsts}
        return np.stack([made[place] for place in twins.places])

    def _whole(self, original: np.ndarray, band: np.ndarray, inside: slice) -> np.ndarray:
        """Return what is added to one channel (n,) in all, inside a stretch."""
        known = original.astype(np.float64) + band
        if not known.any():
            return np.zeros(len(known[inside]))
        upper = 0.0
        if self.start_hz < self.top_hz:
            upper = self._upper(known) * (10 ** (self.gain_db / 20) * loudness_gate(known))
        whole = band + high_pass(upper - band, self.sample_rate, self.start_hz)
        if self.top_hz < self.sample_rate / 2:
            whole -= high_pass(whole, self.sample_rate, self.top_hz)
        return whole[inside]

    def _upper(self, known: np.ndarray) -> np.ndarray:
        """Return a wave (n,) with the band above ``start_hz``, and nothing of worth below."""
        spectra = frames_of(known, self.sample_rate)
        levels_db = 10 * np.log10(np.square(np.abs(spectra)) @ self._of_known + _FAINT)
        n_context = round(CONTEXT_S * self.sample_rate / (self._n_fft // HOPS))
        wanted_db = self._expected(levels_db, n_context) @ self._spread
        detail = spectra[:, self._sources]
        present_db = 10 * np.log10(np.square(np.abs(detail)) @ self._of_targets + _FAINT) @ self._spread
        spectra[:] = 0.0
        spectra[:, self._targets] = detail * (10 ** ((wanted_db + self._beyond_db - present_db) / 20))
        return overlapped(spectra, self._n_fft)[: len(known)]

    @cached_property
    def _n_fft(self) -> int:
        return frame_length(self.sample_rate)

    @cached_property
    def _of_known(self) -> np.ndarray:
        """What makes of powers the densities of the known bands."""
        return band_matrix(self.sample_rate, CLEAN * self.start_hz)

    @cached_property
    def _expected(self) -> Callable[[np.ndarray, int], np.ndarray]:
        known = np.asarray(self._of_known.any(axis=0))
        generated = BAND_EDGES_HZ[1:] > self.cutoff_hz if self.cutoff_hz < self.start_hz else np.zeros_like(known)
        return self.levels.given(known, np.where(generated, GENERATED_DB, 0.0))

    @cached_property
    def _hertz(self) -> np.ndarray:
        return np.fft.rfftfreq(self._n_fft, 1 / self.sample_rate)

    @cached_property
    def _targets(self) -> np.ndarray:
        """The bins that are made; they reach as far below the start as the filter is wide."""
        return np.flatnonzero(self._hertz >= CLEAN * self.start_hz)

    @cached_property
    def _sources(self) -> np.ndarray:
        """The bin that each is made of; no phase turns between frames by such a shift."""
        edge = self._targets[0] - 1
        shift = max(HOPS, edge // 2 // HOPS * HOPS)
        return self._targets - shift * -(-(self._targets - edge) // shift)

    @cached_property
    def _of_targets(self) -> np.ndarray:
        """What makes of powers of the targets the densities of all bands; those without targets have none."""
        return band_matrix(self.sample_rate)[self._targets]

    @cached_property
    def _spread(self) -> np.ndarray:
        """What makes of levels of all bands those of the targets, by lines between the middles of the bands."""
        heard = np.flatnonzero(self._of_targets.any(axis=0))
        middles = np.sqrt(BAND_EDGES_HZ[:-1] * BAND_EDGES_HZ[1:])
        spread = np.zeros((len(middles), len(self._targets)), np.float32)
        for band, unit in zip(heard, np.eye(len(heard)), strict=True):
            spread[band] = np.interp(self._hertz[self._targets], middles[heard], unit)
        return spread

    @cached_property
    def _beyond_db(self) -> np.ndarray:
        """How far the targets that no level is known of lie below the last one that is."""
        above = self._hertz[self._targets] / BAND_EDGES_HZ[-1]
        return BEYOND_DB_PER_OCTAVE * np.log2(np.maximum(above, 1.0)).astype(np.float32)


def overlapped(spectra: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the wave of spectra as ``frames_of`` gives them, with samples left over at its end."""
    hop = n_fft // HOPS
    frames = np.fft.irfft(spectra, n_fft) * (window_of(n_fft) / (HOPS * np.mean(window_of(n_fft) ** 2)))
    parts = frames.reshape(len(frames), HOPS, hop)
    wave = np.zeros((len(frames) + HOPS - 1, hop))
    for place in range(HOPS):
        wave[place : place + len(frames)] += parts[:, place]
    return wave.reshape(-1)[n_fft // 2 :]
