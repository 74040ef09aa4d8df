"""Commands for one recording that stays as it is but where it is worked on: repair, continue and loop."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.options import Command, settings_of
from masktools.core.errors import ParameterError
from masktools.core.settings import ContinuationSettings, LoopSettings, RepairSettings

if TYPE_CHECKING:
    import numpy as np

    from masktools.io import Recording
    from masktools.restoration import FilledGap, Region, Signal

_BLOCK = 1 << 16  # samples a channel


def _add_recording(parser: argparse.ArgumentParser) -> None:
    """Add one recording, one result, and how the model is used."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the result; its ending chooses the format")
    options.add_subtype(parser)
    options.add_report(parser)
    options.add_overwrite(parser)


def _add_repair(parser: argparse.ArgumentParser) -> None:
    _add_recording(parser)
    group = options.group_of(parser, RepairSettings.TITLE)
    group.add_argument(
        "--region",
        action="append",
        metavar="WHERE",
        help="start-end in seconds, lowest-highest in Hz: 1.2-1.5,3000-6000; several with semicolons between them, or "
        "each with its own --region",
    )
    group.add_argument(
        "--regions", type=Path, metavar="FILE", help="labels.txt of Audacity with frequencies, or regions.json"
    )
    options.add_settings(parser, RepairSettings)
    options.add_model(parser)


def _add_continue(parser: argparse.ArgumentParser) -> None:
    _add_recording(parser)
    options.group_of(parser, ContinuationSettings.TITLE).add_argument(
        "--seconds", required=True, type=options.number(0.0, "s", above=True), metavar="S", help="how much is added"
    )
    options.add_settings(parser, ContinuationSettings)
    options.add_model(parser)


def _add_loop(parser: argparse.ArgumentParser) -> None:
    _add_recording(parser)
    options.add_settings(parser, LoopSettings)
    options.add_model(parser)


def _edited(
    args: argparse.Namespace,
    job: "Callable[[Recording, Signal], tuple[dict[str, Any], int]]",
    said: Callable[[dict[str, Any]], str],
) -> int:
    """Check the outputs, open the recording, let the job write the result, and tell what was done.

    Args:
        args: what ``_add_recording`` read.
        job: given the open recording twice, as a file and as jobs read it; returns the report, and how many samples
            were clipped.
        said: gives the line about a report, without the name of the file.
    """
    from masktools import io
    from masktools.core.runtime import threads
    from masktools.restoration import Signal

    sources = [args.input, *files.read_by(args)]
    files.check_audio_outputs([args.output], args.report, sources, overwrite=args.overwrite)
    with io.open_recording(args.input) as recording, threads(args.threads):
        signal = Signal(recording.read, recording.n_samples, recording.n_channels, recording.sample_rate)
        report, n_clipped = job(recording, signal)
    warnings = [f"{n_clipped} samples lay beyond full scale and were clipped"] if n_clipped else []
    for warning in warnings:
        sys.stderr.write(f"masktools: warning: {args.input}: {warning}\n")
    report |= {"input": str(args.input), "output": str(args.output), "warnings": warnings}
    files.write_report(args.report, report)
    print(f"{args.output}: {said(report)}")
    return 0


def _put(args: argparse.Namespace, recording: "Recording", pieces: "Iterable[FilledGap]") -> int:
    """Write the recording with some stretches replaced, and return how many samples were clipped."""
    from masktools import io

    replaced = (io.Piece(piece.start, piece.samples, piece.channels) for piece in pieces)
    return io.restore_into(args.input, args.output, recording, replaced, subtype=options.subtype(args))


def _later(args: argparse.Namespace) -> Callable[[], Any]:
    return lambda: options.load_model(args).pipeline


def _repair(args: argparse.Namespace) -> int:
    from masktools.restoration import repair_pieces

    regions, settings = _regions(args), settings_of(args, RepairSettings)

    def job(recording: "Recording", signal: "Signal") -> tuple[dict[str, Any], int]:
        later = _later(args)
        repairing = repair_pieces(None, signal, regions, settings, progress=options.progress(), later=later)
        n_clipped = _put(args, recording, repairing)
        return repairing.report(), n_clipped

    return _edited(args, job, lambda report: said_of_regions(report["regions"]))


def _regions(args: argparse.Namespace) -> "list[Region]":
    from masktools.restoration import parse_regions, read_regions

    if (args.region is None) == (args.regions is None):
        given = "both" if args.region else "neither"
        raise ParameterError(f"the regions must be named by --region or by --regions FILE, got {given}")
    return read_regions(args.regions) if args.regions is not None else parse_regions(";".join(args.region))


def _loop(args: argparse.Namespace) -> int:
    from masktools.restoration import loop_pieces

    settings = settings_of(args, LoopSettings)

    def job(recording: "Recording", signal: "Signal") -> tuple[dict[str, Any], int]:
        pieces, report = loop_pieces(None, signal, settings, progress=options.progress(), later=_later(args))
        return report, _put(args, recording, pieces)

    return _edited(args, job, said_of_loop)


def _continue(args: argparse.Namespace) -> int:
    from masktools.restoration import continuation

    settings = settings_of(args, ContinuationSettings)

    def job(recording: "Recording", signal: "Signal") -> tuple[dict[str, Any], int]:
        added, report = continuation(_later(args)(), signal, args.seconds, settings, progress=options.progress())
        return report, _joined(args, recording, added)

    return _edited(args, job, lambda report: f"{report['seconds']:.3f} s added at the {args.side}")


def _joined(args: argparse.Namespace, recording: "Recording", added: "np.ndarray") -> int:
    """Write the recording and what was added to it, and return how many samples were clipped."""
    import numpy as np

    from masktools import io

    coding = io.coding_for(args.output, options.subtype(args) or recording.subtype)
    exact = np.float64 if recording.subtype in ("PCM_32", "DOUBLE") else np.float32
    size, n_samples = (recording.sample_rate, recording.n_channels), recording.n_samples + added.shape[1]
    with io.open_writer(args.output, *size, coding.subtype, like=recording, n_samples=n_samples) as out:
        if args.side == "start":
            out.write(added)
        for start in range(0, recording.n_samples, _BLOCK):
            out.write(recording.read(start, start + _BLOCK, dtype=exact))
        if args.side == "end":
            out.write(added)
    return out.n_clipped


def said_of_regions(regions: list[dict[str, Any]]) -> str:
    """Return what was done to regions, in words.

    >>> region = {"start_s": 1.0, "end_s": 1.5, "before_db": -20.1, "after_db": -41.6, "method": "interpolate"}
    >>> said_of_regions([region | {"low_hz": 3000.0, "high_hz": 6000.0, "channels": [0]}])
    '1.000-1.500 s, 3000-6000 Hz from -20.1 to -41.6 dB (interpolate)'
    """
    return "; ".join(
        f"{one['start_s']:.3f}-{one['end_s']:.3f} s, {one['low_hz']:.0f}-{one['high_hz']:.0f} Hz "
        f"from {one['before_db']:.1f} to {one['after_db']:.1f} dB ({one['method']})"
        for one in regions
    )


def said_of_loop(report: dict[str, Any]) -> str:
    """Return what was done to a loop, in words.

    >>> said_of_loop({"seam_s": 0.5, "wrap_crest_db": {"before": 20.1, "after": -1.2}})
    'a seam of 0.500 s, 0.250 s at each end; its click went from 20.1 to -1.2 dB'
    """
    crest_db = report["wrap_crest_db"]
    change = (
        f"; its click went from {crest_db['before']:.1f} to {crest_db['after']:.1f} dB" if crest_db["before"] else ""
    )
    return f"a seam of {report['seam_s']:.3f} s, {report['seam_s'] / 2:.3f} s at each end{change}"


REPAIR = Command(
    "replace regions of time and frequency",
    "Replace what lies in regions of time and frequency: a whistle, a cough, a hum, and nothing beside it. Outside the "
    "times of the regions every sample stays, and so do length, rate, channels, sample format and tags.",
    _add_repair,
    _repair,
)
CONTINUE = Command(
    "let a recording go on",
    "Let a recording go on after its end, or begin before its start; what is given stays as it is, sample for sample.",
    _add_continue,
    _continue,
)
LOOP = Command(
    "make the end of a recording lead into its start",
    "Make a recording a loop: its end leads into its start, and between them every sample stays as it is.",
    _add_loop,
    _loop,
)
