"""What is to be repaired: the regions of a recording as samples, those that share a window, and what fills each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from masktools.arguments import checked_name, settle
from masktools.errors import ParameterError
from masktools.grid import TokenGrid
from masktools.restoration.band_stereo import INDEPENDENT, LINKED, MID_SIDE, check_channels
from masktools.restoration.gap_windows import GapWindow, plan_windows
from masktools.restoration.regions import Region, check_regions
from masktools.restoration.repair_frames import Frames
from masktools.restoration.repair_interpolation import has_surroundings
from masktools.restoration.texture import TEXTURES
from masktools.segments import Window

__all__ = [
    "AUTO",
    "INTERPOLATE",
    "MODEL",
    "REPAIRS",
    "RegionTask",
    "RepairJob",
    "RepairSettings",
    "needs_model",
    "plan_repair",
]

AUTO, MODEL, INTERPOLATE = "auto", "model", "interpolate"
REPAIRS = (AUTO, MODEL, INTERPOLATE)
"""By the size of each region, by the model, or from the surroundings alone."""

SHORT_S = 0.186  # up to this length a region is like what is before and after it: a column of tokens
HIGH_OCTAVES = 5.0  # from this height on there is little below and above it to go by
LOWEST_HZ = 50.0  # from where octaves are counted
LONGEST_S = 20.0  # beyond this, an invention is too much
_ROUNDING = 1e-3  # samples; times in seconds that were computed from samples are off by less


@dataclass(frozen=True)
class RepairSettings:
    """Settings of a repair beside the decoding."""

    seed: int = 0
    method: str = AUTO  # one of REPAIRS
    channels: str = LINKED  # one of CHANNEL_MODES
    texture: str = "blend"  # one of TEXTURES

    def __post_init__(self) -> None:
        """Check every kind and name."""
        settle(self)
        checked_name("method", self.method, REPAIRS)
        checked_name("texture", self.texture, TEXTURES)

    @property
    def linked(self) -> bool:
        """Whether all channels have the same random numbers."""
        return self.channels != INDEPENDENT

    def method_for(self, region: Region, top_hz: float | None) -> str:
        """Return what fills a region: the model, or an interpolation.

        Args:
            region: the region.
            top_hz: what the model reaches up to; None where that is not known.
        """
        if self.method == INTERPOLATE or (top_hz is not None and region.low_hz >= top_hz):
            return INTERPOLATE
        if self.method == MODEL:
            return MODEL
        is_high = region.high_hz >= max(region.low_hz, LOWEST_HZ) * 2**HIGH_OCTAVES
        return MODEL if is_high and SHORT_S < region.length_s <= LONGEST_S else INTERPOLATE


@dataclass(frozen=True)
class RegionTask:
    """One region, as samples of the recording, and what fills it."""

    region: Region
    span: Window
    method: str
    number: int  # among all of the recording


@dataclass(frozen=True)
class RepairJob:
    """Regions near each other, in the same channels: they are repaired together."""

    window: Window  # what the model hears
    spans: tuple[Window, ...]  # what changes: the regions' spans, those that touch each other as one
    tasks: tuple[RegionTask, ...]  # in order of time
    around: tuple[RegionTask, ...]  # all regions that reach into the window, those of the tasks too
    channels: tuple[int, ...]
    mid_side: bool  # whether the middle and the side of the two channels are repaired instead
    number: int

    @property
    def is_modelled(self) -> bool:
        """Whether the model is asked."""
        return any(task.method == MODEL for task in self.tasks)


def needs_model(regions: Iterable[Region], method: str = AUTO) -> bool:
    """Return whether some of the regions are filled by a model, so that one has to be loaded.

    Raises:
        ParameterError: an unknown method.
    """
    settings = RepairSettings(method=method)
    return any(settings.method_for(region, None) == MODEL for region in regions)


def plan_repair(
    regions: Iterable[Region],
    n_samples: int,
    n_channels: int,
    sample_rate: int,
    settings: RepairSettings,
    grid: TokenGrid | None = None,
    window_cols: int = 0,
    top_hz: float | None = None,
) -> list[RepairJob]:
    """Return what is to be repaired, in order of time.

    Args:
        regions: of the recording.
        n_samples: of the recording.
        n_channels: of the recording.
        sample_rate: of the recording.
        settings: of the repair.
        grid: the model's tokens; None where there is no model.
        window_cols: columns that the model reads at once.
        top_hz: what the model reaches up to.

    Raises:
        ParameterError: regions that are none of this recording or leave nothing of it, channels that cannot be treated
            in this way, or no model where one is needed.
    """
    check_channels(settings.channels, n_channels)
    checked = check_regions(regions, n_samples / sample_rate, sample_rate, n_channels)
    tasks = [
        RegionTask(region, _span(region, n_samples, sample_rate), settings.method_for(region, top_hz), number)
        for number, region in enumerate(checked)
    ]
    modelled = [task.region for task in tasks if task.method == MODEL]
    if grid is None and modelled:
        raise ParameterError(
            f"the region {modelled[0].shown()} needs a model by method {settings.method!r}, got none: load one, or "
            f"choose the method {INTERPOLATE!r}"
        )
    groups: dict[tuple[RegionTask, ...], list[int]] = {}
    for channel in range(n_channels):
        own = tuple(task for task in tasks if task.region.channels is None or channel in task.region.channels)
        if own:
            groups.setdefault(own, []).append(channel)
    jobs = []
    for own, alike in groups.items():
        for plan in _windows(own, n_samples, sample_rate, grid, window_cols):
            inside = tuple(task for task in own if any(_meets(task.span, span) for span in plan.spans))
            around = tuple(task for task in own if _meets(task.span, plan.window))
            for channels in [tuple(alike)] if settings.linked else [(channel,) for channel in alike]:
                is_mid_side = settings.channels == MID_SIDE and len(channels) == 2
                jobs.append((plan, inside, around, channels, is_mid_side))
    jobs.sort(key=lambda job: (job[0].spans[0], job[3]))
    planned = [
        RepairJob(plan.window, plan.spans, inside, around, channels, is_mid_side, number)
        for number, (plan, inside, around, channels, is_mid_side) in enumerate(jobs)
    ]
    for job in planned:
        _check_something_remains(job, n_samples, n_channels, sample_rate)
    return planned


def _check_something_remains(job: RepairJob, n_samples: int, n_channels: int, sample_rate: int) -> None:
    """Refuse regions that leave nothing of a recording, or of one of its channels, to repair them from."""
    damaged = [task.region for task in job.around]
    for task in job.tasks:
        frames = Frames.of(task.region, task.span.start, task.span.stop, 0, sample_rate)
        if not has_surroundings(frames, damaged, n_samples):
            alone = len(job.channels) < n_channels
            where = f" in channel {', '.join(map(str, job.channels))}" if alone else ""
            raise ParameterError(
                f"the region {task.region.shown()}{where} leaves nothing to repair it from: of a recording of "
                f"{n_samples / sample_rate:.6g} s, {1000 * frames.n_fft / sample_rate:.0f} ms before or after it, or a "
                "band below or above it, must remain"
            )


def _span(region: Region, n_samples: int, sample_rate: int) -> Window:
    start = min(n_samples - 1, floor(region.start_s * sample_rate + _ROUNDING))
    return Window(start, min(n_samples, max(start + 1, ceil(region.end_s * sample_rate - _ROUNDING))))


def _meets(one: Window, other: Window) -> bool:
    return one.start < other.stop and other.start < one.stop


def _windows(
    tasks: Sequence[RegionTask], n_samples: int, sample_rate: int, grid: TokenGrid | None, window_cols: int
) -> list[GapWindow]:
    spans: list[Window] = []
    for span in sorted(task.span for task in tasks):
        if spans and span.start <= spans[-1].stop:
            spans[-1] = Window(spans[-1].start, max(span.stop, spans[-1].stop))
        else:
            spans.append(span)
    if grid is None or all(task.method != MODEL for task in tasks):
        return [GapWindow(span, 0, (span,)) for span in spans]
    return plan_windows(spans, n_samples, sample_rate, grid, window_cols)
