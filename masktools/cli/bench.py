"""Measure what restoration finds and what it leaves behind, beside other rules and methods in the same run.

The checks: cutoffs (where a band ends, after several filters and codecs), damage (lost samples, after MP3 too), gaps
(seams, levels and samples of fills), composition (how a generated band is joined to a recording), joins (of the
windows of a long recording) and quiet (what is added to pauses).
"""

import argparse
import json
import sys
from pathlib import Path

from masktools.cli import files, options

__all__ = ["HELP", "add_arguments", "run"]

HELP = "measure restoration on recordings of yours"
CHECKS = ("cutoffs", "damage", "gaps", "composition", "joins", "quiet")  # as in evaluation, which is not imported here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("subject", choices=("restoration",), metavar="WHAT", help="restoration")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a manifest, or a folder of audio")
    parser.add_argument(
        "--check", type=options.names, default=CHECKS, metavar="A,B", help=f"{', '.join(CHECKS)}; all if left out"
    )
    parser.add_argument("-n", type=options.whole_number(1), default=8, metavar="N", help="recordings for each check")
    parser.add_argument("--split", default="test", metavar="NAME", help="train, valid, test, all")
    parser.add_argument(
        "--octaves-up",
        type=options.whole_number(0, 4),
        default=0,
        metavar="N",
        help="take recordings for higher ones in cutoffs, where none reaches high enough",
    )
    options.add_seed(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file")
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print, write."""
    files.check_outputs([args.json, args.markdown])
    from masktools.errors import unknown_name
    from masktools.evaluation.restoration_checks.run import Checking, run_check

    for name in args.check:
        if name not in CHECKS:
            raise unknown_name("check", name, CHECKS)
    model = options.load_model(args)
    reports = {}
    for name in args.check:
        checking = Checking(args.source, args.n, args.split, args.seed, args.octaves_up, options.progress())
        reports[name] = run_check(name, checking, model)
        print(reports[name].to_text(), end="\n", flush=True)
        for one in reports[name].left_out:
            if one.fault == "broken":
                sys.stderr.write(f"masktools: skipped: {one.name}: {one.reason}\n")
    files.write_report(args.json, {name: json.loads(report.to_json()) for name, report in reports.items()})
    if args.markdown is not None:
        with files.replacing(args.markdown) as part:
            part.write_text("\n".join(report.to_markdown() for report in reports.values()), encoding="utf-8")
    return 0
