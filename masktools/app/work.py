"""The work of jobs with the model: fills, repairs, bands and new recordings, as files in the job's folder.

Nothing here changes a recording: a job leaves candidates, and the page chooses.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from masktools import io, restoration
from masktools.app.edits import RESULT, Place
from masktools.app.layers import new_array
from masktools.app.refusals import RefusalError
from masktools.app.settings import JobSettings
from masktools.app.store import FOUND, Region, damage_in
from masktools.app.views import View
from masktools.core.configs import read_json
from masktools.core.gaps import Gap
from masktools.core.settings import (
    BandSettings,
    ContinuationSettings,
    GapSettings,
    LoopSettings,
    Made,
    PromptSettings,
    RepairSettings,
)
from masktools.detection.probe import GAP_KINDS
from masktools.model import Model
from masktools.pipeline import Progress, share_of
from masktools.restoration.band_level import EXTENDABLE
from masktools.restoration.ends import continuation, loop_pieces
from masktools.restoration.recordings import FilledGap

BAND, SEAM = "band", "seam"
_BLOCK = 1 << 18

Told = dict[str, Any]


class Band(NamedTuple):
    """The bandwidth that the survey found, as ``choose_cutoff`` takes it."""

    cutoff_hz: float | None
    drop_db: float = 0.0
    confidence: float = 0.0


@dataclass(frozen=True, eq=False)
class Job:
    """A job on one recording."""

    view: View
    folder: Path  # of the job
    settings: JobSettings
    regions: tuple[Region, ...]
    n_candidates: int
    seed: int
    model: Callable[[], Model]
    progress: Progress
    found: dict[str, list[Told]] = field(default_factory=dict)  # candidates of regions, and their pieces
    _n_files: list[int] = field(default_factory=lambda: [0])

    @property
    def size(self) -> tuple[int, int, int]:
        """Samples, channels and rate of the recording."""
        own = self.view.recording
        return own.n_samples, own.n_channels, own.sample_rate

    @property
    def signal(self) -> restoration.Signal:
        """The recording as it is now, for the jobs."""
        return restoration.Signal(self.view.after, *self.size)

    def of(self, settings: type[Made], **more: Any) -> Made:
        """Return the settings of a job of a kind."""
        return self.settings.of(settings, seed=self.seed, **more)

    def walk(self) -> Any:
        """Return the model, loaded when it is first asked for."""
        return self.model().pipeline

    @property
    def subtype(self) -> str:
        """Subtype of new files: that of the recording, PCM_16 where its own is lossy."""
        own = self.view.recording
        return "PCM_16" if own.is_lossy else own.subtype

    def findings(self) -> Told:
        """Return what the survey found.

        Raises:
            RefusalError: it is not at its end.
        """
        if not self.is_surveyed:
            raise RefusalError(
                409, "the recording is still being surveyed: wait until it has been, or mark what is meant"
            )
        return read_json(self._findings)

    @property
    def is_surveyed(self) -> bool:
        """Whether the damaged spans are known."""
        return self._findings.is_file()

    @property
    def _findings(self) -> Path:
        return self.view.folder / FOUND

    def keep(self, name: str, rank: int, told: Told, pieces: Iterable[FilledGap]) -> None:
        """Keep pieces as those of a candidate of a region."""
        candidates = self.found.setdefault(name, [])
        while len(candidates) <= rank:
            candidates.append({"pieces": []})
        candidates[rank] |= told
        for piece in pieces:
            file = f"{self._n_files[0]}.npy"
            self._n_files[0] += 1
            new_array(self.folder / file, piece.samples.shape, piece.samples.dtype.str)[:] = piece.samples
            place = Place(file, piece.start, piece.start + piece.samples.shape[1], piece.channels)
            candidates[rank]["pieces"].append(asdict(place))

    def finish(self, report: Told) -> Told:
        """Write what there is to choose from, and return what is told of it."""
        with io.replacing(self.folder / RESULT) as part:
            part.write_text(json.dumps({"regions": self.found, "report": report}), encoding="utf-8")
        return {"report": report}


def inpaint(job: Job) -> Told:
    """Fill gaps: those that are marked, or else those that were found."""
    return job.finish(_filled(job, job.progress))


def _filled(job: Job, progress: Progress | None) -> Told:
    regions = job.regions or tuple(_damage(job))
    if not regions:
        return {"job": "inpaint", "gaps": []}
    rate = job.view.recording.sample_rate
    filling = restoration.inpaint_pieces(
        None,
        replace(job.signal, damaged=tuple(_still_damaged(job, regions))),
        [Gap(one.start / rate, one.end / rate, one.channels) for one in regions],
        job.of(GapSettings, n_candidates=job.n_candidates),
        n_ranks=job.n_candidates,
        progress=progress,
        later=job.walk,
    )
    for ranked in filling.ranked():
        for region in _of(regions, ranked[0], job.size[1]):
            for rank, fill in enumerate(ranked if len({id(one) for one in ranked}) > 1 else ranked[:1]):
                job.keep(region.id, rank, _said(fill.report, rank), [fill])
    return filling.report()


def _still_damaged(job: Job, regions: Iterable[Region]) -> Iterator[Gap]:
    """Yield what was found, was not repaired, and is not to be filled now: no fill shall be made of it."""
    n_samples, n_channels, rate = job.size
    touched = [(one.start, one.end, set(one.channels or range(n_channels))) for one in regions]
    touched += [(one.start, one.stop, set(one.channels)) for one in job.view.pieces if one.stop - one.start < n_samples]
    for one in _damage(job) if job.is_surveyed else ():
        own = set(one.channels or range(n_channels))
        if not any(start <= one.end and one.start <= stop and own & channels for start, stop, channels in touched):
            yield Gap(one.start / rate, one.end / rate, one.channels)


def _said(report: Told, rank: int) -> Told:
    """Return what a row of the page says about a candidate."""
    table = report.get("candidates") or [{}]
    told = table[min(rank, len(table) - 1)]
    seed = told.get("seed", report.get("seed"))  # of more digits than a page's numbers have
    return {"seed": seed and str(seed), "fit_db": told.get("fit_db"), "method": report.get("method")}


def _damage(job: Job) -> Iterator[Region]:
    longest = job.of(GapSettings).max_gap_s * job.size[2]
    for one in damage_in(job.findings(), job.size[1]):
        if one.kind in GAP_KINDS and one.end - one.start <= longest:
            yield one


def _of(regions: Iterable[Region], piece: FilledGap, n_channels: int) -> list[Region]:
    """Return the regions that a piece lies in, at least in part."""
    stop, channels = piece.start + piece.samples.shape[1], set(piece.channels)
    return [
        one
        for one in regions
        if one.start < stop - 1 and piece.start + 1 < one.end and channels & set(one.channels or range(n_channels))
    ]


def repair(job: Job) -> Told:
    """Repair rectangles of time and frequency, as often as there shall be candidates."""
    if not job.regions:
        raise RefusalError(422, "what is to be repaired must be marked", "regions")
    _, n_channels, rate = job.size
    regions = [
        restoration.Region.rectangle(
            *(one.start / rate, one.end / rate, one.low_hz or 0.0, min(one.high_hz or rate / 2, rate / 2)), one.channels
        )
        for one in job.regions
    ]
    report: Told = {}
    for rank in range(job.n_candidates):
        settings = job.settings.of(RepairSettings, seed=job.seed + rank)
        share = share_of(job.progress, rank, job.n_candidates)
        repairing = restoration.repair_pieces(None, job.signal, regions, settings, progress=share, later=job.walk)
        for piece in repairing:
            for region in _of(job.regions, piece, n_channels):
                job.keep(region.id, rank, {"seed": str(job.seed + rank)}, [piece])
        report = report or repairing.report()
    return job.finish(report)


def bwe(job: Job) -> Told:
    """Extend the band of the whole; of a recording of a lower rate than the model's a new one is made."""
    return _extended(job, job.signal, {}, job.progress)


def _extended(job: Job, signal: restoration.Signal, report: Told, progress: Progress) -> Told:
    settings = job.of(BandSettings, limit_peaks=job.subtype not in io.UNLIMITED)
    n_samples, n_channels, rate = job.size
    cutoff_hz = job.settings.cutoff_hz
    if cutoff_hz is None:
        band = job.findings()["bandwidth"] or {}
        edge = Band(**band) if band else Band(None)
        decision = restoration.choose_cutoff(edge, job.walk(), rate, settings.to_hz, settings.lfr)
        report |= {"bandwidth_status": decision.status}
        if decision.status != EXTENDABLE or decision.cutoff_hz is None:
            return job.finish(report | {"reason": decision.reason})
        cutoff_hz = decision.cutoff_hz
    extension = restoration.extend_blocks(job.walk(), signal, cutoff_hz, settings, progress=progress)
    if extension.sample_rate != rate:
        made = _written(job, extension.sample_rate, (block for _, block in extension))
        return job.finish(report | {"extension": extension.report}) | {"made": [made]}
    whole = new_array(job.folder / "band.npy", (n_channels, n_samples), "<f4")
    for start, block in extension:
        whole[:, start : start + block.shape[1]] = block
    whole.flush()
    place = Place("band.npy", 0, n_samples, tuple(range(n_channels)))
    job.found[BAND] = [{"seed": str(job.seed), "pieces": [asdict(place)]}]
    return job.finish(report | {"extension": extension.report})


def restore(job: Job) -> Told:
    """Fill the gaps that were found, and then extend the band of what that gives."""
    report = _filled(replace(job, n_candidates=1), share_of(job.progress, 0, 2))
    fills = [
        io.Piece(place["start"], np.load(job.folder / place["file"], allow_pickle=False), tuple(place["channels"]))
        for candidates in job.found.values()
        for place in candidates[0]["pieces"]
    ]

    def filled(start: int, stop: int) -> np.ndarray:
        return io.put_pieces(job.view.after(start, stop), start, fills)

    progress = share_of(job.progress, 1, 2) or job.progress
    return _extended(job, replace(job.signal, read=filled), report, progress)


def loop(job: Job) -> Told:
    """Make the end lead into the start."""
    pieces, report = loop_pieces(None, job.signal, job.of(LoopSettings), progress=job.progress, later=job.walk)
    job.keep(SEAM, 0, {"seed": str(job.seed)}, pieces)
    return job.finish(report)


def extend(job: Job) -> Told:
    """Let the recording go on, as a new one."""
    settings, (n_samples, _, rate) = job.of(ContinuationSettings), job.size
    added, report = continuation(job.walk(), job.signal, job.settings.seconds, settings, progress=job.progress)

    def blocks() -> Iterator[np.ndarray]:
        if settings.side == "start":
            yield added
        for start in range(0, n_samples, _BLOCK):
            yield job.view.after(start, min(start + _BLOCK, n_samples)).astype(added.dtype)
        if settings.side == "end":
            yield added

    return job.finish(report) | {"made": [_written(job, rate, blocks())]}


def _written(job: Job, sample_rate: int, blocks: Iterable[np.ndarray]) -> str:
    """Write a new recording, and return its file."""
    path = job.folder / "made.wav"
    with io.open_writer(path, sample_rate, job.size[1], job.subtype, like=job.view.recording) as out:
        for block in blocks:
            out.write(block)
    return path.name


def generate(
    folder: Path, settings: JobSettings, n: int, seed: int, model: Callable[[], Model], progress: Progress
) -> Told:
    """Make recordings from a text, or from nothing."""
    decoding = settings.of(PromptSettings, seed=seed)
    results = model().generate(settings.prompts, n, settings.seconds, decoding, progress=progress)
    made = []
    for number, result in enumerate(results, 1):
        path = folder / f"made-{number}.wav"
        samples = result.samples[None] if result.samples.ndim == 1 else result.samples.T
        io.write(path, samples, result.sample_rate, "PCM_16")
        made.append(path.name)
    return {"report": results[0].report if results else {}, "made": made}


JOBS: dict[str, Callable[[Job], Told]] = {one.__name__: one for one in (inpaint, repair, bwe, restore, loop, extend)}
"""The jobs by kind: function that does the work of each."""


def batch(
    folders: tuple[Path, Path], settings: JobSettings, kind: str, seed: int, options: Told, tell: Callable[..., object]
) -> Told:
    """Restore every recording of a folder into another; what an earlier run has finished is left out.

    Args:
        folders: folder to read from, and folder to write to.
        settings: settings of the job.
        kind: kind of the job: restore, inpaint or bwe.
        seed: random seed; the same seed gives the same result.
        options: options of the model, for ``masktools.load``.
        tell: called with (share in all, report of a recording or None).
    """
    from masktools.batch import Journals, outputs_of, plan_tasks, run_tasks
    from masktools.batch.restoring import Restorer, Restoring

    wanted = Restoring(
        inpaint=settings.of(GapSettings, seed=seed) if kind != "bwe" else None,
        bwe=settings.of(BandSettings, seed=seed) if kind != "inpaint" else None,
        cutoff_hz=settings.cutoff_hz,
    )
    tasks = plan_tasks([folders[0]], folders[1], recursive=True)
    journals = Journals({**wanted.to_json(), "model": options.get("model")})
    left = [task for task in tasks if journals.of(task.target).report_of(task) is None]
    n_done = len(tasks) - len(left)
    reports: list[Told] = []

    def begin(task: Any) -> None:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        journals.of(task.target).begin(task, outputs_of(task.target))

    def step(done: int, total: int) -> None:
        tell((n_done + done / max(1, total)) / max(1, len(tasks)), None)

    for task in left:  # what is there and is not ours stays
        if task.target.exists() and not journals.of(task.target).is_ours(task.target):
            raise RefusalError(409, f"{task.target.name} is there already, and no earlier run made it")
    for outcome in run_tasks(left, Restorer(wanted, options, progress=step), begin=begin):
        n_done += 1
        name = outcome.task.source.name
        if outcome.error is None:
            journals.of(outcome.task.target).add(outcome.task, outcome.report)
        reports.append({"file": name, "status": outcome.report.get("status", "failed"), "error": outcome.error})
        tell(n_done / len(tasks), reports[-1])
    n_failed = sum(one["error"] is not None for one in reports)
    told = {"recordings": len(tasks), "finished_before": len(tasks) - len(left), "failed": n_failed, "files": reports}
    return {"report": told}
