"""The part of `masktools bench` that measures speed, memory and the accuracy of fast paths."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from masktools.cli import files, options
from masktools.errors import ParameterError, unknown_name

if TYPE_CHECKING:
    from masktools.benchmark.measurements import Benchmark
    from masktools.benchmark.models import RunSettings

SUBJECTS = ("stages", "jobs", "memory", "start-up", "accuracy", "peers")  # as in benchmark, not imported here
SIZES = ("paper", "mini", "tiny")
JOBS = ("generate", "inpaint", "bwe", "embed")
PEERS = ("audioldm-s", "magnet-small", "magnet-small-30", "scales")
BATCHES = (1, 4)


def add_arguments(group: options.Group) -> None:
    """Add the options of the measurement of speed."""
    group.add_argument(
        "--size", choices=SIZES, metavar="NAME", help=f"random weights in place of a model: {', '.join(SIZES)}"
    )
    group.add_argument("--vocoder", default="light", metavar="NAME", help="of random weights: light, hifigan")
    group.add_argument("--jobs", type=options.names, default=JOBS, metavar="A,B", help=", ".join(JOBS))
    group.add_argument("--batch", type=counts, default=BATCHES, metavar="N,N", help="clips of a job; 1,4 if left out")
    group.add_argument("--steps", type=counts, metavar="N,N", help="decoding steps; the model's own if left out")
    group.add_argument("--preset", type=options.names, metavar="A,B", help="settings of the decoding that have a name")
    group.add_argument("--grid", action="store_true", help="all combinations instead of one axis at a time")
    group.add_argument("--compile", action="store_true", help="compile the transformer beforehand; for GPUs")
    group.add_argument("--repeats", type=options.whole_number(1), default=3, metavar="N", help="rounds that count")
    group.add_argument(
        "--recordings", nargs="+", type=Path, default=(), metavar="FILE", help="for accuracy; a made clip if left out"
    )
    group.add_argument("--peers", type=options.names, default=PEERS, metavar="A,B", help=", ".join(PEERS))
    group.add_argument("--plot", type=Path, metavar="PNG", help="draw the times of stages, jobs and peers")


def counts(text: str) -> tuple[int, ...]:
    """Return whole numbers between commas, for argparse."""
    return tuple(options.whole_number(1)(word) for word in options.names(text))


def run(args: argparse.Namespace) -> int:
    """Measure, print as it goes, write."""
    for subject in args.subject:
        if subject not in SUBJECTS:
            raise unknown_name("subject", subject, (*SUBJECTS, "restoration"))
    files.check_outputs([args.json, args.markdown, args.plot], args.recordings, overwrite=args.overwrite)
    if args.plot is not None:
        from masktools.benchmark.report import check_matplotlib

        check_matplotlib()  # before anything is computed
    from masktools import io
    from masktools.benchmark.report import tables_of, to_markdown, to_text
    from masktools.benchmark.run import run_benchmark
    from masktools.tables import text_of

    recordings = [(audio.samples, audio.sample_rate) for audio in map(io.read, args.recordings)]
    watch = _watch()

    def tell(part: "Benchmark") -> None:
        print(text_of(tables_of(part)), flush=True)

    found = run_benchmark(_settings(args), recordings, watch, tell)
    print(to_text(found).partition("\n\n")[0])
    if args.json is not None:
        files.write_content(args.json, found.to_json())
    if args.markdown is not None:
        files.write_content(args.markdown, to_markdown(found))
    if args.plot is not None:
        from masktools.benchmark.report import draw

        files.write_content(args.plot, draw(found))
    return 0


def _settings(args: argparse.Namespace) -> "RunSettings":
    from masktools.benchmark.models import RunSettings
    from masktools.benchmark.run import default_precisions, default_subjects

    if args.size is not None and args.model != "mini":
        raise ParameterError(f"--size takes random weights in place of a model, it goes without --model {args.model}")
    return RunSettings(
        subjects=tuple(args.subject) or default_subjects(args.size),
        model=args.model,
        size=args.size,
        vocoder=args.vocoder,
        device=args.device,
        precisions=args.precision or default_precisions(args.device),
        batches=args.batch,
        steps=args.steps or (None,),
        threads=args.threads or (None,),
        presets=args.preset or (None,),
        jobs=args.jobs,
        peers=args.peers,
        grid=args.grid,
        compiled=args.compile,
        repeats=args.repeats,
        seed=args.seed,
        command=shlex.join(["masktools", "bench", *_words(args)]),
    )


def _words(args: argparse.Namespace) -> list[str]:
    """Return the options that say what is measured, as they would be written."""
    words = list(args.subject)
    usual = {"model": "mini", "device": "auto", "batch": BATCHES, "jobs": JOBS, "vocoder": "light", "repeats": 3}
    where = ("model", "size", "vocoder", "device", "precision", "threads")
    for name in (*where, "jobs", "batch", "steps", "preset", "repeats"):
        value = getattr(args, name)
        if value not in (None, usual.get(name)):
            words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    if args.recordings:
        words += ["--recordings", *(path.name for path in args.recordings)]
    return [*words, *(f"--{name}" for name in ("grid", "compile") if getattr(args, name))]


def _watch() -> Callable[[str, int, int], None] | None:
    """Return what shows how far a subject has come, on a terminal; None where nobody watches."""
    if not sys.stderr.isatty():
        return None

    def show(subject: str, done: int, total: int) -> None:
        line = f"{subject} {done / total:4.0%}"
        sys.stderr.write(f"\r{line}" if done < total else f"\r{' ' * len(line)}\r")
        sys.stderr.flush()

    return show
