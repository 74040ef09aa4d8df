"""Commands that analyse recordings and change nothing: probe and compare."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.files import GrowingReport, Watcher
from masktools.cli.options import Command
from masktools.core.errors import AudioError, ParameterError
from masktools.core.settings import BandSettings, GapSettings

if TYPE_CHECKING:
    import numpy as np

    from masktools.batch import Task
    from masktools.detection import Findings, ProbeSettings
    from masktools.io import Recording

SOME_FAILED = 3
_SHOWN = 20  # pieces of damage per recording in the text output; JSON has all
_N_ROWS, _N_COLS, _RANGE_DB = 300, 1200, 80.0  # of the plot, in pixels and dB


def _add_probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="recordings, or folders of them")
    options.add(parser, "--recursive")
    parser.add_argument("--json", action="store_true", help="print an object, or a list of one for each recording")
    parser.add_argument(
        "--picture", type=Path, metavar="OUT.png", help="a spectrogram of the one recording, with what was found marked"
    )
    options.add(parser, "--report", "--overwrite", "--jobs", "--progress")
    parser.add_argument(
        "--detect",
        type=lambda text: options.names(text.replace("-", "_")),
        metavar="A,B",
        help="kinds of damage: zeros, hold, repeat, dropout, clicks, non_finite, or all; if left out zeros, hold, "
        "non_finite and clicks, and dropout too in what is coded lossily",
    )
    options.add_settings(parser, GapSettings, only=("min_gap_s", "max_gap_s"))
    options.add_settings(parser, BandSettings, only=("min_drop_db",))


def _probe(args: argparse.Namespace) -> int:
    """Say what is wrong with recordings, and change nothing.

    It tells how high they reach, where they are damaged, what was clipped, how loud they are. What --json prints is
    what `masktools inpaint --gaps FILE.json` reads. Recordings that cannot be read are named and left out; the exit
    code is then 3, or 2 if there was no other.
    """
    from masktools import __version__
    from masktools.batch import Task, run_tasks
    from masktools.io import find_recordings

    paths = list(dict.fromkeys(path for path, _ in find_recordings(args.inputs, args.recursive)))
    _settings(args, is_lossy=False)  # bad options fail before anything is read
    if args.picture is not None and len(paths) != 1:
        raise ParameterError(f"--picture is of one recording, got {len(paths)}")
    ending = None if args.picture is None else ".png"
    files.check_outputs([args.picture, args.report], paths, ending, overwrite=args.overwrite)
    watcher = Watcher(args.progress, len(paths))
    probing = _Probing(args, watcher.step if watcher.watched and args.jobs == 1 else None)
    report = GrowingReport(args.report, {"masktools": __version__, "command": "probe"})
    tasks, found = [Task(path, path) for path in paths], dict[Path, dict[str, Any]]()
    try:
        for outcome in run_tasks(tasks, probing, args.jobs, lambda task: watcher.begin(task.source)):
            watcher.finish()
            if outcome.error is not None and len(paths) == 1:
                raise AudioError(outcome.error)
            if outcome.error is None:
                found[outcome.task.source] = outcome.report["found"]
                report.add(outcome.report["found"])
                if not args.json:
                    print(outcome.report["text"], flush=True)
            else:
                sys.stderr.write(f"masktools: left out: {' '.join(outcome.error.splitlines())}\n")
                report.add({"file": str(outcome.task.source), "status": "failed", "error": outcome.error})
            watcher.end()
    finally:
        watcher.finish()
        report.write()
    if not found:
        raise AudioError(f"none of the {len(paths)} recordings could be probed")
    if args.json:
        every = [found[path] for path in paths if path in found]
        print(json.dumps(every if len(paths) > 1 else every[0], indent=2, allow_nan=False))
    return SOME_FAILED if len(found) < len(paths) else 0


@dataclass(frozen=True)
class _Probing:
    """Probes recordings, in any process, with a plot if asked for."""

    args: argparse.Namespace
    step: Callable[[int, int], None] | None

    def __call__(self, task: "Task") -> dict[str, Any]:
        """Return the findings of a recording, as JSON and as text."""
        from masktools import io
        from masktools.detection import Probe

        with io.open_recording(task.source) as recording:
            probe = Probe(recording.sample_rate, recording.n_channels, _settings(self.args, recording.is_lossy))
            for start, block in recording.blocks(finite=False):
                probe.feed(block)
                if self.step is not None:
                    self.step(min(start + block.shape[1], recording.n_samples), recording.n_samples)
            findings = probe.finish()
            if self.args.picture is not None:
                _draw(recording, findings, self.args.picture)
            coding = {"file": str(task.source), "format": recording.format, "subtype": recording.subtype}
        known = findings.to_json()
        order = ("file", "sample_rate", "channels", "duration_s", "format", "subtype")
        described = {**{name: {**known, **coding}[name] for name in order}, **known}
        return {"found": described, "text": _text(described, findings)}


def _settings(args: argparse.Namespace, is_lossy: bool) -> "ProbeSettings":
    from masktools.detection import DAMAGES, DEFAULT_KINDS, ProbeSettings

    usual = (*DEFAULT_KINDS, *(("dropout",) if is_lossy else ()), "clicks")
    kinds = usual if args.detect is None else tuple(DAMAGES) if args.detect == ("all",) else args.detect
    return ProbeSettings(kinds, min_gap_s=args.min_gap_s, max_gap_s=args.max_gap_s, min_drop_db=args.min_drop_db)


def _text(described: dict[str, Any], findings: "Findings") -> str:
    """Return the findings of a recording as text."""
    from masktools.detection import GAP_KINDS

    coding = f"{described['format']} {described['subtype']}, {findings.sample_rate} Hz"
    lines = [
        f"{described['file']}",
        f"  {coding}, {_number(findings.n_channels, 'channel')}, {_time(findings.duration_s)}",
        f"  bandwidth   {_bandwidth(findings)}",
    ]
    for channel, level in enumerate(findings.levels):
        clipped = _number(level.n_flat, "flat top") if level.n_flat else "not clipped"
        lines.append(
            f"  channel {channel:<3} peak {level.peak_db:.1f}, RMS {level.rms_db:.1f}, noise floor "
            f"{level.floor_db:.1f} dBFS; offset {level.dc:+.5f}; {clipped}"
        )
    for title, kinds in (("gaps", GAP_KINDS), ("clicks", ("clicks",))):
        lines += _listed(title, [kind for kind in kinds if kind in findings.kinds], findings)
    return "\n".join([*lines, *(f"  warning     {warning}" for warning in findings.warnings)])


def _listed(title: str, kinds: list[str], findings: "Findings") -> list[str]:
    if not kinds:
        return []
    found = [damage for damage in findings.damage if damage.kind in kinds]
    lines = [f"  {title:<11} {len(found) or 'none'} ({', '.join(kinds)})"]
    for damage in found[:_SHOWN]:
        channels = "" if len(damage.channels) == findings.n_channels else f", channel {_joined(damage.channels)}"
        start_s, length_ms = damage.start / findings.sample_rate, 1e3 * (damage.stop - damage.start)
        what = f"{damage.kind}, {length_ms / findings.sample_rate:.1f} ms{channels}"
        lines.append(f"    {_time(start_s):>12}  {what}")
    if len(found) > _SHOWN:
        lines.append(f"    {len(found) - _SHOWN} more")
    return lines


def _bandwidth(findings: "Findings") -> str:
    bandwidth = findings.bandwidth
    if bandwidth is None:
        return "not looked for"
    sure = f"confidence {bandwidth.confidence:.2f}"
    if bandwidth.cutoff_hz is None:
        return f"no cutoff found: full, or the filter too gentle to say ({sure})"
    return f"up to {bandwidth.cutoff_hz:.0f} Hz (falls by {bandwidth.drop_db:.0f} dB, {sure})"


def _draw(recording: "Recording", findings: "Findings", output: Path) -> None:
    """Write a spectrogram of each channel, with the cutoff and the damage marked."""
    from masktools.review.panels import Mark, Panel, Rows, Scale, draw_panels, spectrogram, top_level_db

    def read(start: int, stop: int) -> "np.ndarray":
        return recording.read(start, stop, finite=False)

    rows = Rows(recording.sample_rate / 2, _N_ROWS)
    levels = spectrogram(read, recording.n_samples, recording.sample_rate, rows, _N_COLS)
    high_db = top_level_db(list(levels))
    scale = Scale(high_db - _RANGE_DB, high_db)
    cutoff_hz = findings.bandwidth.cutoff_hz if findings.bandwidth else None
    panels = []
    for channel, level in enumerate(levels):
        marks = tuple(
            Mark(damage.start / findings.sample_rate, damage.stop / findings.sample_rate)
            for damage in findings.damage
            if channel in damage.channels
        )
        title = f"channel {channel}" if len(levels) > 1 else ""
        panels.append(Panel(title, scale.show(level), marks=marks, cutoff_hz=cutoff_hz))
    n_clicks = sum(damage.kind == "clicks" for damage in findings.damage)
    places = f"{_number(len(findings.damage) - n_clicks, 'gap')}, {_number(n_clicks, 'click')}"
    lines = [f"bandwidth: {_bandwidth(findings)}", places]
    drawn = draw_panels(panels, rows, scale, 0.0, findings.duration_s, recording.path.name, lines)
    files.write_content(output, drawn)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}:{rest:06.3f}"


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _joined(channels: tuple[int, ...]) -> str:
    return ", ".join(map(str, channels))


_ENDINGS = (".html", ".png")


def _add_compare(parser: argparse.ArgumentParser) -> None:
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
    options.add(parser, "--overwrite")


def _compare(args: argparse.Namespace) -> int:
    """Compare two versions of a recording: figures as text or JSON, a page that plays and shows both, or a picture."""
    from masktools import review

    if args.output is not None:
        given = [path for path in (args.before, args.after, args.reference, args.report) if path is not None]
        if args.output.suffix.lower() not in _ENDINGS:
            raise ParameterError(f"the output must end in {' or '.join(_ENDINGS)}, got {args.output.name!r}")
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


PROBE = Command("say what is wrong with recordings", _add_probe, _probe)
COMPARE = Command("compare two versions of a recording", _add_compare, _compare)
