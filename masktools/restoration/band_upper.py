"""What is added above the band of the model, from the band below or from another take of the same source.

A take is heard in steps of 46 ms. For each step of the recording the places of the take are found whose lower bands are
shaped most alike, their neighbours included: the best one lends its detail, and the mean of the best few says by how
much the upper bands are louder there than was to be expected. Where a recording is to be like itself, its full-band
moments lend and its dull ones borrow.

Detail comes from the band below, which is copied upwards moment by moment; how loud each band is at each moment comes
from the levels of the bands below it. Both are functions of the recording alone: nothing is left to chance, and
equal channels stay equal. A recording passes by in stretches of some seconds, each with what it needs on both sides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from math import ceil
from typing import NamedTuple

import numpy as np

from masktools.classical.fills import high_pass, high_pass_reach
from masktools.core.arguments import checked_name, shown
from masktools.core.errors import ParameterError
from masktools.core.levels import (
    BAND_EDGES_HZ,
    CONTEXT_S,
    FLOOR_DB,
    HOPS,
    Levels,
    band_matrix,
    context_of,
    frame_length,
    frames_of,
    window_of,
)
from masktools.core.shapes import Window
from masktools.detection import find_bandwidth
from masktools.io import resample
from masktools.restoration.band_level import HOP, loudness_gate
from masktools.restoration.recordings import Duplicates, Signal, in_windows

STEP_FRAMES = 8  # of a quarter of 23 ms: a step
MAX_S = 180.0  # of a take that are heard
N_ALIKE = 12  # places that have a say in the levels
AROUND = 2  # steps to either side that must be alike, too
LEVEL_SHARE = 0.3  # of a difference in loudness that counts, beside differences in shape
OWN = "own"  # the recording itself is the take
UNLIKE_DB = 8.0  # from here on a recording is not like the take
DULL_DB = 25.0  # by which the upper bands of a dull stretch are fainter than expected
DULL_S = 1.0  # over which that is told
_FAINT = 1e-20  # power
_EMPTY_DB = -150.0  # of full scale, per Hz: below what 16 bits leave in a band


@dataclass(frozen=True, eq=False)
class Take:
    """A full-band take, at the rate of the recording that is extended."""

    samples: np.ndarray  # (channels, n)
    sample_rate: int  # Hz
    is_own: bool = False  # whether it is the recording itself

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples.shape[1] / self.sample_rate


class Alike(NamedTuple):
    """Where a take is like a recording, step by step of the latter."""

    steps: np.ndarray  # (steps,) the step of the take that is most alike
    above_db: np.ndarray  # (steps, bands) by how much the upper bands are louder there than was to be expected
    apart_db: np.ndarray  # (steps,) how far the best step is off in the known bands, root mean square


@dataclass(frozen=True, eq=False)
class HeardTake:
    """A take, step by step."""

    take: Take
    known: np.ndarray  # (bands,)
    looks: np.ndarray  # (steps, features) what each step is like in the known bands
    above_db: np.ndarray  # (steps, bands) by how much the others are louder than expected
    is_dull: np.ndarray  # (steps,) whether a step lacks them, and has nothing to lend

    def alike(self, levels_db: np.ndarray) -> Alike:
        """Return where the take is most like a recording of such levels (frames, bands)."""
        looks = _looks(levels_db, self.known)
        squares = np.square(looks).sum(axis=1)[:, None] - 2 * looks @ self.looks.T + np.square(self.looks).sum(axis=1)
        distances = _with_neighbours(squares)
        distances[:, self.is_dull] = np.inf
        few = min(N_ALIKE, int(np.sum(~self.is_dull)))
        places = np.argpartition(distances, few - 1, axis=1)[:, :few]
        near = np.take_along_axis(distances, places, axis=1)
        best = near.argmin(axis=1)[:, None]
        weights = 1.0 / (near + np.take_along_axis(near, best, axis=1) + 1e-3)
        weights /= weights.sum(axis=1, keepdims=True)
        above_db = np.einsum("sk,skb->sb", weights, self.above_db[places])
        apart_db = np.sqrt(near.min(axis=1).clip(0.0) / ((2 * AROUND + 1) * looks.shape[1]))
        return Alike(np.take_along_axis(places, best, axis=1)[:, 0], above_db, apart_db)

    def detail(self, steps: np.ndarray, channel: int, n_samples: int) -> np.ndarray:
        """Return a wave (n,) made of those steps of a channel, each faded into the next."""
        step = self.step_samples
        wave = self.take.samples[min(channel, len(self.take.samples) - 1)]
        padded = np.pad(wave, (step, 2 * step)).astype(np.float64)
        fade = np.sin(np.pi * (np.arange(2 * step) + 0.5) / (2 * step))
        made = np.zeros((len(steps) + 1) * step)
        for number, place in enumerate(steps):
            made[number * step : (number + 2) * step] += fade * padded[place * step : (place + 2) * step]
        return np.pad(made[step:], (0, max(0, n_samples - len(made) + step)))[:n_samples]

    @property
    def step_samples(self) -> int:
        """Samples of a step."""
        return STEP_FRAMES * frame_length(self.take.sample_rate) // HOPS


def heard(take: Take, of_known: np.ndarray, expected: Callable[[np.ndarray], np.ndarray]) -> HeardTake:
    """Return a take as one hears it who knows some of its bands.

    Args:
        take: at the rate of the recording.
        of_known: what makes of powers (frames, bins) the densities (frames, bands) of the bands that are known.
        expected: what makes of known levels the levels of all bands.

    Raises:
        ParameterError: a recording that is to be like itself, and is dull throughout.
    """
    powers = [np.square(np.abs(frames_of(wave, take.sample_rate))) for wave in take.samples]
    known, parts = np.asarray(of_known.any(axis=0)), []
    for power in [np.mean(powers, axis=0), *(powers if take.is_own else [])]:
        below_db, all_db = 10 * np.log10(power @ of_known + _FAINT), levels_of(power, take.sample_rate)
        parts.append((below_db, all_db, louder_db(all_db, expected(below_db))))
    below_db, all_db, above_db = parts[0]
    dull = np.zeros(len(above_db), bool)
    for _, _, of_channel_db in parts[1:]:
        dull |= is_dull(of_channel_db, known, take.sample_rate)
    if dull.all():
        raise ParameterError("the recording has no full-band moments to be like: name another take")
    above_db[:, known | (all_db < FLOOR_DB).all(axis=0)] = 0.0
    return HeardTake(take, known, _looks(below_db, known), above_db, dull)


def levels_of(power: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the levels (frames, bands) in powers (frames, bins), in dB per Hz."""
    return np.maximum(10 * np.log10(power @ band_matrix(sample_rate) + _FAINT), _EMPTY_DB)


def louder_db(levels_db: np.ndarray, expected_db: np.ndarray) -> np.ndarray:
    """Return by how much levels (frames, bands) exceed what was expected, (steps, bands)."""
    return context_of(levels_db - np.maximum(expected_db, _EMPTY_DB), STEP_FRAMES)[::STEP_FRAMES]


def is_dull(above_db: np.ndarray, known: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return whether steps (steps, bands), given how much louder they are than expected, lack what is not known."""
    step_s = STEP_FRAMES * frame_length(sample_rate) / (HOPS * sample_rate)
    stretches = context_of(above_db[:, ~known], round(DULL_S / step_s))
    return np.median(stretches, axis=1) < -DULL_DB


def check_like(like: object) -> None:
    """Refuse what is neither a take with its sample rate nor "own".

    Raises:
        ParameterError: the message says what it must be.
    """
    if isinstance(like, str):
        checked_name("like", like, (OWN,))
    elif not isinstance(like, tuple) or len(like) != 2:
        raise ParameterError(f"like must be (samples, sample rate) of a take, or {OWN!r}, got {shown(like)}")


def at_frames(of_steps: np.ndarray, n_frames: int) -> np.ndarray:
    """Return values of steps (steps, bands) at every frame, by lines between them."""
    places = np.minimum(np.arange(n_frames) / STEP_FRAMES, len(of_steps) - 1)
    before = places.astype(int)
    after = np.minimum(before + 1, len(of_steps) - 1)
    share = (places - before)[:, None]
    return (1 - share) * of_steps[before] + share * of_steps[after]


def _looks(levels_db: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return what each step is like, (steps, features): the shape of its known bands, and a share of their loudness."""
    seen = context_of(levels_db[:, known], STEP_FRAMES)[::STEP_FRAMES]
    return seen - (1.0 - LEVEL_SHARE) * seen.mean(axis=1, keepdims=True)


def _with_neighbours(squares: np.ndarray) -> np.ndarray:
    """Return distances (steps, places) summed over what comes before and after both."""
    n_steps, n_places = squares.shape
    padded = np.pad(squares, AROUND, mode="edge")
    around = range(2 * AROUND + 1)
    return np.sum([padded[at : at + n_steps, at : at + n_places] for at in around], axis=0)


def take_of(take: Signal, to_rate: int, start_hz: float, is_own: bool = False) -> Take:
    """Return a take as it is used: its first three minutes, at another rate.

    Args:
        take: the recording.
        to_rate: of the recording that is extended.
        start_hz: from where on the take is to lend its band.
        is_own: whether it is the recording that is extended.

    Raises:
        ParameterError: a take that has no such band, or is too short.
    """
    sample_rate = take.sample_rate
    samples = take.read(0, min(take.n_samples, round(MAX_S * sample_rate)))
    edge_hz = find_bandwidth(samples, sample_rate).cutoff_hz or sample_rate / 2
    if edge_hz < 1.1 * start_hz:
        raise ParameterError(
            f"the take to be like must reach well above {start_hz:.0f} Hz, where the missing band begins, "
            f"but ends at {edge_hz:.0f} Hz: give a full-band one"
        )
    if samples.shape[1] < 0.5 * sample_rate:
        raise ParameterError(f"the take to be like must last 0.5 s, got {samples.shape[1] / sample_rate:.2f} s")
    return Take(resample(samples, sample_rate, to_rate) if sample_rate != to_rate else samples, to_rate, is_own)


STRETCH_S = 4.0
CLEAN = 0.97  # of the cutoff, up to which a recording's levels are its own
BEYOND_DB_PER_OCTAVE = -36.0  # above the last band that levels are known of
GENERATED_DB = 20.0  # by which levels that a model made may be off
LIVELY_DB = 1.2  # by which a level that comes and goes is louder than its mean in dB: 0.5 in wind and rain, 3 in music

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
        duplicates = Duplicates(len(original), linked=True)
        duplicates.part(np.concatenate([original, band], axis=1))
        known = original[duplicates.firsts].astype(np.float64) + band[duplicates.firsts]
        spectra = {
            place: frames_of(wave, self.sample_rate) for place, wave in zip(duplicates.firsts, known, strict=True)
        }
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
        return np.stack([made[place] for place in duplicates.places])

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
        else:
            wanted_db += LIVELY_DB
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
