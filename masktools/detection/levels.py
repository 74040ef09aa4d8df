"""Levels of a recording: peak, root mean square, noise floor, DC offset and clipping of each channel."""

from dataclasses import dataclass

import numpy as np

from masktools.detection.damage import FLOOR_DB, Window, decibels

TOP_SHARE = 0.999  # of the peak: samples of flat tops are above it
SHORTEST_FLAT = 3  # least number of samples of a flat top
CLIP_FROM = 0.5  # clipping occurs at higher peaks only
PIECE_S = 0.05  # pieces for the noise floor
FLOOR_SHARE = 0.05  # share of the pieces that are the quietest
_STEP_DB = 0.5


@dataclass(frozen=True)
class Level:
    """The level of one channel."""

    peak_db: float  # dBFS, greatest absolute sample
    rms_db: float  # dBFS, a full-scale sine at 0
    floor_db: float  # dBFS, 5 % quantile of the pieces of 50 ms that are not digital silence
    dc: float  # mean of the samples, full scale 1
    n_over: int  # samples beyond full scale
    n_flat: int  # flat tops: three samples or more in a row of one value, at the channel's peak
    n_flat_samples: int  # samples in flat tops


class LevelMeter:
    """Measures the level of each channel."""

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._piece = max(1, round(PIECE_S * sample_rate))
        self._channels = [_ChannelMeter() for _ in range(n_channels)]
        self._rest = np.zeros((n_channels, 0), np.float32)

    def feed(self, window: Window) -> None:
        """Take the core of the next window."""
        core = np.nan_to_num(window.core)
        for meter, samples in zip(self._channels, core, strict=True):
            meter.feed(samples)
        pieces = np.concatenate([self._rest, core], axis=1)
        n_pieces = pieces.shape[1] // self._piece
        whole = pieces[:, : n_pieces * self._piece].reshape(len(pieces), n_pieces, self._piece)
        powers = np.mean(whole.astype(np.float64) ** 2, axis=2)
        for meter, power in zip(self._channels, powers, strict=True):
            meter.count(power)
        self._rest = pieces[:, n_pieces * self._piece :].copy()

    def finish(self) -> tuple[Level, ...]:
        """Return the level of each channel."""
        return tuple(meter.finish() for meter in self._channels)


class _ChannelMeter:
    def __init__(self) -> None:
        self._n, self._sum, self._squares = 0, 0.0, 0.0
        self._peak, self._n_over = 0.0, 0
        self._n_flat, self._n_flat_samples = 0, 0
        self._last, self._n_last = 0.0, 0  # value of the last samples, and length of their run
        self._pieces = np.zeros(round(-FLOOR_DB / _STEP_DB) + 1, np.int64)

    def feed(self, samples: np.ndarray) -> None:
        exact = samples.astype(np.float64)
        self._n += len(samples)
        self._sum += float(exact.sum())
        self._squares += float(exact @ exact)
        self._n_over += int(np.count_nonzero(np.abs(samples) > 1))
        self._count_flat(samples)

    def _count_flat(self, samples: np.ndarray) -> None:
        """Count the runs at the peak; a new, higher peak resets the count."""
        peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))
        if peak * TOP_SHARE > self._peak:
            self._n_flat = self._n_flat_samples = 0
        self._peak = peak
        edges = np.flatnonzero(np.diff(samples)) + 1
        starts, stops = np.concatenate([[0], edges]), np.append(edges, len(samples))
        values, lengths = samples[starts], stops - starts
        if values[0] == self._last:
            lengths[0] += self._n_last
        else:
            self._count_run(self._last, self._n_last)
        flat = (lengths[:-1] >= SHORTEST_FLAT) & (np.abs(values[:-1]) >= TOP_SHARE * peak) & (values[:-1] != 0)
        self._n_flat += int(flat.sum())
        self._n_flat_samples += int(lengths[:-1][flat].sum())
        self._last, self._n_last = float(values[-1]), int(lengths[-1])

    def _count_run(self, value: float, length: int) -> None:
        if length >= SHORTEST_FLAT and value != 0 and abs(value) >= TOP_SHARE * self._peak:
            self._n_flat += 1
            self._n_flat_samples += length

    def count(self, powers: np.ndarray) -> None:
        """Count pieces by their level; digital silence is left out."""
        heard = powers[powers > 0]
        places = np.rint(-decibels(2 * heard) / _STEP_DB).clip(0, len(self._pieces) - 1).astype(int)
        np.add.at(self._pieces, places, 1)

    def finish(self) -> Level:
        self._count_run(self._last, self._n_last)
        clipped = self._peak >= CLIP_FROM
        return Level(
            float(decibels(self._peak**2)),
            float(decibels(2 * self._squares / max(1, self._n))),
            self._floor_db(),
            self._sum / max(1, self._n),
            self._n_over,
            self._n_flat if clipped else 0,
            self._n_flat_samples if clipped else 0,
        )

    def _floor_db(self) -> float:
        quietest_first = self._pieces[::-1].cumsum()
        if not quietest_first[-1]:
            return FLOOR_DB
        place = int(np.searchsorted(quietest_first, FLOOR_SHARE * quietest_first[-1], side="left"))
        return -_STEP_DB * (len(self._pieces) - 1 - place)
