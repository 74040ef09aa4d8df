"""Fill gaps: only the samples inside them change; length, rate, channels, sample format and tags stay.

Gaps are found (dropouts to digital silence, held samples, NaN), or given: as times, as labels of Audacity, or as JSON,
as `masktools probe --json` prints it. Short ones are filled by linear prediction, longer ones from places of the
recording that are alike, or by the model where there are none.
"""

import argparse
from typing import TYPE_CHECKING, Any

from masktools.cli import options
from masktools.cli.recordings import add_recordings, restore_recordings

if TYPE_CHECKING:
    from masktools.batch.restoring import Filling

HELP = "fill gaps in recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_recordings(parser, "_inpainted")
    add_filling(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def add_filling(parser: argparse.ArgumentParser) -> None:
    """Add which gaps are filled, and how."""
    group = parser.add_argument_group("gaps")
    group.add_argument(
        "--gaps",
        default="auto",
        metavar="WHICH",
        help="auto; or start and end of each in seconds: 1.20-1.55,3-3.2; or a file: labels.txt of Audacity, gaps.json",
    )
    group.add_argument(
        "--detect",
        type=options.names,
        default=("zeros", "hold", "non_finite"),
        metavar="A,B",
        help="what auto looks for: zeros, hold, repeat, dropout, clicks, non_finite",
    )
    group.add_argument(
        "--min-gap",
        type=options.duration,
        default=0.002,
        metavar="TIME",
        help="shorter ones are not looked for; 2ms if left out",
    )
    group.add_argument(
        "--max-gap",
        type=options.duration,
        default=4.0,
        metavar="TIME",
        help="longer ones are left alone; 4s if left out",
    )
    group.add_argument(
        "--pad", type=options.duration, default=0.0, metavar="TIME", help="widens each gap at both ends; 0 if left out"
    )
    group.add_argument(
        "--method",
        default="auto",
        metavar="NAME",
        help="auto (by length, and by what the recording holds), model, or one for all that needs no model: search, "
        "copy, janssen, burg, spectral_noise, linear, zero",
    )
    group.add_argument(
        "--classical-below",
        type=options.duration,
        default=0.06,
        metavar="TIME",
        help="gaps up to this length need no model; 60ms if left out",
    )
    group.add_argument(
        "--match-level",
        type=options.number(0.0, "dB"),
        default=6.0,
        metavar="DB",
        help="how far a fill may be moved to the level around it",
    )
    group.add_argument(
        "-n",
        "--candidates",
        type=options.whole_number(1),
        default=1,
        metavar="N",
        help="fills that are tried for each gap; all are written, the one that fits best first",
    )


def filling(args: argparse.Namespace) -> "Filling":
    """Return what the options say about gaps."""
    from pathlib import Path

    from masktools.batch.restoring import Filling
    from masktools.gaps import parse_gaps, read_gaps

    gaps = None
    if args.gaps != "auto":
        gaps = tuple(read_gaps(Path(args.gaps)) if options.is_path(args.gaps) else parse_gaps(args.gaps))
    return Filling(
        gaps=gaps,
        detect=args.detect,
        min_gap_s=args.min_gap,
        max_gap_s=args.max_gap,
        pad_s=args.pad,
        method=args.method,
        classical_below_s=args.classical_below,
        match_level_db=args.match_level,
        n_candidates=args.candidates,
    )


def run(args: argparse.Namespace) -> int:
    """Find, fill, write."""
    from masktools.batch.restoring import Restoring

    settings = Restoring(
        fill=filling(args),
        seed=args.seed,
        channels=args.channels,
        texture=args.texture,
        prompt=args.prompt,
        decoding=options.solver_settings(args),
        subtype=options.subtype(args),
    )
    return restore_recordings(args, settings, said)


def said(report: dict[str, Any]) -> str:
    """Return what was done to gaps, in words.

    >>> said({"status": "restored", "gaps": [{"start_s": 1.0, "end_s": 1.5}]})
    '1 gap filled, 0.500 s in all'
    """
    gaps = report.get("gaps", [])
    if not gaps:
        return "no gaps found: copied as it is" if report["status"] != "planned" else "no gaps found"
    seconds = sum(gap["end_s"] - gap["start_s"] for gap in gaps)
    done = "to fill" if report["status"] == "planned" else "filled"
    listed = ": " + ", ".join(f"{g['start_s']:.3f}-{g['end_s']:.3f}" for g in gaps) if done == "to fill" else ""
    return f"{len(gaps)} gap{'s' * (len(gaps) > 1)} {done}, {seconds:.3f} s in all{listed}"
