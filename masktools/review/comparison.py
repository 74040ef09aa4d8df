"""Two versions of a recording and, if there is one, the reference: every figure of them, and where the files are."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masktools.errors import ParameterError
from masktools.review.figures import (
    AFTER,
    BEFORE,
    Aligned,
    Difference,
    Distance,
    RepairFigures,
    Side,
    distance_to,
    measure,
    measure_repairs,
    open_all,
)
from masktools.review.repairs import Repair

__all__ = ["Comparison", "Version", "compare"]

REFERENCE = 2
_LEAST_BAND_HZ = 100.0  # above a cutoff, so that there is something to measure


@dataclass(frozen=True)
class Version:
    """One of the files that are compared."""

    name: str  # Before, After or Reference
    path: Path
    sample_rate: int  # Hz
    n_samples: int
    n_channels: int
    format: str
    subtype: str
    level: Side | None = None  # over the time that both versions last; not measured of a reference
    distance: Distance | None = None  # to the reference

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.n_samples / self.sample_rate

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it."""
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
    """What was found out about two versions of a recording."""

    title: str
    versions: tuple[Version, ...]  # before, after, and the reference if there is one
    difference: Difference
    sample_rate: int  # Hz, of the comparison
    duration_s: float  # that was compared
    repairs: tuple[Repair, ...]
    repair_figures: tuple[RepairFigures, ...]
    cutoff_hz: float | None
    notes: tuple[str, ...]  # what must be known to read the figures
    profile: tuple[float, ...]  # power of the difference in steps of half a second

    @property
    def before(self) -> Version:
        """The version that was worked on."""
        return self.versions[BEFORE]

    @property
    def after(self) -> Version:
        """The version that was made of it."""
        return self.versions[AFTER]

    @property
    def reference(self) -> Version | None:
        """What both should be like, if it is known."""
        return self.versions[REFERENCE] if len(self.versions) > REFERENCE else None

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
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

    Samples are counted one by one if both have one rate and as many channels. Otherwise they are compared at the higher
    rate, as means of their channels, which the notes say. Memory does not grow with the recordings.

    Args:
        before: the file that was worked on.
        after: the file that was made of it.
        reference: what it should have become, where that is known.
        repairs: where it was to be changed.
        cutoff_hz: from where on the band was extended.
        title: a heading; the names of the files if left out.

    Raises:
        AudioError: a file that cannot be read.
        ParameterError: a repair in a channel that there is not, or a cutoff that is not above 0 Hz.
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
        figures = measure_repairs(every, repairs, None if reference is None else REFERENCE, top_hz)
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
        tuple(figures),
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
    """Return in sentences what keeps two versions from being compared sample by sample, or is odd about them."""
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
