"""The part of `masktools bench` that measures restoration on recordings, beside other rules and methods."""

import argparse
import sys

from masktools.cli import files, options
from masktools.jsons import parse_json

CHECKS = ("cutoffs", "damage", "gaps", "composition", "joins", "quiet")  # as in evaluation, which is not imported here


def add_arguments(group: options.Group) -> None:
    """Add the options of the checks."""
    group.add_argument(
        "--check", type=options.names, default=CHECKS, metavar="A,B", help=f"{', '.join(CHECKS)}; all if left out"
    )
    group.add_argument("-n", type=options.whole_number(1), default=8, metavar="N", help="recordings for each check")
    group.add_argument("--split", default="test", metavar="NAME", help="train, valid, test, all")
    group.add_argument(
        "--octaves-up",
        type=options.whole_number(0, 4),
        default=0,
        metavar="N",
        help="take recordings for higher ones in cutoffs, where none reaches high enough",
    )
    group.add_argument(
        "--batch-size", type=options.whole_number(1), metavar="N", help="clips computed at once; fewer take less memory"
    )


def run(args: argparse.Namespace) -> int:
    """Check, print, write."""
    sources = [args.source] if args.source.is_file() else []
    files.check_outputs([args.json, args.markdown], sources, overwrite=args.overwrite)
    from masktools.errors import unknown_name
    from masktools.evaluation.checks import Checking, run_check

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
    files.write_report(args.json, {name: parse_json(report.to_json()) for name, report in reports.items()})
    if args.markdown is not None:
        files.write_content(args.markdown, "\n".join(report.to_markdown() for report in reports.values()))
    return 0
