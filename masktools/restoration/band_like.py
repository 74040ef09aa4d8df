"""What another take of the same source, or another part of the same recording, tells of a band that is missing.

A take is heard in steps of 46 ms. For each step of the recording the places of the take are found whose lower bands are
shaped most alike, their neighbours included: the best one lends its detail, and the mean of the best few says by how
much the upper bands are louder there than was to be expected. Where a recording is to be like itself, its full-band
moments lend and its dull ones borrow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from masktools.arguments import checked_name, shown
from masktools.detection import find_bandwidth
from masktools.errors import ParameterError
from masktools.io import resample
from masktools.levels import FLOOR_DB, HOPS, band_matrix, context_of, frame_length, frames_of
from masktools.restoration.band_streams import Reader

__all__ = [
    "AROUND",
    "DULL_S",
    "OWN",
    "STEP_FRAMES",
    "UNLIKE_DB",
    "Alike",
    "HeardTake",
    "Take",
    "at_frames",
    "check_like",
    "heard",
    "is_dull",
    "levels_of",
    "louder_db",
    "take_of",
]

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


def take_of(
    reader: Reader, n_samples: int, sample_rate: int, to_rate: int, start_hz: float, is_own: bool = False
) -> Take:
    """Return a take as it is used: its first three minutes, at another rate.

    Args:
        reader: tells samples [start, stop) of the take.
        n_samples: of the take.
        sample_rate: of the take, in Hz.
        to_rate: of the recording that is extended.
        start_hz: from where on the take is to lend its band.
        is_own: whether it is the recording that is extended.

    Raises:
        ParameterError: a take that has no such band, or is too short.
    """
    samples = reader(0, min(n_samples, round(MAX_S * sample_rate)))
    edge_hz = find_bandwidth(samples, sample_rate).cutoff_hz or sample_rate / 2
    if edge_hz < 1.1 * start_hz:
        raise ParameterError(
            f"the take to be like must reach well above {start_hz:.0f} Hz, where the missing band begins, "
            f"but ends at {edge_hz:.0f} Hz: give a full-band one"
        )
    if samples.shape[1] < 0.5 * sample_rate:
        raise ParameterError(f"the take to be like must last 0.5 s, got {samples.shape[1] / sample_rate:.2f} s")
    return Take(resample(samples, sample_rate, to_rate) if sample_rate != to_rate else samples, to_rate, is_own)
