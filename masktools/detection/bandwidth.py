"""Bandwidth of a recording: the cutoff of the low-pass filter that it went through, if it went through one.

The spectrum of a band-limited recording goes on evenly up to the edge, falls within a narrow band, and is a steady
floor above. That of one that merely gets quieter towards the top, or whose notes have no higher partials, falls over
a wide band, or varies over time above it, together with the sound.
"""

from bisect import insort
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal.windows import blackmanharris

from masktools.core.arguments import check_within
from masktools.core.errors import ParameterError
from masktools.core.settings import BandSettings
from masktools.detection.damage import FLOOR_DB, checked_wave, decibels

WINDOW_S = 4096 / 44_100
MAX_FRAMES = 2048  # frames that are kept; at least half as many
FRAMES_PER_WINDOW = 4
LOUDEST_SHARE = 0.7
HELD_S = 0.001  # seconds of equal samples in a row that mark a frame as damaged
MIN_CLEAN_SHARE = 0.1  # share of the loud frames that must be undamaged, or else all of them count
_SILENCE = 1e-14  # power of a frame
_BATCH = 64  # frames transformed at once


class LongSpectrum(NamedTuple):
    """Long-term spectrum of the loud frames of a recording: levels by bin, in dB of a full-scale sine."""

    hz: np.ndarray  # (bins,)
    median_db: np.ndarray  # (bins,)
    loud_db: np.ndarray  # (bins,): the 90 % quantile
    n_frames: int  # number of frames that were counted


def window_length(sample_rate: int) -> int:
    """Return the samples of a window, the power of two that is nearest to 93 ms.

    >>> window_length(44_100), window_length(16_000), window_length(96_000)
    (4096, 2048, 8192)
    """
    return max(64, 2 ** round(np.log2(WINDOW_S * sample_rate)))


class SpectrumSurvey:
    """Power spectra of frames spread over a recording, averaged over its channels.

    Every frame counts until ``MAX_FRAMES`` are held; then every second one is dropped, and from there on only every
    second one is taken. What comes out depends on the samples alone, not on the blocks in which they come.
    """

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self.n_fft = window_length(sample_rate)
        self.hop = self.n_fft // FRAMES_PER_WINDOW
        self._rate = sample_rate
        self._window = blackmanharris(self.n_fft, sym=False).astype(np.float32)
        self._scale = 2.0 / float(self._window.sum())
        self._held = max(4, round(HELD_S * sample_rate))
        self._rest = np.zeros((n_channels, 0), np.float32)
        self._start = 0  # sample of the recording at which the buffer begins
        self._next = 0  # index of the next frame
        self._stride = 1  # frames
        self._powers: list[np.ndarray] = []
        self._damaged: list[bool] = []

    def feed(self, block: np.ndarray) -> None:
        """Take the next samples (channels, n), all finite."""
        samples = np.concatenate([self._rest, block], axis=1)
        stop = self._start + samples.shape[1]
        while places := self._places(stop):
            frames = np.stack([samples[:, place - self._start :][:, : self.n_fft] for place in places])
            self._take(frames)
        kept = min(self._next * self.hop, stop)
        self._rest, self._start = samples[:, kept - self._start :].copy(), kept

    def _places(self, stop: int) -> list[int]:
        """Return the start samples of the next frames that are complete: no more than can be kept."""
        room = min(_BATCH, MAX_FRAMES - len(self._powers))
        starts = [(self._next + number * self._stride) * self.hop for number in range(room)]
        return [start for start in starts if start + self.n_fft <= stop]

    def _take(self, frames: np.ndarray) -> None:
        spectra = np.fft.rfft(frames * self._window, axis=-1)
        power = np.mean((np.abs(spectra) * self._scale) ** 2, axis=1).astype(np.float32)
        self._powers += list(power)
        self._damaged += list(_holds(frames, self._held))
        self._next += len(frames) * self._stride
        if len(self._powers) >= MAX_FRAMES:
            self._powers, self._damaged = self._powers[::2], self._damaged[::2]
            self._stride *= 2

    def finish(self) -> LongSpectrum:
        """Return the spectrum of the loudest 70 % of the frames; frames with damage count where there are no others."""
        hz = np.fft.rfftfreq(self.n_fft, 1 / self._rate)
        powers = np.array(self._powers, np.float32).reshape(-1, len(hz))
        totals = powers.sum(axis=1)
        heard = totals > _SILENCE
        loud = heard & (totals >= np.quantile(totals[heard], 1 - LOUDEST_SHARE)) if heard.any() else heard
        clean = loud & ~np.array(self._damaged, bool)
        chosen = clean if clean.sum() >= max(1, MIN_CLEAN_SHARE * loud.sum()) else loud
        if not chosen.any():
            floor = np.full(len(hz), FLOOR_DB)
            return LongSpectrum(hz, floor, floor, 0)
        median, loudest = np.quantile(powers[chosen], (0.5, 0.9), axis=0)
        return LongSpectrum(hz, decibels(median), decibels(loudest), int(chosen.sum()))


def _holds(frames: np.ndarray, length: int) -> np.ndarray:
    """Return for each frame (n, channels, t) whether a channel keeps one value for ``length`` samples."""
    same = np.cumsum(frames[..., 1:] == frames[..., :-1], axis=-1, dtype=np.int32)
    return np.any(same[..., length:] - same[..., :-length] >= length, axis=(1, 2))


BELOW_HZ = 400.0  # width of the band below the fall
GAP_HZ, GAP_SHARE = 150.0, 0.03  # greatest width of a fall, in Hz and as a share of its frequency
LOWEST_HZ, TOP_HZ = 1000.0, 450.0  # lowest frequency of a fall, and least distance from the top of the spectrum
QUANTILE, MARGIN_DB = 0.995, 3.0  # level above a fall: quantile, and margin
PLATEAU = (0.80, 0.95)  # band of the plateau, as shares of the edge
EDGE_DB = 6.0  # level of the edge below the plateau
SMOOTH_HZ = 100.0
SHOULDER, FOOT = (0.95, 0.99), (1.06, 1.10)  # bands around the fall, as shares of the edge
FLOOR_FROM, FLOOR_TO, FLOOR_HZ = 1.12, 0.98, 600.0  # noise floor: shares of edge and top, and least width
APART = 1.2  # least ratio of the frequencies of two falls
MAX_FALLS = 4
_STEPS = 4


class Shelf(NamedTuple):
    """A steep fall of a spectrum."""

    edge_hz: float  # the last frequency within 6 dB of the plateau below
    drop_db: float
    steepness_db: float  # level just below the edge less that 8 % above it
    liveliness_db: float  # variation of the level above: 90 % quantile over time less median; steady noise has 5


def find_shelves(spectrum: LongSpectrum) -> list[Shelf]:
    """Return the deepest falls of a spectrum, however shallow, the deepest first; none where the spectrum is too short.

    The fall at a frequency is the median of the 400 Hz below less the 99.5 % quantile of all that lies above, plus
    3 dB; or less the median of all that lies above, where that is the lesser.
    """
    hz, level = spectrum.hz, spectrum.loud_db
    step = hz[1]
    n_below, n_smooth = max(1, round(BELOW_HZ / step)), max(1, round(SMOOTH_HZ / step)) | 1
    places = np.arange(max(n_below, round(LOWEST_HZ / step)), len(hz) - round(TOP_HZ / step))
    if not len(places):
        return []
    n_gap = np.maximum(GAP_HZ / step, GAP_SHARE * places).round().astype(int)
    after = np.minimum(places + n_gap, len(hz) - round((TOP_HZ - GAP_HZ) / step))
    windows = np.lib.stride_tricks.sliding_window_view(level, n_below)
    below = np.median(windows, axis=1)[places - n_below]
    highest, middle = (_quantiles_above(level, share)[after] for share in (QUANTILE, 0.5))
    drops = np.minimum(below - highest + MARGIN_DB, below - middle)
    smooth = median_filter(level, n_smooth)
    shelves: list[Shelf] = []
    left = np.ones(len(drops), bool)
    while len(shelves) < MAX_FALLS and left.any():
        deepest = int(np.argmax(np.where(left, drops, -np.inf)))
        place = int(places[deepest])
        edge = _edge(level, smooth, place, int(after[deepest]))
        shelves.append(_shelf(spectrum, edge, float(drops[deepest])))
        left &= (places < place / APART) | (places > place * APART)
    return shelves


def _shelf(spectrum: LongSpectrum, edge: int, drop_db: float) -> Shelf:
    hz, level = spectrum.hz, spectrum.loud_db
    steepness = _level(level, edge, SHOULDER) - _level(level, edge, FOOT)
    least = round(FLOOR_HZ / hz[1])
    low = min(int(FLOOR_FROM * edge), len(hz) - least)
    floor = slice(low, max(int(FLOOR_TO * len(hz)), low + least // 2))
    liveliness = float(np.median(level[floor] - spectrum.median_db[floor]))
    return Shelf(float(hz[edge]), drop_db, steepness, liveliness)


def _level(level: np.ndarray, edge: int, band: tuple[float, float]) -> float:
    """Return the median level of a band, which is given as shares of the edge."""
    low = min(int(band[0] * edge), len(level) - 3)
    return float(np.median(level[low : max(int(band[1] * edge), low + 3)]))


def _edge(level: np.ndarray, smooth: np.ndarray, place: int, after: int) -> int:
    """Return the last bin within 6 dB of the plateau, found by iteration, since the plateau depends on the edge."""
    edge = place
    for _ in range(_STEPS):
        low, high = int(PLATEAU[0] * edge), max(int(PLATEAU[1] * edge), int(PLATEAU[0] * edge) + 1)
        near = np.flatnonzero(smooth[low:after] >= np.median(level[low:high]) - EDGE_DB)
        found = low + int(near[-1]) if len(near) else edge
        if abs(found - edge) <= 1:
            return found
        edge = found
    return edge


def _quantiles_above(values: np.ndarray, share: float) -> np.ndarray:
    """Return for each index the quantile of the values from there to the end."""
    ordered: list[float] = []
    found = np.empty(len(values))
    for place in range(len(values) - 1, -1, -1):
        insort(ordered, float(values[place]))
        position = share * (len(ordered) - 1)
        lower = int(position)
        upper = min(lower + 1, len(ordered) - 1)
        found[place] = ordered[lower] + (position - lower) * (ordered[upper] - ordered[lower])
    return found


CLEAR_DROP_DB = 30.0  # deeper falls are cutoffs whatever lies above
MAX_LIVELINESS_DB, MIN_STEEPNESS_DB = 6.0, 8.0  # for shallower falls
ENOUGH_FRAMES = 16
_SCALE_DB = 8.0


@dataclass(frozen=True)
class Bandwidth:
    """The cutoff of a recording, and the confidence in it."""

    cutoff_hz: float | None  # None where the recording is full-band, or its fall is too gentle to have an edge
    drop_db: float  # depth of the steepest fall of the spectrum, whether it counts as a cutoff or not
    confidence: float  # in [0, 1], of the answer, be it a cutoff or none

    def __post_init__(self) -> None:
        """Check every range."""
        if self.cutoff_hz is not None and not self.cutoff_hz > 0:
            raise ParameterError(f"cutoff_hz must be above 0 Hz, got {self.cutoff_hz:g} Hz")
        check_within("[0, 1]", confidence=self.confidence)


def find_bandwidth(samples: np.ndarray, sample_rate: int, min_drop_db: float = BandSettings.min_drop_db) -> Bandwidth:
    """Return the cutoff above which a recording holds nothing but a floor.

    The powers of all channels are averaged: the channel with the widest band counts. None is found in a recording
    that is silent or shorter than about 0.1 s, or went through a gentle filter (a Butterworth of order 8, say).

    Args:
        samples: (channels, t), full scale 1; what is not finite counts as silence.
        sample_rate: sampling rate in Hz.
        min_drop_db: least depth in dB of a fall that counts.

    Raises:
        ParameterError: samples of another shape or kind, an invalid sample rate, or a depth that is not positive.
    """
    wave = checked_wave(samples, sample_rate)
    survey = SpectrumSurvey(sample_rate, wave.shape[0])
    survey.feed(np.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0))
    return judge(survey.finish(), min_drop_db)


def judge(spectrum: LongSpectrum, min_drop_db: float = BandSettings.min_drop_db) -> Bandwidth:
    """Return the cutoff of a recording with this long-term spectrum.

    Raises:
        ParameterError: a depth that is not positive.
    """
    if not min_drop_db > 0:
        raise ParameterError(f"min_drop_db must be above 0 dB, got {min_drop_db:g} dB")
    shelves = find_shelves(spectrum) if spectrum.n_frames else []
    if not shelves:
        return Bandwidth(None, 0.0, 0.0)
    enough = min(1.0, spectrum.n_frames / ENOUGH_FRAMES)
    deepest_db = shelves[0].drop_db
    shelf = next((one for one in shelves if one.drop_db >= min_drop_db and _is_cutoff(one)), None)
    if shelf is not None:
        return Bandwidth(shelf.edge_hz, shelf.drop_db, enough * _sure(shelf.drop_db - min_drop_db))
    in_doubt = deepest_db >= min_drop_db  # a deep fall, but not as steep as that of a filter
    return Bandwidth(None, deepest_db, enough * (0.5 if in_doubt else _sure(min_drop_db - deepest_db)))


def _sure(distance_db: float) -> float:
    """Return the confidence in an answer by its distance in dB from the threshold."""
    return float(1 - 0.5 * np.exp(-distance_db / _SCALE_DB))


def _is_cutoff(shelf: Shelf) -> bool:
    """Tell whether a fall is a filter's edge: by its depth, or by its steepness and a steady floor above."""
    steep_to_a_floor = shelf.liveliness_db <= MAX_LIVELINESS_DB and shelf.steepness_db >= MIN_STEEPNESS_DB
    return shelf.drop_db >= CLEAR_DROP_DB or steep_to_a_floor
