"""Measure what the toolkit costs on this machine, and what restoration finds and leaves behind.

Without a WHAT: stages, jobs, memory, start-up and accuracy of the bundled model, in a minute or two. The WHATs of speed
can be named together: stages (where the time goes, with the arithmetic and its rate), jobs (generate, inpaint, bwe and
embed by batch, steps, precision and threads, beside what the machine allows), memory (in fresh processes), start-up,
accuracy (how near each precision stays to fp32), peers (other models at their published sizes, random weights; they
are built from diffusers and transformers).

`restoration SOURCE` runs checks on recordings of yours, beside other rules and methods in the same run: cutoffs (where
a band ends, after several filters and codecs), damage (lost samples, after MP3 too), gaps (seams, levels and samples
of fills), composition (how a generated band is joined to a recording), joins (of the windows of a long recording) and
quiet (what is added to pauses).
"""

import argparse
from pathlib import Path

from masktools.cli import bench_restoration, bench_speed, options
from masktools.errors import ParameterError

HELP = "measure speed and memory on this machine, or restoration on recordings of yours"
RESTORATION = "restoration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    known = f"{', '.join(bench_speed.SUBJECTS)}; or {RESTORATION} SOURCE"
    parser.add_argument("subject", nargs="*", metavar="WHAT", help=known)
    options.add_seed(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file")
    options.add_overwrite(parser)
    model = parser.add_argument_group("model")
    model.add_argument("--model", default="mini", metavar="NAME", help="name of a model, or a bundle's folder")
    model.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps")
    model.add_argument(
        "--precision",
        type=options.names,
        metavar="A,B",
        help=f"{', '.join(options.PRECISIONS)}; speed compares several: those that the machine has if left out",
    )
    model.add_argument(
        "--threads", type=bench_speed.counts, metavar="N,N", help="CPU threads at most; speed compares several"
    )
    bench_speed.add_arguments(parser.add_argument_group("speed"))
    bench_restoration.add_arguments(parser.add_argument_group(RESTORATION))


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    if RESTORATION not in args.subject:
        return bench_speed.run(args)
    if len(args.subject) != 2 or args.subject[0] != RESTORATION:
        raise ParameterError(
            f"{RESTORATION} goes with one manifest or folder of audio, as in `masktools bench {RESTORATION} SOURCE`, "
            f"got {' '.join(args.subject)}"
        )
    for name in ("precision", "threads"):
        if len(getattr(args, name) or ()) > 1:
            raise ParameterError(f"{RESTORATION} takes one value of --{name}, got {len(getattr(args, name))}")
    single = {"precision": (args.precision or ("auto",))[0], "threads": (args.threads or (None,))[0]}
    return bench_restoration.run(argparse.Namespace(**{**vars(args), **single, "source": Path(args.subject[1])}))
