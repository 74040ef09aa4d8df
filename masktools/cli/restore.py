"""Commands that restore recordings, one or many: restore, inpaint and bwe."""

import argparse
from pathlib import Path
from typing import Any

from masktools.cli import options
from masktools.cli.options import Command, settings_of
from masktools.cli.recordings import add_recordings, restore_recordings
from masktools.core.settings import BandSettings, GapSettings


def _add_gaps(parser: argparse.ArgumentParser) -> None:
    """Add which gaps are filled, and how."""
    options.group_of(parser, GapSettings.TITLE).add_argument(
        "--gaps",
        default="auto",
        metavar="WHICH",
        help="auto; or start and end of each in seconds: 1.20-1.55,3-3.2; or a file: labels.txt of Audacity, gaps.json",
    )
    options.add_settings(parser, GapSettings)


def _add_band(parser: argparse.ArgumentParser) -> None:
    """Add from where on the band is extended, and how."""
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
    """Return what the options say about gaps."""
    from masktools.core.gaps import parse_gaps, read_gaps

    gaps = None
    if args.gaps != "auto":
        gaps = tuple(read_gaps(Path(args.gaps)) if options.is_path(args.gaps) else parse_gaps(args.gaps))
    return {"gaps": gaps, "inpaint": settings_of(args, GapSettings)}


def _band(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say about the band."""
    return {"cutoff_hz": args.cutoff, "like": args.like, "bwe": settings_of(args, BandSettings)}


def said_of_gaps(report: dict[str, Any]) -> str:
    """Return what was done to gaps, in words.

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
    """Return what was done to the band, in words.

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
    """Return a command of which each part adds options and reads them."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add_recordings(parser, suffix)
        for add, _ in parts:
            add(parser)
        options.add_model(parser)

    def run(args: argparse.Namespace) -> int:
        from masktools.batch.restoring import Restoring

        asked = {name: value for _, read in parts for name, value in read(args).items()}
        return restore_recordings(args, Restoring(**asked, subtype=options.subtype(args)), said)

    return Command(help, about, add_arguments, run)


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
