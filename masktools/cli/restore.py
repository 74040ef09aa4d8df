"""Commands that restore recordings, one or many: restore, inpaint and bwe; with resuming, reports and comparisons."""

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.files import GrowingReport, Watcher, is_report
from masktools.cli.options import Command, fail, settings_of
from masktools.core.errors import ParameterError
from masktools.core.settings import AUDIO_FORMATS, BandSettings, GapSettings

if TYPE_CHECKING:
    from masktools.batch import Outcome, Task
    from masktools.batch.restoring import Restorer, Restoring

SOME_FAILED, NOTHING_TO_REPAIR = 3, 4
COUNTED = RESTORED, COPIED, FINISHED, FAILED = "restored", "without anything to repair", "finished before", "failed"


def add_recordings(parser: argparse.ArgumentParser, suffix: str) -> None:
    """Add the options of the recordings, the outputs, and the batch."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="recordings, or folders of them")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="the result, or the folder of the results; left out: beside IN"
    )
    group = parser.add_argument_group("files")
    options.add(group, "--recursive")
    group.add_argument(
        "--suffix", metavar="TEXT", help=f"put behind the names of results; {suffix} where they lie beside IN"
    )
    group.add_argument(
        "--format",
        choices=("keep", *AUDIO_FORMATS),
        default="keep",
        metavar="NAME",
        help=f"of results: keep (FLAC where the source is coded lossily), {', '.join(AUDIO_FORMATS)}",
    )
    options.add(group, "--subtype", "--jobs", "--resume", "--overwrite")
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    group.add_argument("--strict", action="store_true", help="leave with exit code 4 if there was nothing to repair")
    options.add(group, "--report")
    group.add_argument(
        "--ab",
        choices=("none", "png", "html"),
        default="none",
        metavar="KIND",
        help="png or html: a picture or a page beside each result that compares it with its source",
    )
    options.add(group, "--progress")
    parser.set_defaults(default_suffix=suffix)


def restore_recordings(args: argparse.Namespace, settings: "Restoring", said: Callable[[dict[str, Any]], str]) -> int:
    """Restore the recordings named by the options, and return the exit code.

    Args:
        args: options of ``add_recordings``, ``options.add_settings`` and ``options.add_model``.
        settings: settings of the restoration.
        said: function from a report to its line of summary, without the name of the file.
    """
    from masktools import io
    from masktools.batch import plan_tasks

    ending = None if args.format == "keep" else f".{args.format}"
    tasks = plan_tasks(
        args.inputs,
        args.output,
        recursive=args.recursive,
        suffix=args.suffix,
        ending=ending,
        default_suffix=args.default_suffix,
    )
    for ending in {task.target.suffix for task in tasks}:
        io.coding_for(f"a{ending}")
    run = _Run(args, tasks, settings, said)
    return run.one() if run.is_single else run.many()


class _Run:
    """The run of one command line."""

    def __init__(
        self,
        args: argparse.Namespace,
        tasks: "list[Task]",
        settings: "Restoring",
        said: Callable[[dict[str, Any]], str],
    ) -> None:
        from masktools.batch import Journals

        self._args, self._tasks, self._settings, self._said = args, tasks, settings, said
        self._journals = Journals({**settings.to_json(), "model": args.model})
        before = {task: self._journals.of(task.target).report_of(task) for task in tasks} if args.resume else {}
        self._finished = {task: report for task, report in before.items() if report is not None}
        self._left = [task for task in tasks if task not in self._finished]
        self.is_single = len(args.inputs) == 1 and not args.inputs[0].is_dir() and not args.resume
        self._check_outputs()

    def one(self) -> int:
        """Restore one recording; its failure is the error of the command."""
        (task,) = self._tasks
        was_there = task.target.parent.exists()
        self._make_folders()
        try:
            with Watcher(self._args.progress).on(task.source) as step:
                report = self._work(step)(task)
        except BaseException:
            if not was_there:
                with contextlib.suppress(OSError):  # raises if it is not empty, or was never made
                    task.target.parent.rmdir()
            raise
        self._tell(task, report)
        files.write_report(self._args.report, report)
        return NOTHING_TO_REPAIR if self._args.strict and report["status"] == "nothing_to_repair" else 0

    def many(self) -> int:
        """Restore recordings; failures are reported, and the others go on."""
        from masktools import __version__
        from masktools.batch import run_tasks

        args = self._args
        self._make_folders()
        watcher = Watcher(args.progress, len(self._left))
        work = self._work(watcher.step if watcher.watched and args.jobs == 1 else None)
        report = GrowingReport(args.report, {"masktools": __version__, "command": args.command})
        counts = Counter({FINISHED: len(self._finished)})
        for one in self._finished.values():
            counts["whole"] += one.get("status") == "nothing_to_repair"
            report.add(one)

        def begin(task: "Task") -> None:
            watcher.begin(task.source)
            if not args.dry_run:
                self._journals.of(task.target).begin(task, self._outputs_of(task))

        try:
            for outcome in run_tasks(self._left, work, args.jobs, begin):
                watcher.finish()
                counts[self._take(outcome, report)] += 1
                watcher.end()
        finally:
            watcher.finish()
            report.write()
        return self._conclude(counts)

    def _take(self, outcome: "Outcome", report: GrowingReport) -> str:
        """Report and record the outcome of a task, and return its category."""
        if outcome.error is not None:
            sys.stderr.write(fail(outcome.error))
            report.add({"input": str(outcome.task.source), "status": "failed", "error": outcome.error})
            return FAILED
        self._tell(outcome.task, outcome.report)
        if not self._args.dry_run:
            self._journals.of(outcome.task.target).add(outcome.task, outcome.report)
        report.add(outcome.report)
        return COPIED if outcome.report["status"] == "nothing_to_repair" else RESTORED

    def _conclude(self, counts: "Counter[str]") -> int:
        n_whole = counts.pop("whole", 0) + counts[COPIED]
        names = {RESTORED: "to be restored" if self._args.dry_run else RESTORED}
        parts = [f"{counts[what]} {names.get(what, what)}" for what in COUNTED if counts[what]]
        print(f"{len(self._tasks)} recordings: {', '.join(parts)}")
        if counts[FAILED]:
            return SOME_FAILED
        return NOTHING_TO_REPAIR if self._args.strict and n_whole == len(self._tasks) else 0

    def _tell(self, task: "Task", report: dict[str, Any]) -> None:
        print(f"{task.source if self._args.dry_run else task.target}: {self._said(report)}")
        for warning in report.get("warnings", ()):
            sys.stderr.write(f"masktools: warning: {task.source}: {warning}\n")

    def _work(self, step: Callable[[int, int], None] | None) -> "Restorer":
        from masktools.batch.restoring import Restorer

        args = self._args
        return Restorer(self._settings, options.model_options(args), args.dry_run, args.ab, step)

    def _outputs_of(self, task: "Task") -> list[Path]:
        from masktools.batch import outputs_of

        return outputs_of(task.target, self._settings.n_candidates, self._args.ab)

    def _check_outputs(self) -> None:
        """Raise, before any work, where outputs would destroy files.

        Raises:
            ParameterError: the message names the file, and says what to do.
        """
        from masktools.batch.tasks import JOURNAL
        from masktools.io import check_places

        args, report = self._args, self._args.report
        sources = [*(task.source for task in self._tasks), *files.read_by(args)]
        replaced = args.overwrite or (args.resume and is_report(report))
        if args.dry_run:
            files.check_outputs([report], sources, overwrite=replaced)
            return
        folders = dict.fromkeys(task.target.parent for task in self._tasks)
        for folder in folders:
            self._check_folder(folder)
        if report is not None and (report.parent.exists() or report.parent not in folders):
            files.check_outputs([report], sources, overwrite=replaced)
        done = {output for task in self._finished for output in self._outputs_of(task)}

        def ours(output: Path) -> bool:
            return output in done or (args.resume and (output == report or self._journals.of(output).is_ours(output)))

        places = [output for task in self._tasks for output in self._outputs_of(task)]
        places += [] if report is None else [report]
        hint = "say --resume to go on with an earlier run, --overwrite to replace {them}, or name another output"
        if args.resume:
            hint = "no earlier run made {them}; say --overwrite to replace {them}, or name another output"
        notes = [folder / JOURNAL for folder in folders]
        check_places(places, sources, notes=notes, overwrite=args.overwrite, ours=ours, hint=hint)

    def _check_folder(self, folder: Path) -> None:
        """Raise where a folder cannot be made, or written to; for one result only a folder that was named is made."""
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise ParameterError(f"the output's folder must be a folder, got the file {there}")
        depth = len(folder.parts) - len(there.parts)
        if self.is_single and depth > (self._tasks[0].target != self._args.output):
            raise ParameterError(f"the output's folder must exist, got {self._args.output}: make {folder} first")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ParameterError(f"the output's folder must be open for writing, got {there}")

    def _make_folders(self) -> None:
        from masktools.io import clear_parts

        for folder in () if self._args.dry_run else dict.fromkeys(task.target.parent for task in self._left):
            folder.mkdir(parents=True, exist_ok=True)
            clear_parts(folder.resolve())


def _add_gaps(parser: argparse.ArgumentParser) -> None:
    options.group_of(parser, GapSettings.TITLE).add_argument(
        "--gaps",
        default="auto",
        metavar="WHICH",
        help="auto; or start and end of each in seconds: 1.20-1.55,3-3.2; or a file: labels.txt of Audacity, gaps.json",
    )
    options.add_settings(parser, GapSettings)


def _add_band(parser: argparse.ArgumentParser) -> None:
    group = options.group_of(parser, BandSettings.TITLE)
    group.add_argument(
        "--cutoff",
        type=options.auto_or(options.number(0.0, "Hz", above=True)),
        metavar="HZ",
        help="where the recording's own band ends; auto, or left out: as it is found",
    )
    group.add_argument(
        "--like",
        metavar="FILE",
        help="a full-band take of the same source, which lends the missing band in place of the model; "
        "own: the full-band moments of each recording lend to its dull ones, from --cutoff on",
    )
    options.add_settings(parser, BandSettings)


def _gaps(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of gaps from the options."""
    from masktools.core.gaps import parse_gaps, read_gaps

    gaps = None
    if args.gaps != "auto":
        gaps = tuple(read_gaps(Path(args.gaps)) if _is_path(args.gaps) else parse_gaps(args.gaps))
    return {"gaps": gaps, "inpaint": settings_of(args, GapSettings)}


def _is_path(text: str) -> bool:
    return text.lower().endswith((".txt", ".json")) or files.is_file(text)


def _band(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the bandwidth extension from the options."""
    return {"cutoff_hz": args.cutoff, "like": args.like, "bwe": settings_of(args, BandSettings)}


def said_of_gaps(report: dict[str, Any]) -> str:
    """Return the summary of filled gaps.

    >>> said_of_gaps({"status": "restored", "gaps": [{"start_s": 1.0, "end_s": 1.5}]})
    '1 gap filled, 0.500 s in all'
    """
    gaps = report.get("gaps", [])
    if not gaps:
        return "no gaps found: copied as it is" if report["status"] != "planned" else "no gaps found"
    seconds = sum(gap["end_s"] - gap["start_s"] for gap in gaps)
    done = "to fill" if report["status"] == "planned" else "filled"
    listed = ": " + ", ".join(f"{g['start_s']:.3f}-{g['end_s']:.3f}" for g in gaps) if done == "to fill" else ""
    return f"{len(gaps)} gap{'s' * (len(gaps) > 1)} {done}, {seconds:.3f} s in all{listed}"


def said_of_band(report: dict[str, Any]) -> str:
    """Return the summary of a bandwidth extension.

    >>> said_of_band({"cutoff_hz": 4000.0, "sample_rate": 44100, "status": "restored"})
    'extended above 4000 Hz, at 44100 Hz'
    """
    if report["status"] == "planned":
        return f"to extend above {report['cutoff_hz']:g} Hz"
    if report["status"] == "restored" and "reason" not in report:
        return f"extended above {report['cutoff_hz']:g} Hz, at {report['sample_rate']} Hz"
    return f"not extended: {report['reason']}" + ("" if report["status"] == "restored" else "; copied as it is")


def _said_of_both(report: dict[str, Any]) -> str:
    if report["status"] == "nothing_to_repair":
        return f"nothing to repair ({report['reason']}): copied as it is"
    gaps = said_of_gaps(report) if report["gaps"] else "no gaps"
    return f"{gaps}; {said_of_band(report | {'status': report['status']})}"


def _restoring(help: str, about: str, suffix: str, parts: Any, said: Any) -> Command:
    """Return a command composed of parts, each of which adds options and reads them."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add_recordings(parser, suffix)
        for add, _ in parts:
            add(parser)
        options.add_model(parser)

    def run(args: argparse.Namespace) -> int:
        from masktools.batch.restoring import Restoring

        asked = {name: value for _, read in parts for name, value in read(args).items()}
        return restore_recordings(args, Restoring(**asked, subtype=options.subtype(args)), said)

    return Command(help, add_arguments, run, about)


RESTORE = _restoring(
    "find damage, fill gaps and extend the bandwidth",
    "Restore recordings: they are looked through, their gaps filled and their bands extended, with one encoding. What "
    "is not damaged stays as it is.",
    "_restored",
    [(_add_gaps, _gaps), (_add_band, _band)],
    _said_of_both,
)
INPAINT = _restoring(
    "fill gaps in recordings",
    "Fill gaps: only the samples inside them change; length, rate, channels, sample format and tags stay. Gaps are "
    "found (dropouts to digital silence, held samples, NaN), or given: as times, as labels of Audacity, or as JSON, as "
    "`masktools probe --json` prints it. Short ones are filled by linear prediction, longer ones from places of the "
    "recording that are alike, or by the model where there are none.",
    "_inpainted",
    [(_add_gaps, _gaps)],
    said_of_gaps,
)
BWE = _restoring(
    "add what is missing above a cutoff frequency",
    "Extend the bandwidth: what is missing above the cutoff is added; below it the original is kept. The cutoff is "
    "found, or given. A recording that has its whole band, or none that the model can go on from, is copied, and the "
    "reason is said.",
    "_extended",
    [(_add_band, _band)],
    said_of_band,
)
