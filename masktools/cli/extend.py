"""Let a recording go on after its end, or begin before its start; what is given stays as it is, sample for sample."""

import argparse
import sys
from typing import TYPE_CHECKING

from masktools.cli import options, repair

if TYPE_CHECKING:
    import numpy as np

    from masktools.io import Recording

HELP = "let a recording go on"
_BLOCK = 1 << 16  # samples a channel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    repair.add_common(parser, texture="recording")
    group = parser.add_argument_group("extension")
    group.add_argument(
        "--seconds", required=True, type=options.number(0.0, "s", above=True), metavar="S", help="how much is added"
    )
    group.add_argument("--side", default="end", choices=("end", "start"), metavar="WHERE", help="end or start")
    group.add_argument(
        "--fade",
        type=options.duration,
        default=0.5,
        metavar="TIME",
        help="that the new audio takes to fade at its outer end; 0.5s if left out",
    )


def run(args: argparse.Namespace) -> int:
    """Read, go on, write."""
    from masktools import io
    from masktools.cli import files
    from masktools.restoration.ends import continuation
    from masktools.runtime import threads

    sources = [args.input, *files.read_by(args)]
    files.check_audio_outputs([args.output], args.report, sources, overwrite=args.overwrite)
    with io.open_recording(args.input) as recording, threads(args.threads):
        model = options.load_model(args)
        added, report = continuation(
            model.pipeline,
            recording.read,
            recording.n_samples,
            recording.sample_rate,
            args.seconds,
            side=args.side,
            fade_s=args.fade,
            solver=repair.solver(args, model),
            **repair.common(args),
        )
        n_clipped = _write(args, recording, added)
    warnings = [f"{n_clipped} samples lay beyond full scale and were clipped"] if n_clipped else []
    for warning in warnings:
        sys.stderr.write(f"masktools: warning: {args.input}: {warning}\n")
    report |= {"input": str(args.input), "output": str(args.output), "warnings": warnings}
    files.write_report(args.report, report)
    print(f"{args.output}: {report['seconds']:.3f} s added at the {args.side}")
    return 0


def _write(args: argparse.Namespace, recording: "Recording", added: "np.ndarray") -> int:
    """Write the recording and what was added to it, and return how many samples were clipped."""
    from masktools import io

    subtype = options.subtype(args) or recording.subtype
    n_samples = recording.n_samples + added.shape[1]
    coding = io.coding_for(args.output, subtype)
    size = (recording.sample_rate, recording.n_channels)
    with io.open_writer(args.output, *size, coding.subtype, like=recording, n_samples=n_samples) as out:
        if args.side == "start":
            out.write(added)
        for start in range(0, recording.n_samples, _BLOCK):
            out.write(recording.read(start, start + _BLOCK, dtype=_dtype(recording.subtype)))
        if args.side == "end":
            out.write(added)
    return out.n_clipped


def _dtype(subtype: str) -> "type[np.floating]":
    """Return what holds every sample of a coding exactly."""
    import numpy as np

    return np.float64 if subtype in ("PCM_32", "DOUBLE") else np.float32
