"""Comparison of two versions of a recording, and a reference if there is one: samples, levels, spectra, repairs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import gcd, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from masktools import io
from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError
from masktools.metrics import level_db, lsd_db, lsd_split_db, seam_crest_db

EXTENDED = "extendable"  # name in reports of a band that was extended


@dataclass(frozen=True)
class Repair:
    """A span of a recording that was to be changed."""

    start_s: float
    end_s: float
    channels: tuple[int, ...] | None = None  # from 0 on; None: all
    method: str = ""
    low_hz: float | None = None  # of the repaired band, if it was not the full band
    high_hz: float | None = None

    def __post_init__(self) -> None:
        """Check the order of the times."""
        if not (isfinite(self.start_s) and isfinite(self.end_s) and 0 <= self.start_s < self.end_s):
            raise ParameterError(f"a repair must start before it ends, got {self.start_s:g}-{self.end_s:g} s")

    def to_json(self) -> dict[str, Any]:
        """Return the repair as a JSON object."""
        channels = None if self.channels is None else list(self.channels)
        shown = {"start_s": self.start_s, "end_s": self.end_s, "channels": channels, "method": self.method}
        return (
            shown
            if self.low_hz is None and self.high_hz is None
            else shown | {"low_hz": self.low_hz, "high_hz": self.high_hz}
        )


class Work(NamedTuple):
    """Repairs and bandwidth extension of one recording, by its report."""

    repairs: tuple[Repair, ...]
    cutoff_hz: float | None  # cutoff of the bandwidth extension


def repairs_of(gaps: Iterable[Any]) -> list[Repair]:
    """Return the repairs from a report's list of gaps: objects with start_s and end_s, and further entries.

    Raises:
        ParameterError: an item in another format.
    """
    repairs = []
    for gap in gaps:
        try:
            channels = gap.get("channels")
            repairs.append(
                Repair(
                    float(gap["start_s"]),
                    float(gap["end_s"]),
                    None if channels is None else tuple(int(channel) for channel in channels),
                    str(gap.get("method") or ""),
                    *(None if gap.get(name) is None else float(gap[name]) for name in ("low_hz", "high_hz")),
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ParameterError(f'a gap of a report must have "start_s" before "end_s", got {gap!r:.80}') from error
    return repairs


def read_work(path: Path, before: Path, after: Path) -> Work:
    """Return the work on a recording from a report of ``masktools inpaint``, ``bwe`` or ``restore``.

    In a report on several files, it is the one whose output is ``after``, or else whose input is ``before``.

    Raises:
        ParameterError: a file that is no such report, or does not contain these recordings.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path} cannot be read as a report: {error.strerror}") from error
    except ValueError as error:
        raise ParameterError(f"{path} must be a report in JSON, as --report writes it") from error
    files = content.get("files", [content]) if isinstance(content, dict) else content
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise ParameterError(f"{path} must be a report, or a list of them, as --report writes it")
    file = _about(files, before, after)
    if file is None:
        raise ParameterError(f"{path} must say what was done to make {after} of {before}: it names neither")
    cutoff_hz, gaps = file.get("cutoff_hz"), file.get("gaps") or []
    if not isinstance(gaps, list):
        raise ParameterError(f"{path}: the gaps of a report must be a list, got {gaps!r:.80}")
    if cutoff_hz is not None and not isinstance(cutoff_hz, int | float):
        raise ParameterError(f"{path}: the cutoff of a report must be a number, got {cutoff_hz!r:.80}")
    if cutoff_hz is not None and file.get("bandwidth_status", EXTENDED) != EXTENDED:
        cutoff_hz = None
    return Work(tuple(repairs_of(gaps)), None if cutoff_hz is None else float(cutoff_hz))


def _about(files: list[dict[str, Any]], before: Path, after: Path) -> dict[str, Any] | None:
    """Return the report of one file; a single report is taken whatever its names, which may have changed."""
    if len(files) == 1:
        return files[0]
    for name, path in (("output", after), ("input", before)):
        for same in (lambda text, wanted: Path(text).resolve() == wanted.resolve(), _same_name):
            for file in files:
                if file.get(name) and same(str(file[name]), path):
                    return file
    return None


def _same_name(text: str, wanted: Path) -> bool:
    return Path(text).name == wanted.name


BEFORE, AFTER = 0, 1
PROFILE_S = 0.5  # step of the profile of the difference
_BLOCK = 1 << 17  # samples of each channel; whole hops of the distances
_HOP = 512
_AROUND_S, _LONGEST_S = 0.25, 20.0  # context of a measured repair, and its greatest length
_WIDE = ("PCM_32", "DOUBLE")  # hold more than float32 does
_MARGIN_S = 0.05  # context for the resampler


def open_all(stack: ExitStack, paths: Sequence[Path]) -> list[io.Recording]:
    """Open recordings for as long as the stack is.

    Raises:
        AudioError: one that cannot be read.
    """
    return [stack.enter_context(io.open_recording(path)) for path in paths]


class Aligned:
    """Recordings at the highest of their rates, over their common length.

    If they have different numbers of channels, each is averaged over its own.
    """

    def __init__(self, recordings: Sequence[io.Recording]) -> None:
        self.recordings = tuple(recordings)
        self.sample_rate = max(recording.sample_rate for recording in recordings)
        self.lengths = tuple(self._length(recording) for recording in recordings)  # in samples at the common rate
        self.n_samples = min(self.lengths)
        numbers = {recording.n_channels for recording in recordings}
        self.mixed = len(numbers) > 1
        self.n_channels = 1 if self.mixed else numbers.pop()
        wide = any(recording.subtype in _WIDE for recording in recordings)
        self._dtype = np.float64 if wide else np.float32
        self.resampled = len({recording.sample_rate for recording in recordings}) > 1

    @property
    def exact(self) -> bool:
        """Whether samples can be compared one by one."""
        return not (self.resampled or self.mixed)

    def read(self, number: int, start: int, stop: int) -> np.ndarray:
        """Return samples (channels, stop - start) of a recording; some may not be finite."""
        recording = self.recordings[number]
        if recording.sample_rate == self.sample_rate:
            samples = recording.read(start, stop, finite=False, dtype=self._dtype)
        else:
            samples = self._resampled(recording, start, stop)
        return samples.mean(axis=0, keepdims=True) if self.mixed else samples

    def _resampled(self, recording: io.Recording, start: int, stop: int) -> np.ndarray:
        from_hz, to_hz = recording.sample_rate, self.sample_rate
        divisor = gcd(from_hz, to_hz)
        step_in, step_out = from_hz // divisor, to_hz // divisor  # samples in which the rates fall together
        margin = round(_MARGIN_S * to_hz)
        first = max(0, start - margin) // step_out
        last = min(recording.n_samples, -(-(stop + margin) // step_out) * step_in)
        source = np.nan_to_num(recording.read(first * step_in, last, finite=False), nan=0.0, posinf=0.0, neginf=0.0)
        offset = start - first * step_out
        return io.resample_to(source, from_hz, to_hz, offset + stop - start)[:, offset:]

    def _length(self, recording: io.Recording) -> int:
        return (2 * recording.n_samples * self.sample_rate + recording.sample_rate) // (2 * recording.sample_rate)


class Side(NamedTuple):
    """The level of one version; None where it is silent."""

    level_db: float | None  # dBFS: a full-scale sine is at 0
    peak_db: float | None  # of full scale
    n_not_finite: int


class Difference(NamedTuple):
    """Difference of two versions, in samples of all channels; None: cannot be counted, or no difference."""

    n_compared: int
    n_differ: int | None
    n_differ_inside: int | None  # inside the repairs
    n_differ_outside: int | None
    peak_db: float | None  # of full scale
    rms_db: float | None  # dBFS: a full-scale sine is at 0
    peak_outside_db: float | None


class Distance(NamedTuple):
    """Log-spectral distances to a reference in dB: below the cutoff, above it, and over all; None without a cutoff."""

    lsd_low_db: float | None
    lsd_high_db: float | None
    lsd_db: float


@dataclass(frozen=True)
class RepairFigures:
    """Measurements of one repair."""

    level_before_db: float | None
    level_after_db: float | None
    seam_db: float | None  # the worse of its two joins; None at the edge of the recording
    lsd_before_db: float | None  # to the reference, if there is one
    lsd_after_db: float | None


class _Sums:
    """Running sums over blocks of a wave or of a difference."""

    def __init__(self) -> None:
        self.n, self.squares, self.peak, self.n_not_finite = 0, 0.0, 0.0, 0

    def add(self, samples: np.ndarray) -> None:
        if samples.size:
            self.n += samples.size
            self.squares += float(np.sum(samples.astype(np.float64) ** 2))
            self.peak = max(self.peak, float(np.abs(samples).max()))

    @property
    def peak_db(self) -> float | None:
        return None if self.peak == 0 else float(20 * np.log10(self.peak))

    @property
    def level_db(self) -> float | None:
        return None if self.squares == 0 else float(10 * np.log10(2 * self.squares / self.n))


def measure(aligned: Aligned, repairs: Sequence[Repair]) -> tuple[list[Side], Difference, np.ndarray]:
    """Return the levels of both versions, their difference, and its power over time (steps,) of half a second.

    Samples that are not finite count as zero in levels, and as different from finite ones.
    """
    sides, whole, outside = [_Sums(), _Sums()], _Sums(), _Sums()
    n_inside = n_outside = 0
    step = round(PROFILE_S * aligned.sample_rate)
    profile = np.zeros(-(-aligned.n_samples // step))
    for start, stop in _blocks(aligned.n_samples):
        raw = [aligned.read(number, start, stop) for number in (BEFORE, AFTER)]
        both = [np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0) for samples in raw]
        for side, given, samples in zip(sides, raw, both, strict=True):
            side.add(samples)
            side.n_not_finite += int(given.size - np.isfinite(given).sum())
        repaired = _repaired(aligned, repairs, start, stop)
        differs = (both[0] != both[1]) | (np.isfinite(raw[0]) != np.isfinite(raw[1]))
        n_inside += int(np.count_nonzero(differs & repaired))
        n_outside += int(np.count_nonzero(differs & ~repaired))
        change = both[1].astype(np.float64) - both[0]
        whole.add(change)
        outside.add(change[~repaired])
        np.add.at(profile, np.arange(start, stop) // step, np.sum(change**2, axis=0))
    counts = (n_inside + n_outside, n_inside, n_outside) if aligned.exact else (None, None, None)
    difference = Difference(whole.n, *counts, whole.peak_db, whole.level_db, outside.peak_db)
    return [Side(side.level_db, side.peak_db, side.n_not_finite) for side in sides], difference, profile


def distance_to(aligned: Aligned, number: int, reference: int, cutoff_hz: float | None, top_hz: float) -> Distance:
    """Return the log-spectral distances of a version from the reference, up to ``top_hz``."""
    total, n_frames = np.zeros(3), 0
    for start, stop in _blocks(aligned.n_samples):
        first, last = max(0, start - 2 * _HOP), min(aligned.n_samples, stop + 2 * _HOP)
        true, found = (np.nan_to_num(aligned.read(which, first, last)) for which in (reference, number))
        span_s = (start - first) / aligned.sample_rate, (stop - first) / aligned.sample_rate
        if cutoff_hz is None:
            distance = lsd_db(true, found, aligned.sample_rate, (0.0, top_hz), span_s)
            found_here = np.array([np.nan, np.nan, distance])
        else:
            found_here = np.array(lsd_split_db(true, found, aligned.sample_rate, cutoff_hz, top_hz, span_s))
        weight = -(-(stop - start) // _HOP)
        total, n_frames = total + weight * found_here, n_frames + weight
    low, high, full = (total / n_frames).tolist()
    return Distance(None, None, full) if cutoff_hz is None else Distance(low, high, full)


def measure_repair(aligned: Aligned, repair: Repair, reference: int | None, top_hz: float) -> RepairFigures:
    """Return the measurements of a repair, of a very long one those of its first 20 s.

    Args:
        aligned: recordings to measure.
        repair: span to measure.
        reference: number of the reference among the recordings; None for none.
        top_hz: upper end of the band of the distances, in Hz.
    """
    rate = aligned.sample_rate
    start, stop = _edges(repair, rate, aligned.n_samples)
    stop_measured = min(stop, start + round(_LONGEST_S * rate))
    if start >= stop_measured:
        return RepairFigures(None, None, None, None, None)
    around = round(_AROUND_S * rate)
    first, last = max(0, start - around), min(aligned.n_samples, stop_measured + around)
    channels = list(_channels(aligned, repair))
    waves = [np.nan_to_num(aligned.read(number, first, last))[channels] for number in range(len(aligned.recordings))]
    inside = slice(start - first, stop_measured - first)
    levels = [level_db(wave[:, inside], rate) if np.any(wave[:, inside]) else None for wave in waves]
    distances: list[float | None] = [None, None]
    if reference is not None:
        span_s = (start - first) / rate, (stop_measured - first) / rate
        distances = [lsd_db(waves[reference], wave, rate, (0.0, top_hz), span_s) for wave in waves[:2]]
    joins = [join for join in (start, stop) if first + around // 2 < join < last - around // 2]
    seams = [seam_crest_db(waves[AFTER], rate, (join - first) / rate) for join in joins]
    return RepairFigures(levels[BEFORE], levels[AFTER], max(seams, default=None), distances[0], distances[1])


def _blocks(n_samples: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_samples, _BLOCK):
        yield start, min(n_samples, start + _BLOCK)


def _repaired(aligned: Aligned, repairs: Sequence[Repair], start: int, stop: int) -> np.ndarray:
    """Return the mask of samples (channels, stop - start) inside a repair."""
    inside = np.zeros((aligned.n_channels, stop - start), bool)
    for repair in repairs:
        first, last = _edges(repair, aligned.sample_rate, aligned.n_samples)
        if first < stop and last > start:
            inside[list(_channels(aligned, repair)), max(0, first - start) : last - start] = True
    return inside


def _edges(repair: Repair, sample_rate: int, n_samples: int) -> tuple[int, int]:
    return min(n_samples, round(repair.start_s * sample_rate)), min(n_samples, round(repair.end_s * sample_rate))


def _channels(aligned: Aligned, repair: Repair) -> Sequence[int]:
    every = range(aligned.n_channels)
    return every if aligned.mixed or repair.channels is None else [n for n in repair.channels if n in every]


REFERENCE = 2
_LEAST_BAND_HZ = 100.0  # least bandwidth above a cutoff for a measurement


@dataclass(frozen=True)
class Version:
    """One of the compared files."""

    name: str  # Before, After or Reference
    path: Path
    sample_rate: int  # Hz
    n_samples: int
    n_channels: int
    format: str
    subtype: str
    level: Side | None = None  # over the common length; not measured for a reference
    distance: Distance | None = None  # to the reference

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def to_json(self) -> dict[str, Any]:
        """Return the version as a JSON object."""
        known = {
            "path": str(self.path),
            "format": self.format,
            "subtype": self.subtype,
            "sample_rate": self.sample_rate,
            "channels": self.n_channels,
            "n_samples": self.n_samples,
            "duration_s": self.duration_s,
        }
        for part in (self.level, self.distance):
            known |= part._asdict() if part is not None else {}
        return known


@dataclass(frozen=True)
class Comparison:
    """The comparison of two versions of a recording."""

    title: str
    versions: tuple[Version, ...]  # before, after, and the reference if there is one
    difference: Difference
    sample_rate: int  # Hz, of the comparison
    duration_s: float  # length of the comparison
    repairs: tuple[Repair, ...]
    repair_figures: tuple[RepairFigures, ...]
    cutoff_hz: float | None
    notes: tuple[str, ...]  # explanations of the figures
    profile: tuple[float, ...]  # power of the difference in steps of half a second

    @property
    def before(self) -> Version:
        """The version before the repair."""
        return self.versions[BEFORE]

    @property
    def after(self) -> Version:
        """The version after the repair."""
        return self.versions[AFTER]

    @property
    def reference(self) -> Version | None:
        """The reference, if there is one."""
        return self.versions[REFERENCE] if len(self.versions) > REFERENCE else None

    def _repr_html_(self) -> str:
        """Return players and spectrograms, for notebooks; for long recordings, of the longest repair."""
        from masktools.review.notebook import comparison_html  # imports plotting, and this module

        return comparison_html(self)

    def to_json(self) -> dict[str, Any]:
        """Return all figures as a JSON object."""
        return {
            **{version.name.lower(): version.to_json() for version in self.versions},
            "compared": {"sample_rate": self.sample_rate, "duration_s": self.duration_s, **self.difference._asdict()},
            "cutoff_hz": self.cutoff_hz,
            "gaps": [
                repair.to_json() | vars(figures)
                for repair, figures in zip(self.repairs, self.repair_figures, strict=True)
            ],
            "notes": list(self.notes),
        }


def compare(
    before: Path | str,
    after: Path | str,
    *,
    reference: Path | str | None = None,
    repairs: Sequence[Repair] = (),
    cutoff_hz: float | None = None,
    title: str | None = None,
) -> Comparison:
    """Compare two versions of a recording.

    Samples are counted one by one if both have the same rate and number of channels. Otherwise they are compared at the
    higher rate, averaged over their channels, which is stated in the notes. Memory does not grow with the recordings.

    Args:
        before: path of the file before the repair.
        after: path of the file after the repair.
        reference: path of the ideal result, if known.
        repairs: spans that were to be changed.
        cutoff_hz: cutoff of the bandwidth extension in Hz.
        title: a heading; the names of the files by default.

    Raises:
        AudioError: a file that cannot be read.
        ParameterError: a repair in a channel that does not exist, or a cutoff that is not above 0 Hz.
    """
    if cutoff_hz is not None and not cutoff_hz > 0:
        raise ParameterError(f"cutoff_hz must be above 0 Hz, got {cutoff_hz:g}")
    paths = [Path(path) for path in (before, after, reference) if path is not None]
    with ExitStack() as stack:
        recordings = open_all(stack, paths)
        pair = Aligned(recordings[:REFERENCE])
        _check_channels(repairs, recordings[BEFORE].n_channels)
        sides, difference, profile = measure(pair, repairs)
        every = Aligned(recordings) if reference is not None else pair
        top_hz = min(recording.sample_rate for recording in recordings[AFTER:]) / 2
        split_hz = cutoff_hz if cutoff_hz is not None and cutoff_hz < top_hz - _LEAST_BAND_HZ else None
        distances = [
            distance_to(every, number, REFERENCE, split_hz, top_hz) if reference is not None else None
            for number in (BEFORE, AFTER)
        ]
        known = None if reference is None else REFERENCE
        figures = tuple(measure_repair(every, repair, known, top_hz) for repair in repairs)
        versions = tuple(
            Version(name, path, one.sample_rate, one.n_samples, one.n_channels, one.format, one.subtype, side, distance)
            for name, path, one, side, distance in zip(
                ("Before", "After", "Reference"), paths, recordings, [*sides, None], [*distances, None], strict=False
            )
        )
    return Comparison(
        title or f"{paths[BEFORE].name} and {paths[AFTER].name}",
        versions,
        difference,
        pair.sample_rate,
        pair.n_samples / pair.sample_rate,
        tuple(repairs),
        figures,
        cutoff_hz,
        tuple(_notes(pair, versions)),
        tuple(profile.tolist()),
    )


def _check_channels(repairs: Sequence[Repair], n_channels: int) -> None:
    for repair in repairs:
        if repair.channels is not None and not (repair.channels and set(repair.channels) <= set(range(n_channels))):
            raise ParameterError(
                f"the channels of a repair must be among 0 to {n_channels - 1}, got {repair.channels} at "
                f"{repair.start_s:g} s"
            )


def _notes(pair: Aligned, versions: Sequence[Version]) -> list[str]:
    """Return sentences on reasons against a comparison sample by sample, and on oddities."""
    before, after = versions[BEFORE], versions[AFTER]
    notes = []
    if pair.resampled:
        notes.append(
            f"The sample rates differ, {before.sample_rate} Hz before and {after.sample_rate} Hz after: compared at "
            f"{pair.sample_rate} Hz after resampling, so that samples cannot be counted one by one."
        )
    if pair.mixed:
        notes.append(
            f"The numbers of channels differ, {before.n_channels} before and {after.n_channels} after: compared as the "
            "means of all channels."
        )
    if pair.lengths[BEFORE] != pair.lengths[AFTER]:
        longer = after if pair.lengths[AFTER] > pair.lengths[BEFORE] else before
        n_more = abs(pair.lengths[AFTER] - pair.lengths[BEFORE])
        notes.append(
            f"The lengths differ: {longer.path.name} has {n_more} samples more at {pair.sample_rate} Hz "
            f"({n_more / pair.sample_rate:.3f} s), which are left out of the comparison."
        )
    if pair.recordings[AFTER].is_lossy:
        notes.append(
            f"{after.path.name} is coded lossily ({after.subtype}): the coding alone makes all samples differ."
        )
    elif before.subtype != after.subtype:
        notes.append(
            f"The samples are coded differently, {before.subtype} before and {after.subtype} after: rounding alone may "
            "make them differ."
        )
    notes += [
        f"{version.level.n_not_finite} samples of {version.path.name} are not finite; they count as zero in levels."
        for version in versions
        if version.level is not None and version.level.n_not_finite
    ]
    notes += [
        f"{version.path.name} goes beyond full scale (by {version.level.peak_db:.2f} dB): the players clip it."
        for version in versions
        if version.level is not None and version.level.peak_db is not None and version.level.peak_db > 0.005
    ]
    return notes
