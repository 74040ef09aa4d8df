"""What is added above the band of the model, up to where such recordings end.

Detail comes from the band below, which is copied upwards moment by moment; how loud each band is at each moment comes
from the levels of the bands below it. Both are functions of the recording alone: nothing is left to chance, and
equal channels stay equal. A recording passes by in stretches of some seconds, each with what it needs on both sides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from math import ceil

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
from masktools.restoration.band_like import (
    AROUND,
    DULL_S,
    STEP_FRAMES,
    Alike,
    HeardTake,
    Take,
    at_frames,
    heard,
    is_dull,
    levels_of,
    louder_db,
)
from masktools.restoration.band_stereo import Twins
from masktools.restoration.band_streams import in_windows
from masktools.segments import Window

__all__ = ["UpperBand"]

STRETCH_S = 4.0
CLEAN = 0.97  # of the cutoff, up to which a recording's levels are its own
BEYOND_DB_PER_OCTAVE = -36.0  # above the last band that levels are known of
GENERATED_DB = 20.0  # by which levels that a model made may be off

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
    take: Take | None = None  # what lends its levels and its detail
    apart_db: list[np.ndarray] = field(default_factory=list)  # how far the recording is from it, for the report

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
        step = STEP_FRAMES * self._n_fft // HOPS
        stretch, margin = (ceil(seconds * self.sample_rate / step) * step for seconds in (STRETCH_S, self._margin_s))
        starts = range(0, n_samples, stretch)
        windows = [Window(max(0, at - margin), min(n_samples, at + stretch + margin)) for at in starts]
        stacked = (np.concatenate(pair) for pair in chain([first], source))
        for start, around in zip(starts, in_windows(stacked, windows), strict=True):
            original = around.samples[:n_channels].astype(types[0], copy=False)
            band = around.samples[n_channels:].astype(types[1], copy=False)
            inside = slice(start - around.start, min(start + stretch, n_samples) - around.start)
            yield original[:, inside], self._of_channels(original, band, inside).astype(types[1])

    @property
    def _is_own(self) -> bool:
        return self.take is not None and self.take.is_own

    @property
    def _margin_s(self) -> float:
        """What is read on either side: the context of levels, what is alike, the reach of two filters, and frames."""
        n_frames = 2 * HOPS + (AROUND + 2) * STEP_FRAMES
        n_samples = 2 * high_pass_reach(self.sample_rate) + 2 * HOP + n_frames * self._n_fft // HOPS
        told_over_s = CONTEXT_S + (DULL_S if self._is_own else 0.0)
        return 0.5 * told_over_s + n_samples / self.sample_rate

    def _of_channels(self, original: np.ndarray, band: np.ndarray, inside: slice) -> np.ndarray:
        """Return what is added to all channels; equal ones are computed once."""
        twins = Twins(len(original), linked=True)
        twins.part(np.concatenate([original, band], axis=1))
        known = original[twins.firsts].astype(np.float64) + band[twins.firsts]
        spectra = {place: frames_of(wave, self.sample_rate) for place, wave in zip(twins.firsts, known, strict=True)}
        dull = {place: self._is_dull(spectrum) for place, spectrum in spectra.items()} if self._is_own else {}
        found = self._alike(list(spectra.values()), list(dull.values())) if known.any() else None
        made = {}
        for wave, (place, spectrum) in zip(known, spectra.items(), strict=True):
            upper = np.zeros(len(wave))
            if self.start_hz < self.top_hz and wave.any():
                upper = self._upper(spectrum, found, place)[: len(wave)]
                upper *= 10 ** (self.gain_db / 20) * loudness_gate(wave)
                if place in dull:
                    edges = np.arange(len(dull[place])) * (STEP_FRAMES * self._n_fft // HOPS)
                    upper *= np.interp(np.arange(len(wave)), edges, dull[place].astype(float))
            made[place] = self._fitted(upper, band[place], inside)
        return np.stack([made[place] for place in twins.places])

    def _fitted(self, upper: np.ndarray, band: np.ndarray, inside: slice) -> np.ndarray:
        """Return what is added to a channel in all, inside a stretch, from what is to be added above the start."""
        whole = band + high_pass(upper - band, self.sample_rate, self.start_hz)
        if self.top_hz < self.sample_rate / 2:
            whole -= high_pass(whole, self.sample_rate, self.top_hz)
        return whole[inside]

    def _upper(self, spectra: np.ndarray, found: Alike | None, channel: int) -> np.ndarray:
        """Return a wave with the band above ``start_hz``, and nothing of worth below."""
        wanted_db = self._expected(self._levels_db(np.square(np.abs(spectra))))
        detail = spectra[:, self._sources]
        if found is not None and self._heard is not None:
            wanted_db += at_frames(found.above_db, len(spectra))
            lent = self._heard.detail(found.steps, channel, (len(spectra) - 1) * self._n_fft // HOPS)
            detail = frames_of(lent, self.sample_rate)[:, self._targets]
        present_db = 10 * np.log10(np.square(np.abs(detail)) @ self._of_targets + _FAINT)
        gains_db = (wanted_db - present_db) @ self._spread + self._beyond_db
        made = np.zeros_like(spectra)
        made[:, self._targets] = detail * (10 ** (gains_db / 20))
        return overlapped(made, self._n_fft)

    def _alike(self, spectra: Sequence[np.ndarray], dull: Sequence[np.ndarray]) -> Alike | None:
        """Return where the take is like a stretch of the recording, for all channels the same; None without a take."""
        if self._heard is None:
            return None
        power = np.mean([np.square(np.abs(each)) for each in spectra], axis=0)
        found = self._heard.alike(self._levels_db(power))
        self.apart_db.append(found.apart_db[np.any(dull, axis=0)] if dull else found.apart_db)
        return found

    def _is_dull(self, spectra: np.ndarray) -> np.ndarray:
        """Return whether the steps of spectra (frames, bins) lack their upper bands."""
        power = np.square(np.abs(spectra))
        above_db = louder_db(levels_of(power, self.sample_rate), self._expected(self._levels_db(power)))
        return is_dull(above_db, np.asarray(self._of_known.any(axis=0)), self.sample_rate)

    def _levels_db(self, power: np.ndarray) -> np.ndarray:
        """Return the levels of the known bands."""
        return 10 * np.log10(power @ self._of_known + _FAINT)

    @cached_property
    def _heard(self) -> HeardTake | None:
        """The take as one hears it who knows no more of it than of the recording."""
        return None if self.take is None else heard(self.take, self._of_known, self._expected)

    @cached_property
    def _n_fft(self) -> int:
        return frame_length(self.sample_rate)

    @cached_property
    def _of_known(self) -> np.ndarray:
        """What makes of powers the densities of the known bands, those that were generated among them."""
        return band_matrix(self.sample_rate, CLEAN * self.start_hz)

    @cached_property
    def _expected(self) -> Callable[[np.ndarray], np.ndarray]:
        """What makes of levels of the known bands those of all."""
        known = np.asarray(self._of_known.any(axis=0))
        generated = BAND_EDGES_HZ[1:] > self.cutoff_hz if self.cutoff_hz < self.start_hz else np.zeros_like(known)
        given = self.levels.given(known, np.where(generated, GENERATED_DB, 0.0))
        n_context = round(CONTEXT_S * self.sample_rate / (self._n_fft // HOPS))
        return lambda levels_db: given(levels_db, n_context)

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
        made = np.flatnonzero(self._of_targets.any(axis=0))
        middles = np.sqrt(BAND_EDGES_HZ[:-1] * BAND_EDGES_HZ[1:])
        spread = np.zeros((len(middles), len(self._targets)), np.float32)
        for band, unit in zip(made, np.eye(len(made)), strict=True):
            spread[band] = np.interp(self._hertz[self._targets], middles[made], unit)
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
