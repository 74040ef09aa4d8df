"""One recording restored in one decoding and one encoding: looked through, its gaps filled, its band extended."""

import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from masktools import io, restoration
from masktools.batch.tasks import Task, compared_in, numbered
from masktools.detection import Findings, Probe, ProbeSettings
from masktools.errors import AudioError, ParameterError
from masktools.gaps import Gap, check_gaps
from masktools.hub import check_job
from masktools.model import Model, load
from masktools.pipeline import Progress, share_of
from masktools.restoration.band_plan import EXTENDABLE, OUT_OF_REACH, choose_cutoff
from masktools.restoration.band_upper import OWN, Take, take_of
from masktools.restoration.bandwidth import extend_blocks
from masktools.review import compare, repairs_of, write_page, write_picture
from masktools.solver import SolverConfig

RESTORED, COPIED = "restored", "nothing_to_repair"
_BLOCK = 1 << 18  # samples a channel


@dataclass(frozen=True)
class Filling:
    """Which gaps are filled, and how."""

    gaps: tuple[Gap, ...] | None = None  # None: those that are found
    detect: tuple[str, ...] = ("zeros", "hold", "non_finite")  # what is looked for
    min_gap_s: float = 0.002
    max_gap_s: float = 4.0
    pad_s: float = 0.0  # that each gap is widened by at both ends
    method: str = "auto"
    classical_below_s: float = 0.06
    match_level_db: float = 6.0
    n_candidates: int = 1

    def __post_init__(self) -> None:
        """Check what the jobs themselves do not."""
        if self.pad_s < 0:
            raise ParameterError(f"pad_s must be at least 0, got {self.pad_s:g} s")


@dataclass(frozen=True)
class Extending:
    """From where on a band is extended, and how."""

    cutoff_hz: float | None = None  # None: that which is found
    min_drop_db: float = 15.0  # of the edge that is looked for
    lfr: bool = True
    quiet_guard_db: float = 3.0
    hf_gain_db: float = 0.0
    clean_above: bool = False
    to_hz: float | None = None  # None: where the band of such recordings ends
    like: str | None = None  # the file of a full-band take of the same source; "own": the recording itself


@dataclass(frozen=True)
class Restoring:
    """What is to be done to each recording; all of it decides what an output is."""

    fill: Filling | None = None
    extend: Extending | None = None
    seed: int = 0
    channels: str = "linked"
    texture: str = "blend"
    prompt: str | None = None
    decoding: dict[str, Any] = field(default_factory=dict)  # n_steps, temperature, guidance, solver
    subtype: str | None = None  # None: that of the source

    def to_json(self) -> dict[str, Any]:
        """Return all settings as JSON has them."""
        return asdict(self)


def restore_file(
    source: Path,
    target: Path,
    settings: Restoring,
    model: Callable[[], Model],
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Restore a file and return the report of what was done; with ``dry_run`` of what would be.

    Samples outside the gaps stay as they are, bit for bit, where only gaps are filled; a file in which there is nothing
    to repair is copied. The output is complete, or not there.

    Args:
        source: the recording.
        target: the file to be written.
        settings: what is to be done.
        model: gives the model; it is asked only where one is needed.
        dry_run: whether only to look.
        progress: called with (steps done, steps in all).

    Raises:
        AudioError: a recording that cannot be read, or an output that cannot be written.
        ParameterError: gaps or a cutoff that the recording does not have.
    """
    started = perf_counter()
    with _named(source), io.open_recording(source) as recording:
        report: dict[str, Any] = {
            "input": str(source),
            "output": str(target),
            "format": recording.format,
            "subtype": recording.subtype,
            "sample_rate": recording.sample_rate,
            "n_channels": recording.n_channels,
            "duration_s": recording.n_samples / recording.sample_rate,
            "seed": settings.seed,
        }
        findings = _look(recording, settings) if _needs_a_look(settings) else None
        gaps = _gaps(recording, settings.fill, findings)
        report["warnings"] = list(findings.warnings) if findings else []
        cutoff_hz = _cutoff(recording, settings, findings, model, report)
        if dry_run:
            report |= {"status": "planned" if gaps or cutoff_hz else COPIED, "gaps": [_shown(gap) for gap in gaps]}
            return report
        ranked = list(_filled(recording, gaps, settings, model, report, progress if cutoff_hz is None else None))
        outputs = numbered(target, settings.fill.n_candidates if ranked and settings.fill else 1)
        written: list[dict[str, Any]] = []
        for rank, output in enumerate(outputs):
            pieces = [fills[rank] for fills in ranked]
            if cutoff_hz is not None:
                share = share_of(progress, rank, len(outputs))
                written.append(_extend(recording, pieces, cutoff_hz, output, settings, model, share))
            elif pieces or _recoded(source, output, settings):
                n_clipped = io.restore_into(source, output, recording, pieces, subtype=settings.subtype)
                written.append({"warnings": _clipped(n_clipped)})
            else:
                _copy(source, output)
                written.append({"warnings": []})
    report["outputs"] = [str(output) for output in outputs]
    report["status"] = RESTORED if gaps or cutoff_hz is not None else COPIED
    report["warnings"] += written[0].pop("warnings")
    report |= written[0]
    if len(outputs) > 1:  # what is said above is said of the best one
        others = zip(outputs[1:], written[1:], strict=True)
        report["candidates"] = [{"output": str(output), **said} for output, said in others]
    report["sha256"] = {"input": _digest(source), "output": _digest(target)}
    report["total_s"] = round(perf_counter() - started, 3)
    return report


@contextmanager
def _named(source: Path) -> Iterator[None]:
    """Put the name of the recording before what is wrong with it, where it is not said."""
    try:
        yield
    except AudioError as error:
        if source.name in str(error):
            raise
        raise AudioError(f"{source}: {error}") from error


def _needs_a_look(settings: Restoring) -> bool:
    fill, extend = settings.fill, settings.extend
    return (fill is not None and fill.gaps is None) or (extend is not None and extend.cutoff_hz is None)


def _look(recording: io.Recording, settings: Restoring) -> Findings:
    fill, extend = settings.fill or Filling(), settings.extend or Extending()
    wanted = ProbeSettings(
        kinds=fill.detect if settings.fill is not None else (),
        bandwidth=settings.extend is not None and extend.cutoff_hz is None,
        min_gap_s=fill.min_gap_s,
        max_gap_s=fill.max_gap_s,
        min_drop_db=extend.min_drop_db,
    )
    probe = Probe(recording.sample_rate, recording.n_channels, wanted)
    for _, block in recording.blocks(_BLOCK, finite=False):
        probe.feed(block)
    return probe.finish()


def _gaps(recording: io.Recording, fill: Filling | None, findings: Findings | None) -> list[Gap]:
    """Return the gaps that are to be filled, widened."""
    if fill is None:
        return []
    duration_s = recording.n_samples / recording.sample_rate
    if fill.gaps is None:
        found = findings.gaps(fill.detect) if findings else []
    else:
        found = check_gaps(fill.gaps, duration_s, recording.n_channels)
    return widened(found, fill.pad_s, duration_s, recording.n_channels)


def widened(gaps: Sequence[Gap], pad_s: float, duration_s: float, n_channels: int) -> list[Gap]:
    """Return gaps that begin earlier and end later; those that meet in a channel become one.

    >>> widened([Gap(1.0, 2.0), Gap(2.5, 3.0, (1,))], 0.5, 10.0, 2)
    [Gap(start_s=0.5, end_s=2.5, channels=(0,)), Gap(start_s=0.5, end_s=3.5, channels=(1,))]
    """
    channels_of: dict[tuple[float, float], list[int]] = {}
    for channel in range(n_channels):
        spans: list[tuple[float, float]] = []
        for gap in sorted(
            (gap for gap in gaps if gap.channels is None or channel in gap.channels), key=lambda g: g[:2]
        ):
            start_s, end_s = max(0.0, gap.start_s - pad_s), min(duration_s, gap.end_s + pad_s)
            if spans and start_s <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], end_s))
            else:
                spans.append((start_s, end_s))
        for span in spans:
            channels_of.setdefault(span, []).append(channel)
    return [
        Gap(*span, None if len(channels) == n_channels else tuple(channels))
        for span, channels in sorted(channels_of.items())
    ]


def _cutoff(
    recording: io.Recording,
    settings: Restoring,
    findings: Findings | None,
    model: Callable[[], Model],
    report: dict[str, Any],
) -> float | None:
    """Return where the band is to be extended from; None where it is not, and why is in the report.

    A model that extends no bandwidth is refused where that was asked for by name, and otherwise fills the gaps alone.
    """
    extend = settings.extend
    if extend is None:
        return None
    if extend.cutoff_hz is not None:
        check_job(model().pipeline, "bwe")
        report["cutoff_hz"] = extend.cutoff_hz
        return extend.cutoff_hz
    bandwidth = findings.bandwidth if findings is not None else None
    if bandwidth is None:
        raise ParameterError("the recording must be looked through before its cutoff is known")
    report["cutoff_hz"] = bandwidth.cutoff_hz
    report["cutoff_drop_db"] = bandwidth.drop_db
    report["cutoff_confidence"] = bandwidth.confidence
    if bandwidth.cutoff_hz is None:  # no model is needed to say so
        report["bandwidth_status"], report["reason"] = "full_band", "no edge was found; --cutoff HZ names one"
        return None
    try:
        check_job(model().pipeline, "bwe")
    except ParameterError as error:
        if settings.fill is None:
            raise
        report["bandwidth_status"], report["reason"] = OUT_OF_REACH, str(error)
        return None
    decision = choose_cutoff(bandwidth, model().pipeline, recording.sample_rate, extend.to_hz, extend.lfr)
    report["bandwidth_status"] = decision.status
    if decision.status != EXTENDABLE:
        report["reason"] = decision.reason
    return decision.cutoff_hz


def _filled(
    recording: io.Recording,
    gaps: Sequence[Gap],
    settings: Restoring,
    model: Callable[[], Model],
    report: dict[str, Any],
    progress: Progress | None,
) -> Iterator[list[io.Piece]]:
    """Yield what belongs into each gap, in order of time: the piece that fits best, then the next, and so on."""
    report["gaps"] = []
    report["samples_changed"] = 0
    if not gaps or settings.fill is None:
        return
    fill = settings.fill
    prompted = settings.prompt is not None and restoration.needs_model(gaps, fill.method, fill.classical_below_s)
    filling = restoration.inpaint_pieces(
        model().pipeline if prompted else None,
        lambda start, stop: recording.read(start, stop, finite=False),
        recording.n_samples,
        recording.n_channels,
        recording.sample_rate,
        gaps,
        seed=settings.seed,
        solver=model().solver("inpaint", **settings.decoding) if prompted else SolverConfig(),
        prompt=settings.prompt if prompted else None,
        later=lambda: (model().pipeline, model().solver("inpaint", **settings.decoding)),
        n_ranks=fill.n_candidates,
        progress=progress,
        method=fill.method,
        classical_below_s=fill.classical_below_s,
        max_gap_s=fill.max_gap_s,
        n_candidates=fill.n_candidates,
        match_level_db=fill.match_level_db,
        channels=settings.channels,
        texture=settings.texture,
    )
    for fills in filling.ranked():
        yield [io.Piece(fill.start, fill.samples, fill.channels) for fill in fills]
    report |= filling.report()


def _extend(
    recording: io.Recording,
    pieces: Sequence[io.Piece],
    cutoff_hz: float,
    target: Path,
    settings: Restoring,
    model: Callable[[], Model],
    progress: Progress | None,
) -> dict[str, Any]:
    """Write the recording with its gaps filled and its band extended, and return what is reported of that."""
    loaded = model()
    coding = io.coding_for(target, settings.subtype or recording.subtype)
    extend = settings.extend or Extending()
    extension = extend_blocks(
        loaded.pipeline,
        _overlaid(recording, pieces),
        recording.n_samples,
        recording.n_channels,
        recording.sample_rate,
        cutoff_hz,
        lfr=extend.lfr,
        seed=settings.seed,
        solver=loaded.solver("bwe", **settings.decoding),
        prompt=settings.prompt,
        channels=settings.channels,
        texture=settings.texture,
        quiet_guard_db=extend.quiet_guard_db,
        hf_gain_db=extend.hf_gain_db,
        clean_above=extend.clean_above,
        to_hz=extend.to_hz,
        take=_take(extend.like, recording, pieces, max(recording.sample_rate, loaded.sample_rate), cutoff_hz),
        limit_peaks=coding.subtype not in io.UNLIMITED,
        progress=progress,
    )
    size, n_samples = (extension.sample_rate, recording.n_channels), extension.n_samples
    with io.open_writer(target, *size, subtype=coding.subtype, like=recording, n_samples=n_samples) as out:
        for _, block in extension:
            out.write(block)
    warnings = [*extension.report.pop("warnings", []), *_clipped(out.n_clipped)]
    return {"extension": extension.report, "sample_rate": extension.sample_rate, "warnings": warnings}


def _clipped(n_clipped: int) -> list[str]:
    return [f"{n_clipped} samples lay beyond full scale and were clipped"] if n_clipped else []


def _take(
    like: str | None, recording: io.Recording, pieces: Sequence[io.Piece], sample_rate: int, cutoff_hz: float
) -> Take | None:
    """Return the take that is to lend its band, if there is one."""
    if like is None:
        return None
    if like == OWN:
        reader = _overlaid(recording, pieces)
        return take_of(reader, recording.n_samples, recording.sample_rate, sample_rate, cutoff_hz, is_own=True)
    with io.open_recording(like) as take:
        return take_of(take.read, take.n_samples, take.sample_rate, sample_rate, cutoff_hz)


def _overlaid(recording: io.Recording, pieces: Sequence[io.Piece]) -> Callable[[int, int], np.ndarray]:
    """Return a reader of the recording in which the pieces are in their places."""

    def read(start: int, stop: int) -> np.ndarray:
        samples = recording.read(start, stop, finite=False).copy()
        for piece in pieces:
            first, last = max(start, piece.start), min(stop, piece.start + piece.samples.shape[1])
            if first < last:
                samples[list(piece.channels), first - start : last - start] = piece.samples[
                    :, first - piece.start : last - piece.start
                ]
        return samples

    return read


def _copy(source: Path, target: Path) -> None:
    with io.replacing(target) as part:
        shutil.copyfile(source, part)


def _recoded(source: Path, target: Path, settings: Restoring) -> bool:
    return settings.subtype is not None or source.suffix.lower() != target.suffix.lower()


def _shown(gap: Gap) -> dict[str, Any]:
    return {
        "start_s": gap.start_s,
        "end_s": gap.end_s,
        "channels": None if gap.channels is None else list(gap.channels),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Restorer:
    """Restores one recording after the other with one model, which each process loads once."""

    settings: Restoring
    model_options: tuple[tuple[str, Any], ...]
    dry_run: bool = False
    comparison: str = "none"  # png, html or none
    progress: Progress | None = None

    def __call__(self, task: Task) -> dict[str, Any]:
        """Restore a recording and return its report."""
        report = restore_file(
            task.source,
            task.target,
            self.settings,
            functools.partial(_loaded, self.model_options),
            dry_run=self.dry_run,
            progress=self.progress,
        )
        if self.comparison != "none" and not self.dry_run:
            report["comparison"] = str(_compared(task, report, self.comparison))
        return report


def restorer(
    settings: Restoring,
    model_options: Mapping[str, Any],
    dry_run: bool = False,
    comparison: str = "none",
    progress: Progress | None = None,
) -> Restorer:
    """Return what restores recordings with the model that ``masktools.load`` gives for these options."""
    return Restorer(settings, tuple(sorted(model_options.items())), dry_run, comparison, progress)


@functools.lru_cache(maxsize=1)
def _loaded(model_options: tuple[tuple[str, Any], ...]) -> Model:
    return load(**dict(model_options))


def _compared(task: Task, report: Mapping[str, Any], kind: str) -> Path:
    """Write a picture or a page beside a result that compares it with its source, and return its place."""
    path = compared_in(task.target, kind)
    extended = report["cutoff_hz"] if "extension" in report else None
    comparison = compare(task.source, task.target, repairs=repairs_of(report.get("gaps", ())), cutoff_hz=extended)
    (write_page if kind == "html" else write_picture)(comparison, path)
    return path
