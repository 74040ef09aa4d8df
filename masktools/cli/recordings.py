"""What all commands that restore recordings share: many files in, many out, gone on with, reported, compared."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.parser import fail
from masktools.cli.progress import MODES, Watcher
from masktools.errors import ParameterError

if TYPE_CHECKING:
    from masktools.batch import Outcome, Task
    from masktools.batch.restoring import Restoring

__all__ = ["add_recordings", "restore_recordings"]

SOME_FAILED, NOTHING_TO_REPAIR = 3, 4
FORMATS = ("keep", "wav", "flac", "aiff", "ogg", "opus", "mp3")


def add_recordings(parser: argparse.ArgumentParser, suffix: str) -> None:
    """Add the recordings, where the results go, and how a batch of them is run."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="recordings, or folders of them")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="the result, or the folder of the results; left out: beside IN"
    )
    group = parser.add_argument_group("files")
    group.add_argument("--recursive", action="store_true", help="search folders inside folders, too")
    group.add_argument(
        "--suffix", metavar="TEXT", help=f"put behind the names of results; {suffix} where they lie beside IN"
    )
    group.add_argument(
        "--format",
        choices=FORMATS,
        default="keep",
        metavar="NAME",
        help="of results: keep (FLAC where the source is coded lossily), wav, flac, aiff, ogg, opus, mp3",
    )
    group.add_argument(
        "--subtype",
        choices=options.SUBTYPES,
        default="keep",
        metavar="NAME",
        help="of the samples: keep, pcm16, pcm24, float",
    )
    group.add_argument("--jobs", type=options.whole_number(1), default=1, metavar="N", help="recordings at once")
    group.add_argument("--resume", action="store_true", help="leave out what an earlier run has finished")
    group.add_argument("--overwrite", action="store_true", help="replace results that are there")
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    group.add_argument("--strict", action="store_true", help="leave with exit code 4 if there was nothing to repair")
    group.add_argument("--report", type=Path, metavar="JSON", help="write what was done to this file")
    group.add_argument(
        "--ab",
        choices=("none", "png", "html"),
        default="none",
        metavar="KIND",
        help="png or html: a picture or a page beside each result that compares it with its source",
    )
    group.add_argument(
        "--progress", choices=MODES, default="auto", metavar="HOW", help="auto, bar, json or none, on the error stream"
    )
    parser.set_defaults(default_suffix=suffix)


def restore_recordings(args: argparse.Namespace, settings: "Restoring", said: Callable[[dict[str, Any]], str]) -> int:
    """Restore what the options name, and return the exit code.

    Args:
        args: what ``add_recordings``, ``options.add_decoding`` and ``options.add_model`` read.
        settings: what is done to each recording.
        said: gives the line about a report, without the name of the file.
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
    for task in tasks:
        io.coding_for(task.target)
    single = len(args.inputs) == 1 and not args.inputs[0].is_dir()
    if single and not args.resume:
        return _one(args, tasks[0], settings, said)
    return _many(args, tasks, settings, said)


def _one(args: argparse.Namespace, task: "Task", settings: "Restoring", said: Callable[[dict[str, Any]], str]) -> int:
    """Restore one recording; what is wrong with it is the error of the command."""
    from masktools.batch.restorer import restorer

    _make_folder(args, task.target)
    files.check_outputs([task.target, args.report], [task.source])
    watcher = Watcher(args.progress)
    watcher.begin(task.source)
    work = restorer(settings, _model_options(args), args.dry_run, args.ab, watcher.step if watcher.watched else None)
    try:
        report = work(task)
    finally:
        watcher.finish()
    _tell(task, report, said, args.dry_run)
    files.write_report(args.report, report)
    return NOTHING_TO_REPAIR if args.strict and report["status"] == "nothing_to_repair" else 0


def _many(
    args: argparse.Namespace, tasks: "list[Task]", settings: "Restoring", said: Callable[[dict[str, Any]], str]
) -> int:
    """Restore recordings; what is wrong with one is told, and the others are restored all the same."""
    from masktools.batch import Journal, Outcome, clear_parts, run_tasks
    from masktools.batch.journal import JOURNAL
    from masktools.batch.restorer import restorer

    files.check_outputs([args.report], [task.source for task in tasks])
    journal_folder = args.output if args.output and not args.output.suffix else _common_folder(tasks)
    options_of_model = _model_options(args)
    journal = Journal(journal_folder / JOURNAL, {**settings.to_json(), "model": args.model})
    before = {task: journal.report_of(task) for task in tasks} if args.resume else {}
    finished = [Outcome(task, report) for task, report in before.items() if report is not None]
    done = {outcome.task for outcome in finished}
    left = [task for task in tasks if task not in done]
    if not (args.overwrite or args.resume or args.dry_run):
        _refuse_to_replace(tasks)
    if not args.dry_run:
        for task in left:
            task.target.parent.mkdir(parents=True, exist_ok=True)
        clear_parts(left)
    watcher = Watcher(args.progress, len(left))
    step = watcher.step if watcher.watched and args.jobs == 1 else None
    threads = options_of_model.get("threads") or (_cores() // args.jobs or 1 if args.jobs > 1 else None)
    work = restorer(settings, {**options_of_model, "threads": threads}, args.dry_run, args.ab, step)
    outcomes = list(finished)
    try:
        for outcome in run_tasks(left, work, args.jobs, begin=watcher.begin):
            watcher.finish()
            outcomes.append(outcome)
            if outcome.error is not None:
                sys.stderr.write(fail(outcome.error))
            else:
                _tell(outcome.task, outcome.report, said, args.dry_run)
                if not args.dry_run:
                    journal.add(outcome.task, outcome.report)
            watcher.end()
            files.write_report(args.report, _summary(args, outcomes))
    finally:
        watcher.finish()
    files.write_report(args.report, _summary(args, outcomes))
    return _conclude(args, outcomes, len(finished))


def _conclude(args: argparse.Namespace, outcomes: "list[Outcome]", n_before: int) -> int:
    n_failed = sum(outcome.error is not None for outcome in outcomes)
    copied = [
        outcome.report.get("status") == "nothing_to_repair" for outcome in outcomes
    ]  # those from before come first
    n_copied = sum(copied[n_before:])
    counts = {
        "to be restored" if args.dry_run else "restored": len(outcomes) - n_failed - n_copied - n_before,
        "without anything to repair": n_copied,
        "finished before": n_before,
        "failed": n_failed,
    }
    print(f"{len(outcomes)} recordings: " + ", ".join(f"{n} {what}" for what, n in counts.items() if n))
    if n_failed:
        return SOME_FAILED
    return NOTHING_TO_REPAIR if args.strict and all(copied) else 0


def _tell(task: "Task", report: dict[str, Any], said: Callable[[dict[str, Any]], str], dry_run: bool) -> None:
    print(f"{task.source if dry_run else task.target}: {said(report)}")
    for warning in report.get("warnings", ()):
        sys.stderr.write(f"masktools: warning: {task.source}: {warning}\n")


def _summary(args: argparse.Namespace, outcomes: "list[Outcome]") -> dict[str, Any]:
    from masktools import __version__

    return {
        "masktools": __version__,
        "command": args.command,
        "files": [
            outcome.report
            if outcome.error is None
            else {"input": str(outcome.task.source), "status": "failed", "error": outcome.error}
            for outcome in outcomes
        ],
    }


def _refuse_to_replace(tasks: "list[Task]") -> None:
    there = [task.target for task in tasks if task.target.exists()]
    if there:
        raise ParameterError(
            f"{len(there)} of {len(tasks)} results are there already, {there[0]} first: "
            "say --resume to go on with an earlier run, or --overwrite to replace them"
        )


def _make_folder(args: argparse.Namespace, target: Path) -> None:
    """Make the folder that was named as the place of the result, but none above it."""
    if args.output is not None and target != args.output and args.output.parent.is_dir() and not args.dry_run:
        args.output.mkdir(exist_ok=True)


def _common_folder(tasks: "list[Task]") -> Path:
    import os

    return Path(os.path.commonpath([task.target.parent.resolve() for task in tasks]))


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _model_options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": args.model,
        "device": args.device,
        "precision": args.precision,
        "threads": args.threads,
        "batch_size": args.batch_size,
    }
