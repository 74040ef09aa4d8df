"""Commands for one recording: repair, continue and loop, which change only a part of it; encode and decode."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.files import percent
from masktools.cli.options import Command, settings_of
from masktools.core.errors import ParameterError
from masktools.core.settings import ContinuationSettings, LoopSettings, RepairSettings

if TYPE_CHECKING:
    import numpy as np

    from masktools.io import Recording
    from masktools.restoration import FilledGap, Region, Signal

_BLOCK = 1 << 16  # samples of each channel


def _add_recording(parser: argparse.ArgumentParser) -> None:
    """Add the options of one recording, one result, and the model."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the result; its ending chooses the format")
    options.add(parser, "--subtype", "--report", "--overwrite")


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
    """Check the outputs, open the recording, run the job, and print a summary.

    Args:
        args: options of ``_add_recording``.
        job: function of the open recording, given as a file and as a signal; returns the report, and how many samples
            were clipped.
        said: function from a report to its line of summary, without the name of the file.
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
    """Write the recording with some spans replaced, and return how many samples were clipped."""
    from masktools import io

    replaced = (io.Piece(piece.start, piece.samples, piece.channels) for piece in pieces)
    return io.restore_into(args.input, args.output, recording, replaced, subtype=options.subtype(args))


def _later(args: argparse.Namespace) -> Callable[[], Any]:
    return lambda: options.load_model(args).pipeline


def _repair(args: argparse.Namespace) -> int:
    """Replace what lies in regions of time and frequency: a whistle, a cough, a hum, and nothing beside it.

    Outside the times of the regions every sample stays, and so do length, rate, channels, sample format and tags.
    """
    from masktools.restoration import repair_pieces

    regions, settings = _regions(args), settings_of(args, RepairSettings)

    def job(recording: "Recording", signal: "Signal") -> tuple[dict[str, Any], int]:
        later = _later(args)
        repairing = repair_pieces(None, signal, regions, settings, progress=percent(), later=later)
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
    """Make a recording a loop: its end leads into its start, and between them every sample stays as it is."""
    from masktools.restoration import loop_pieces

    settings = settings_of(args, LoopSettings)

    def job(recording: "Recording", signal: "Signal") -> tuple[dict[str, Any], int]:
        pieces, report = loop_pieces(None, signal, settings, progress=percent(), later=_later(args))
        return report, _put(args, recording, pieces)

    return _edited(args, job, said_of_loop)


def _continue(args: argparse.Namespace) -> int:
    """Let a recording go on after its end, or begin before its start.

    What is given stays as it is, sample for sample.
    """
    from masktools.restoration import continuation

    settings = settings_of(args, ContinuationSettings)

    def job(recording: "Recording", signal: "Signal") -> tuple[dict[str, Any], int]:
        added, report = continuation(_later(args)(), signal, args.seconds, settings, progress=percent())
        return report, _joined(args, recording, added)

    return _edited(args, job, lambda report: f"{report['seconds']:.3f} s added at the {args.side}")


def _joined(args: argparse.Namespace, recording: "Recording", added: "np.ndarray") -> int:
    """Write the recording with the added audio, and return how many samples were clipped."""
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
    """Return the summary of a repair of regions.

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
    """Return the summary of a loop.

    >>> said_of_loop({"seam_s": 0.5, "wrap_crest_db": {"before": 20.1, "after": -1.2}})
    'a seam of 0.500 s, 0.250 s at each end; its click went from 20.1 to -1.2 dB'
    """
    crest_db = report["wrap_crest_db"]
    change = (
        f"; its click went from {crest_db['before']:.1f} to {crest_db['after']:.1f} dB" if crest_db["before"] else ""
    )
    return f"a seam of {report['seam_s']:.3f} s, {report['seam_s'] / 2:.3f} s at each end{change}"


def _add_encode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the tokens", metavar="OUT.npz")
    options.add(parser, "--overwrite")
    options.add_model(parser)


def _encode(args: argparse.Namespace) -> int:
    """Turn a recording into tokens, which `masktools decode` turns back; docs/formats.md describes the file."""
    files.check_outputs([args.output], [args.input], ending=".npz", overwrite=args.overwrite)
    import numpy as np

    from masktools import io

    audio = io.read(args.input)
    model = options.load_model(args)
    encoded = model.encode(audio.samples.T, audio.sample_rate)
    files.write_arrays(
        args.output,
        {
            "tokens": encoded.tokens.astype(np.int32),
            "sample_rate": np.int64(encoded.sample_rate),
            "n_samples": np.int64(encoded.n_samples),
            "model": np.array(model.name),
        },
    )
    n_channels, n_rows, n_columns = encoded.tokens.shape
    print(f"{args.output}: {n_channels} x {n_rows} x {n_columns} tokens (channels, rows, columns)")
    return 0


def _add_decode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN.npz", help="the tokens, as `masktools encode` writes them")
    options.add_output(parser, "the recording; its ending names the format")
    options.add(parser, "--overwrite")
    options.add_model(parser)


def _decode(args: argparse.Namespace) -> int:
    """Turn the tokens of `masktools encode` into a recording of the same rate and length as the original."""
    files.check_audio_outputs([args.output], inputs=[args.input], overwrite=args.overwrite)
    stored = files.read_arrays(args.input, ("tokens", "sample_rate", "n_samples", "model"))
    sample_rate, n_samples = (_whole(stored[name], name) for name in ("sample_rate", "n_samples"))
    model = options.load_model(args)
    if str(stored["model"]) != model.name:
        raise ParameterError(
            f"tokens must be decoded by the model that made them, got --model {model.name} "
            f"for tokens of {stored['model']}"
        )
    longest = stored["tokens"].shape[-1] * model.pipeline.grid.column_s * sample_rate if stored["tokens"].ndim else 0
    if n_samples > longest + 1:
        raise ParameterError(f"n_samples must be what the tokens reach to, at most {longest:.0f}, got {n_samples}")
    result = model.decode(stored["tokens"], sample_rate, n_samples)
    files.write_audio(args.output, result.samples, result.sample_rate)
    print(f"{args.output}: {n_samples / sample_rate:.3f} s")
    return 0


def _whole(value: "np.ndarray", name: str) -> int:
    if value.ndim or value.dtype.kind not in "iu" or value < 1:
        raise ParameterError(f"{name} must be one positive whole number, got {value!r:.80}")
    return int(value)


REPAIR = Command("replace regions of time and frequency", _add_repair, _repair)
CONTINUE = Command("let a recording go on", _add_continue, _continue)
LOOP = Command("make the end of a recording lead into its start", _add_loop, _loop)
ENCODE = Command("a recording as tokens", _add_encode, _encode)
DECODE = Command("tokens as a recording", _add_decode, _decode)
