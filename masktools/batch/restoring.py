"""Restoration of one recording in one decoding and one encoding: probed, gaps filled, band extended."""

import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from masktools import io
from masktools.batch.tasks import Task, compared_in, numbered
from masktools.core.errors import AudioError, ParameterError
from masktools.core.gaps import Gap
from masktools.core.runtime import threads
from masktools.core.settings import AUTO, BandSettings, GapSettings
from masktools.detection import Findings
from masktools.model import Model, load
from masktools.pipeline import Progress, share_of
from masktools.pipeline.hub import check_job
from masktools.restoration import Signal, choose_cutoff, extend_blocks, inpaint_pieces, look_through, wanted_gaps
from masktools.restoration.band_level import EXTENDABLE, OUT_OF_REACH
from masktools.restoration.band_upper import OWN, Take, take_of
from masktools.review import compare, repairs_of, write_page, write_picture

RESTORED, COPIED = "restored", "nothing_to_repair"


@dataclass(frozen=True)
class Restoring:
    """Settings of the restoration of each recording; all of them determine the output."""

    inpaint: GapSettings | None = None
    gaps: tuple[Gap, ...] | None = None  # None: detected ones
    bwe: BandSettings | None = None
    cutoff_hz: float | None = None  # None: the detected one
    like: str | None = None  # the file of a full-band recording of the same source; "own": the recording itself
    subtype: str | None = None  # None: that of the source

    def to_json(self) -> dict[str, Any]:
        """Return all settings as a JSON object."""
        return asdict(self)

    @property
    def seed(self) -> int:
        """The random seed of all jobs."""
        return next((job.seed for job in (self.inpaint, self.bwe) if job is not None), 0)

    @property
    def n_candidates(self) -> int:
        """Number of outputs for one recording with gaps."""
        return 1 if self.inpaint is None else self.inpaint.n_candidates


def restore_file(
    source: Path,
    target: Path,
    settings: Restoring,
    model: Callable[[], Model],
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Restore a file and return the report; with ``dry_run`` the report of a trial run.

    Samples outside the gaps are unchanged, bit for bit, where only gaps are filled; a file without damage
    is copied. The output is complete, or not there.

    Args:
        source: path of the recording.
        target: path of the output.
        settings: settings of the restoration.
        model: function that returns the model; it is called only where a model is needed.
        dry_run: whether to detect only, without restoring.
        progress: called with (steps done, steps in total).

    Raises:
        AudioError: a recording that cannot be read, or an output that cannot be written.
        ParameterError: gaps or a cutoff that do not fit the recording.
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
        signal, fill = _overlaid(recording), settings.inpaint
        sought = fill if settings.gaps is None else None, settings.bwe if settings.cutoff_hz is None else None
        findings = look_through(signal, *sought) if any(sought) else None
        gaps = [] if fill is None else wanted_gaps(signal, settings.gaps or AUTO, fill, findings)
        report["warnings"] = list(findings.warnings) if findings else []
        cutoff_hz = _cutoff(signal, settings, findings, model, report)
        if dry_run:
            report |= {"status": "planned" if gaps or cutoff_hz else COPIED, "gaps": [_shown(gap) for gap in gaps]}
            return report
        ranked = list(_filled(signal, gaps, settings, model, report, progress if cutoff_hz is None else None))
        outputs = numbered(target, settings.n_candidates if ranked else 1)
        written: list[dict[str, Any]] = []
        for rank, output in enumerate(outputs):
            pieces = [fills[rank] for fills in ranked]
            if cutoff_hz is not None:
                share = share_of(progress, rank, len(outputs))
                whole = _overlaid(recording, pieces)
                written.append(_extend(recording, whole, cutoff_hz, output, settings, model, share))
            elif pieces or settings.subtype is not None or source.suffix.lower() != output.suffix.lower():
                n_clipped = io.restore_into(source, output, recording, pieces, subtype=settings.subtype)
                written.append({"warnings": _clipped(n_clipped)})
            else:
                with io.replacing(output) as part:
                    shutil.copyfile(source, part)
                written.append({"warnings": []})
    report["outputs"] = [str(output) for output in outputs]
    report["status"] = RESTORED if gaps or cutoff_hz is not None else COPIED
    report["warnings"] += written[0].pop("warnings")
    report |= written[0]
    if len(outputs) > 1:  # the report so far is of the best one
        others = zip(outputs[1:], written[1:], strict=True)
        report["candidates"] = [{"output": str(output), **said} for output, said in others]
    report["sha256"] = {"input": _digest(source), "output": _digest(target)}
    report["total_s"] = round(perf_counter() - started, 3)
    return report


@contextmanager
def _named(source: Path) -> Iterator[None]:
    """Prefix errors with the name of the recording, where it is missing."""
    try:
        yield
    except AudioError as error:
        if source.name in str(error):
            raise
        raise AudioError(f"{source}: {error}") from error


def _cutoff(
    signal: Signal, settings: Restoring, findings: Findings | None, model: Callable[[], Model], report: dict[str, Any]
) -> float | None:
    """Return the cutoff of the bandwidth extension; None for none, with the reason in the report.

    A model without bandwidth extension is an error if the extension was asked for; otherwise only gaps are filled.
    """
    if settings.bwe is None:
        return None
    if settings.cutoff_hz is not None:
        check_job(model().pipeline, "bwe")
        report["cutoff_hz"] = settings.cutoff_hz
        return settings.cutoff_hz
    bandwidth = findings.bandwidth if findings is not None else None
    if bandwidth is None:
        raise ParameterError("the recording must be looked through before its cutoff is known")
    report["cutoff_hz"] = bandwidth.cutoff_hz
    report["cutoff_drop_db"] = bandwidth.drop_db
    report["cutoff_confidence"] = bandwidth.confidence
    if bandwidth.cutoff_hz is None:  # that can be decided without a model
        report["bandwidth_status"], report["reason"] = "full_band", "no edge was found; --cutoff HZ names one"
        return None
    try:
        check_job(model().pipeline, "bwe")
    except ParameterError as error:
        if settings.inpaint is None:
            raise
        report["bandwidth_status"], report["reason"] = OUT_OF_REACH, str(error)
        return None
    to_hz, lfr = settings.bwe.to_hz, settings.bwe.lfr
    decision = choose_cutoff(bandwidth, model().pipeline, signal.sample_rate, to_hz, lfr)
    report["bandwidth_status"] = decision.status
    if decision.status != EXTENDABLE:
        report["reason"] = decision.reason
    return decision.cutoff_hz


def _filled(
    signal: Signal,
    gaps: Sequence[Gap],
    settings: Restoring,
    model: Callable[[], Model],
    report: dict[str, Any],
    progress: Progress | None,
) -> Iterator[list[io.Piece]]:
    """Yield the pieces for each gap, in order of time: the piece that fits best, then the next, and so on."""
    report["gaps"] = []
    report["samples_changed"] = 0
    if not gaps:
        return
    n_ranks, later = settings.n_candidates, lambda: model().pipeline
    filling = inpaint_pieces(None, signal, gaps, settings.inpaint, n_ranks=n_ranks, progress=progress, later=later)
    for fills in filling.ranked():
        yield [io.Piece(fill.start, fill.samples, fill.channels) for fill in fills]
    report |= filling.report()


def _extend(
    recording: io.Recording,
    signal: Signal,
    cutoff_hz: float,
    target: Path,
    settings: Restoring,
    model: Callable[[], Model],
    progress: Progress | None,
) -> dict[str, Any]:
    """Write the recording with its band extended, and return the report on it."""
    pipeline = model().pipeline
    coding = io.coding_for(target, settings.subtype or recording.subtype)
    take, limit = _take(settings.like, signal, pipeline.sample_rate, cutoff_hz), coding.subtype not in io.UNLIMITED
    extension = extend_blocks(
        pipeline, signal, cutoff_hz, settings.bwe, take=take, progress=progress, limit_peaks=limit
    )
    size, n_samples = (extension.sample_rate, signal.n_channels), extension.n_samples
    with io.open_writer(target, *size, subtype=coding.subtype, like=recording, n_samples=n_samples) as out:
        for _, block in extension:
            out.write(block)
    warnings = [*extension.report.pop("warnings", []), *_clipped(out.n_clipped)]
    return {"extension": extension.report, "sample_rate": extension.sample_rate, "warnings": warnings}


def _clipped(n_clipped: int) -> list[str]:
    return [f"{n_clipped} samples lay beyond full scale and were clipped"] if n_clipped else []


def _take(like: str | None, signal: Signal, model_rate: int, cutoff_hz: float) -> Take | None:
    """Return the recording that lends its band, if there is one."""
    to_rate = max(signal.sample_rate, model_rate)
    if like is None or like == OWN:
        return None if like is None else take_of(signal, to_rate, cutoff_hz, is_own=True)
    with io.open_recording(like) as take:
        lent = Signal(take.read, take.n_samples, take.n_channels, take.sample_rate)
        return take_of(lent, to_rate, cutoff_hz)


def _overlaid(recording: io.Recording, pieces: Sequence[io.Piece] = ()) -> Signal:
    """Return the recording as a signal for jobs, with the pieces inserted; it may hold NaN beside them."""

    def read(start: int, stop: int) -> np.ndarray:
        return io.put_pieces(recording.read(start, stop, finite=False), start, pieces)

    return Signal(read, recording.n_samples, recording.n_channels, recording.sample_rate)


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
    """Restores recordings with a model that is loaded once in each process."""

    settings: Restoring
    model_options: Mapping[str, Any]
    dry_run: bool = False
    comparison: str = "none"  # png, html or none
    progress: Progress | None = None

    def __call__(self, task: Task) -> dict[str, Any]:
        """Restore a recording and return its report."""
        model = functools.partial(_loaded, tuple(sorted(self.model_options.items())))
        with threads(self.model_options.get("threads")):  # whatever n_jobs is: sums depend on their number
            report = restore_file(
                task.source, task.target, self.settings, model, dry_run=self.dry_run, progress=self.progress
            )
        if self.comparison != "none" and not self.dry_run:
            report["comparison"] = str(_compared(task, report, self.comparison))
        return report


@functools.lru_cache(maxsize=1)
def _loaded(model_options: tuple[tuple[str, Any], ...]) -> Model:
    return load(**dict(model_options))


def _compared(task: Task, report: Mapping[str, Any], kind: str) -> Path:
    """Write an image or a page beside a result that compares it with its source, and return its path."""
    path = compared_in(task.target, kind)
    extended = report["cutoff_hz"] if "extension" in report else None
    comparison = compare(task.source, task.target, repairs=repairs_of(report.get("gaps", ())), cutoff_hz=extended)
    (write_page if kind == "html" else write_picture)(comparison, path)
    return path
