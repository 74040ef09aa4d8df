"""Compare two versions of a recording: figures as text or JSON, a page that plays and shows both, or a picture."""

import argparse
import json
from pathlib import Path

from masktools.cli import options
from masktools.errors import ParameterError

HELP = "compare two versions of a recording"
ENDINGS = (".html", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("before", type=Path, metavar="A", help="the recording that was worked on")
    parser.add_argument("after", type=Path, metavar="B", help="what was made of it")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="FILE.html: a page with players and spectrograms; FILE.png: a picture; left out: figures are printed",
    )
    parser.add_argument("--reference", type=Path, metavar="R", help="what B should be like, if that is known")
    parser.add_argument(
        "--report", type=Path, metavar="JSON", help="the report that was written with B, to mark the repairs"
    )
    parser.add_argument("--title", metavar="TEXT", help="the heading of the page or the picture")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Compare, and write or print what was found."""
    from masktools import review
    from masktools.cli import files

    if args.output is not None:
        given = [path for path in (args.before, args.after, args.reference, args.report) if path is not None]
        if args.output.suffix.lower() not in ENDINGS:
            raise ParameterError(f"the output must end in {' or '.join(ENDINGS)}, got {args.output.name!r}")
        files.check_outputs([args.output], given, overwrite=args.overwrite)
    work = review.Work((), None) if args.report is None else review.read_work(args.report, args.before, args.after)
    comparison = review.compare(
        args.before,
        args.after,
        reference=args.reference,
        repairs=work.repairs,
        cutoff_hz=work.cutoff_hz,
        title=args.title,
    )
    if args.output is not None:
        is_page = args.output.suffix.lower() == ".html"
        (review.write_page if is_page else review.write_picture)(comparison, args.output)
    if args.json:
        print(json.dumps(comparison.to_json(), indent=2))
    elif args.output is None:
        print(review.as_text(comparison))
    else:
        print(f"{args.output}: {args.before.name} and {args.after.name} compared")
    return 0
