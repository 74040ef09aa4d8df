"""Make a recording a loop: its end leads into its start, and between them every sample stays as it is."""

import argparse
from typing import Any

from masktools.cli import options, repair

HELP = "make the end of a recording lead into its start"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    repair.add_common(parser, texture="recording")
    group = parser.add_argument_group("loop")
    group.add_argument(
        "--seam",
        type=options.duration,
        default=0.5,
        metavar="TIME",
        help="that is replaced, half of it at each end; 0.5s if left out",
    )
    group.add_argument(
        "--method",
        default="auto",
        metavar="NAME",
        help="auto (by length), model, or a classical one: janssen, burg, copy, spectral_noise, linear, zero",
    )


def run(args: argparse.Namespace) -> int:
    """Read, join, write."""
    from masktools import io
    from masktools.cli import files
    from masktools.gaps import Gap
    from masktools.restoration import needs_model
    from masktools.restoration.ends import loop_pieces
    from masktools.runtime import threads

    sources = [args.input, *files.read_by(args)]
    files.check_audio_outputs([args.output], args.report, sources, overwrite=args.overwrite)
    with io.open_recording(args.input) as recording, threads(args.threads):
        needed = args.seam > 0 and needs_model([Gap(0.0, args.seam)], args.method)
        model = options.load_model(args) if needed else None
        pieces, report = loop_pieces(
            None if model is None else model.pipeline,
            recording.read,
            recording.n_samples,
            recording.sample_rate,
            args.seam,
            solver=repair.solver(args, model),
            method=args.method,
            **repair.common(args),
        )
        warnings = repair.write_pieces(args, recording, pieces)
    report |= {"input": str(args.input), "output": str(args.output), "warnings": warnings}
    files.write_report(args.report, report)
    print(f"{args.output}: {said(report)}")
    return 0


def said(report: dict[str, Any]) -> str:
    """Return what was done to a loop, in words.

    >>> said({"seam_s": 0.5, "wrap_crest_db": {"before": 20.1, "after": -1.2}})
    'a seam of 0.500 s, 0.250 s at each end; its click went from 20.1 to -1.2 dB'
    """
    crest_db = report["wrap_crest_db"]
    change = (
        f"; its click went from {crest_db['before']:.1f} to {crest_db['after']:.1f} dB" if crest_db["before"] else ""
    )
    return f"a seam of {report['seam_s']:.3f} s, {report['seam_s'] / 2:.3f} s at each end{change}"
