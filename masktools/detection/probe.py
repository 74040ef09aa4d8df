"""A recording of any length, probed in one pass and in bounded memory: its bandwidth, damage, level and clipping.

The result depends on the samples alone, not on the size of the blocks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from masktools.core.arguments import check_least
from masktools.core.arrays import checked_rate
from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap
from masktools.core.settings import BandSettings, GapSettings
from masktools.detection.bandwidth import Bandwidth, SpectrumSurvey, judge
from masktools.detection.damage import (
    CORE_SAMPLES,
    FLOOR_DB,
    Damage,
    Detector,
    Window,
    Windows,
    apart,
    checked_kinds,
    checked_wave,
    decibels,
    joined,
)
from masktools.detection.detectors import THRESHOLD, Clicks, ConstantRuns, Dropouts, NonFinite, Repeats

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


GAP_KINDS = ("zeros", "hold", "repeat", "dropout", "non_finite")
"""The kinds of damage that are gaps; clicks are listed apart."""


@dataclass(frozen=True)
class Findings:
    """Result of a probe: bandwidth, damage and levels of a recording."""

    sample_rate: int  # Hz
    n_samples: int
    kinds: tuple[str, ...]  # kinds of damage that were searched for
    levels: tuple[Level, ...]  # of each channel
    bandwidth: Bandwidth | None  # None where it was not searched for
    damage: tuple[Damage, ...]  # in order of time
    warnings: tuple[str, ...] = ()  # one sentence each

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.levels)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def gaps(self, kinds: Sequence[str] = GAP_KINDS) -> list[Gap]:
        """Return the damage of some kinds as gaps in seconds; gaps in all channels have no list of channels.

        Raises:
            ParameterError: an unknown kind.
        """
        wanted = checked_kinds(kinds)
        return [self._gap(damage) for damage in self.damage if damage.kind in wanted]

    def _gap(self, damage: Damage) -> Gap:
        everywhere = len(damage.channels) == self.n_channels
        start_s, end_s = damage.start / self.sample_rate, damage.stop / self.sample_rate
        return Gap(start_s, end_s, None if everywhere else damage.channels)

    def to_json(self) -> dict[str, Any]:
        """Return all results as a JSON object: times in seconds, frequencies in Hz, levels in dBFS, channels from 0 on.

        ``gaps`` is the input of ``masktools.core.gaps.read_gaps``; ``cutoff_hz`` is null where no cutoff was found.
        """
        bandwidth = self.bandwidth
        clicks = [self._place(one) for one in self.damage if one.kind == "clicks"]
        return {
            "sample_rate": self.sample_rate,
            "channels": self.n_channels,
            "duration_s": self.duration_s,
            "cutoff_hz": bandwidth and _rounded(bandwidth.cutoff_hz, 1),
            "cutoff_confidence": bandwidth and _rounded(bandwidth.confidence, 3),
            "cutoff_drop_db": bandwidth and _rounded(bandwidth.drop_db, 2),
            "detected": list(self.kinds),
            "gaps": [self._place(one) for one in self.damage if one.kind != "clicks"],
            "clicks": clicks,
            "clipping": [
                {"flat_tops": level.n_flat, "samples": level.n_flat_samples, "over": level.n_over}
                for level in self.levels
            ],
            "dc": [_rounded(level.dc, 7) for level in self.levels],
            "level": [
                {
                    "peak_db": _rounded(level.peak_db, 2),
                    "rms_db": _rounded(level.rms_db, 2),
                    "noise_floor_db": _rounded(level.floor_db, 2),
                }
                for level in self.levels
            ],
            "warnings": list(self.warnings),
        }

    def _place(self, damage: Damage) -> dict[str, Any]:
        return {
            "start_s": damage.start / self.sample_rate,
            "end_s": damage.stop / self.sample_rate,
            "kind": damage.kind,
            "channels": list(damage.channels),
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


DEFAULT_KINDS = GapSettings.detect
MAX_DAMAGE = 10_000  # greatest number of pieces kept, of one kind in one channel
MAX_DC, DC_S = 1e-3, 1.0  # offset of full scale that is reported, and shortest recording for it
NEAR_CLICKS_S = 0.002  # distance from other damage within which clicks are ignored, as its edges
_NEAR_S = {"dropout": 0.005, "clicks": 0.0005}  # tolerance for edges in different channels


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe: the kinds of damage and their thresholds."""

    kinds: tuple[str, ...] = DEFAULT_KINDS  # kinds of damage to search for
    bandwidth: bool = True  # whether to search for a cutoff
    min_gap_s: float = GapSettings.min_gap_s  # least length of zeros, held values and dropouts
    max_gap_s: float = GapSettings.max_gap_s  # longer ones are pauses
    min_drop_db: float = BandSettings.min_drop_db  # least depth of a cutoff
    click_threshold: float = THRESHOLD  # median absolute deviations of the residual

    def __post_init__(self) -> None:
        """Check every range."""
        checked_kinds(self.kinds)
        if not 0 < self.min_gap_s <= self.max_gap_s < np.inf:
            raise ParameterError(
                "min_gap_s must be above 0 s and max_gap_s not below it, "
                f"got {self.min_gap_s:g} s and {self.max_gap_s:g} s"
            )
        for name in ("min_drop_db", "click_threshold"):
            if not 0 < getattr(self, name) < np.inf:
                raise ParameterError(f"{name} must be above 0, got {getattr(self, name):g}")


class Probe:
    """Probes a recording that comes block by block.

    Args:
        sample_rate: sampling rate in Hz.
        n_channels: number of channels of the recording.
        settings: kinds of damage to search for, with their thresholds.

    Raises:
        ParameterError: an invalid sample rate or number of channels.
    """

    def __init__(self, sample_rate: int, n_channels: int, settings: ProbeSettings = ProbeSettings()) -> None:
        check_least(1, n_channels=n_channels)
        self._rate, self._settings = checked_rate(sample_rate), settings
        self._n_channels = n_channels
        self._windows = Windows(sample_rate, n_channels)
        self._levels = LevelMeter(sample_rate, n_channels)
        self._survey = SpectrumSurvey(sample_rate, n_channels) if settings.bandwidth else None
        self._detectors = _detectors(sample_rate, n_channels, settings)
        self._found: list[Damage] = []
        self._counts: Counter[tuple[str, int]] = Counter()

    def feed(self, block: np.ndarray) -> None:
        """Take the next samples (channels, n), full scale 1; they may hold damage, NaN and infinity too.

        Raises:
            ParameterError: samples of another shape or kind.
        """
        wave = checked_wave(block, self._rate)
        if len(wave) != self._n_channels:
            raise ParameterError(f"a block must have {self._n_channels} channels, got {len(wave)}")
        for window in self._windows.feed(wave):
            self._look(window)

    def _look(self, window: Window) -> None:
        self._levels.feed(window)
        if self._survey is not None:
            self._survey.feed(np.nan_to_num(window.core))
        for detector in self._detectors:
            for damage in detector.feed(window):
                key = damage.kind, damage.channels[0]
                self._counts[key] += 1
                if self._counts[key] <= MAX_DAMAGE:
                    self._found.append(damage)

    def finish(self) -> Findings:
        """Return the findings; the probe cannot be fed any more."""
        for window in self._windows.finish():
            self._look(window)
        levels = self._levels.finish()
        bandwidth = judge(self._survey.finish(), self._settings.min_drop_db) if self._survey is not None else None
        damage: list[Damage] = []
        for kind in self._settings.kinds:
            of_kind = [one for one in self._found if one.kind == kind]
            near_s = _NEAR_S.get(kind)
            damage += joined(of_kind) if near_s is None else joined(of_kind, round(near_s * self._rate))
        n_samples = self._windows.n_samples
        findings = Findings(
            self._rate,
            n_samples,
            self._settings.kinds,
            levels,
            bandwidth,
            tuple(apart(damage, round(NEAR_CLICKS_S * self._rate))),
        )
        return replace(findings, warnings=tuple(_warnings(findings, self._counts)))


def _detectors(sample_rate: int, n_channels: int, settings: ProbeSettings) -> list[Detector]:
    kinds, min_gap_s, max_gap_s = settings.kinds, settings.min_gap_s, settings.max_gap_s
    detectors: list[Detector] = []
    if {"zeros", "hold"} & set(kinds):
        detectors.append(ConstantRuns(sample_rate, n_channels, kinds, min_gap_s, max_gap_s))
    if "repeat" in kinds:
        detectors.append(Repeats(sample_rate, max_gap_s))
    if "dropout" in kinds:
        detectors.append(Dropouts(sample_rate, n_channels, min_gap_s, max_gap_s))
    if "clicks" in kinds:
        detectors.append(Clicks(sample_rate, settings.click_threshold))
    if "non_finite" in kinds:
        detectors.append(NonFinite(n_channels))
    return detectors


def _warnings(findings: Findings, counts: Counter[tuple[str, int]]) -> Iterator[str]:
    if findings.n_samples and all(level.peak_db <= FLOOR_DB for level in findings.levels):
        yield "the recording is silent"
    elif findings.bandwidth is not None and findings.bandwidth.confidence == 0:
        yield "the recording is too short to tell its bandwidth"
    for channel, level in enumerate(findings.levels):
        if abs(level.dc) > MAX_DC and findings.duration_s >= DC_S:
            yield f"channel {channel} has a constant offset of {level.dc:.4f} of full scale"
        if level.n_flat:
            tops = "1 flat top" if level.n_flat == 1 else f"{level.n_flat} flat tops"
            yield f"channel {channel} was probably clipped: {tops} at {level.peak_db:.1f} dBFS"
        if level.n_over:
            yield f"channel {channel} has {level.n_over} samples beyond full scale"
    for (kind, channel), count in sorted(counts.items()):
        if count > MAX_DAMAGE:
            yield f"channel {channel} has {count} places of the kind {kind}: the first {MAX_DAMAGE} are listed"


def find_damage(
    samples: np.ndarray,
    sample_rate: int,
    kinds: Sequence[str] = DEFAULT_KINDS,
    min_gap_s: float = GapSettings.min_gap_s,
    max_gap_s: float = GapSettings.max_gap_s,
) -> list[Damage]:
    """Return the damage of a recording in order of time, with that of several channels at the same time merged.

    Args:
        samples: (channels, t), full scale 1.
        sample_rate: sampling rate in Hz.
        kinds: kinds of damage to search for, of ``DAMAGES``.
        min_gap_s: least length in seconds of zeros, held values and dropouts.
        max_gap_s: greatest length in seconds; longer ones are pauses.

    Raises:
        ParameterError: samples of another shape or kind, an invalid sample rate, an unknown kind, or invalid lengths.
    """
    wave = checked_wave(samples, sample_rate)
    settings = ProbeSettings(checked_kinds(kinds), bandwidth=False, min_gap_s=min_gap_s, max_gap_s=max_gap_s)
    probe = Probe(sample_rate, len(wave), settings)
    for start in range(0, wave.shape[1], CORE_SAMPLES):
        probe.feed(wave[:, start : start + CORE_SAMPLES])
    return list(probe.finish().damage)
