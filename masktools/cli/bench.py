"""The benchmark command: speed and memory of the toolkit, and quality of the restoration."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from masktools.cli import files, options
from masktools.cli.files import percent
from masktools.cli.options import Command
from masktools.core.arguments import PLOTTING, check_installed
from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError, unknown_name

if TYPE_CHECKING:
    from masktools.benchmark.measurements import Benchmark
    from masktools.benchmark.models import RunSettings

RESTORATION = "restoration"
SUBJECTS = ("stages", "jobs", "memory", "start-up", "accuracy", "peers")  # as in benchmark, not imported here
SIZES = ("paper", "mini", "tiny")
JOBS = ("generate", "inpaint", "bwe", "embed")
PEERS = ("audioldm-s", "magnet-small", "magnet-small-30", "scales")
BATCHES = (1, 4)
CHECKS = ("cutoffs", "damage", "gaps", "composition", "joins", "quiet")  # as in evaluation, which is not imported here


def _add_bench(parser: argparse.ArgumentParser) -> None:
    known = f"{', '.join(SUBJECTS)}; or {RESTORATION} SOURCE"
    parser.add_argument("subject", nargs="*", metavar="WHAT", help=known)
    options.add_seed(parser)
    options.add(parser, "--json", "--markdown", "--overwrite")
    model = parser.add_argument_group("model")
    model.add_argument("--model", default="mini", metavar="NAME", help="name of a model, or a bundle's folder")
    model.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps")
    model.add_argument(
        "--precision",
        type=options.names,
        metavar="A,B",
        help=f"{', '.join(options.PRECISIONS)}; speed compares several: those that the machine has if left out",
    )
    model.add_argument("--threads", type=_counts, metavar="N,N", help="CPU threads at most; speed compares several")
    _add_speed(parser.add_argument_group("speed"))
    _add_checks(parser.add_argument_group(RESTORATION))


def _bench(args: argparse.Namespace) -> int:
    """Measure what the toolkit costs on this machine, and what restoration finds and leaves behind.

    Without a WHAT: stages, jobs, memory, start-up and accuracy of the bundled model, in a minute or two. The WHATs of
    speed can be named together: stages (where the time goes, with the arithmetic and its rate), jobs (generate,
    inpaint, bwe and embed by batch, steps, precision and threads, beside what the machine allows), memory (in fresh
    processes), start-up, accuracy (how near each precision stays to fp32), peers (other models at their published
    sizes, random weights; they are built from diffusers and transformers).

    `restoration SOURCE` runs checks on recordings of yours, beside other rules and methods in the same run: cutoffs
    (where a band ends, after several filters and codecs), damage (lost samples, after MP3 too), gaps (seams, levels and
    samples of fills), composition (how a generated band is joined to a recording), joins (of the windows of a long
    recording) and quiet (what is added to pauses).
    """
    if RESTORATION not in args.subject:
        return _run_speed(args)
    if len(args.subject) != 2 or args.subject[0] != RESTORATION:
        raise ParameterError(
            f"{RESTORATION} goes with one manifest or folder of audio, as in `masktools bench {RESTORATION} SOURCE`, "
            f"got {' '.join(args.subject)}"
        )
    for name in ("precision", "threads"):
        if len(getattr(args, name) or ()) > 1:
            raise ParameterError(f"{RESTORATION} takes one value of --{name}, got {len(getattr(args, name))}")
    single = {"precision": (args.precision or ("auto",))[0], "threads": (args.threads or (None,))[0]}
    return _run_checks(argparse.Namespace(**{**vars(args), **single, "source": Path(args.subject[1])}))


def _add_speed(group: options.Group) -> None:
    """Add the options of the speed benchmark."""
    group.add_argument(
        "--size", choices=SIZES, metavar="NAME", help=f"random weights in place of a model: {', '.join(SIZES)}"
    )
    group.add_argument("--vocoder", default="light", metavar="NAME", help="of random weights: light, hifigan")
    group.add_argument("--jobs", type=options.names, default=JOBS, metavar="A,B", help=", ".join(JOBS))
    group.add_argument("--batch", type=_counts, default=BATCHES, metavar="N,N", help="clips of a job; 1,4 if left out")
    group.add_argument("--steps", type=_counts, metavar="N,N", help="decoding steps; the model's own if left out")
    group.add_argument("--preset", type=options.names, metavar="A,B", help="settings of the decoding that have a name")
    group.add_argument("--grid", action="store_true", help="all combinations instead of one axis at a time")
    group.add_argument("--compile", action="store_true", help="compile the transformer beforehand; for GPUs")
    group.add_argument("--repeats", type=options.whole_number(1), default=3, metavar="N", help="rounds that count")
    group.add_argument(
        "--recordings", nargs="+", type=Path, default=(), metavar="FILE", help="for accuracy; a made clip if left out"
    )
    group.add_argument("--peers", type=options.names, default=PEERS, metavar="A,B", help=", ".join(PEERS))
    group.add_argument("--plot", type=Path, metavar="PNG", help="draw the times of stages, jobs and peers")


def _counts(text: str) -> tuple[int, ...]:
    """Parse integers separated by commas, for argparse."""
    return tuple(options.whole_number(1)(word) for word in options.names(text))


def _run_speed(args: argparse.Namespace) -> int:
    """Measure, print progress and results, write outputs."""
    for subject in args.subject:
        if subject not in SUBJECTS:
            raise unknown_name("subject", subject, (*SUBJECTS, "restoration"))
    files.check_outputs([args.json, args.markdown, args.plot], args.recordings, overwrite=args.overwrite)
    if args.plot is not None:
        check_installed(*PLOTTING)  # before the measurements
    from masktools import io
    from masktools.benchmark.run import run_benchmark, tables_of, to_markdown, to_text
    from masktools.core.tables import text_of

    recordings = [(audio.samples, audio.sample_rate) for audio in map(io.read, args.recordings)]

    def tell(part: "Benchmark") -> None:
        print(text_of(tables_of(part)), flush=True)

    found = run_benchmark(_settings(args), recordings, percent(), tell)
    print(to_text(found).partition("\n\n")[0])
    if args.json is not None:
        files.write_content(args.json, found.to_json())
    if args.markdown is not None:
        files.write_content(args.markdown, to_markdown(found))
    if args.plot is not None:
        from masktools.benchmark.run import draw

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
    """Return the options that select the measurements, as on a command line."""
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


def _add_checks(group: options.Group) -> None:
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


def _run_checks(args: argparse.Namespace) -> int:
    """Run the checks, print, write outputs."""
    sources = [args.source] if args.source.is_file() else []
    files.check_outputs([args.json, args.markdown], sources, overwrite=args.overwrite)
    from masktools.evaluation.checks import Checking, run_check

    for name in args.check:
        if name not in CHECKS:
            raise unknown_name("check", name, CHECKS)
    model = options.load_model(args)
    reports = {}
    for name in args.check:
        checking = Checking(args.source, args.n, args.split, args.seed, args.octaves_up, percent())
        reports[name] = run_check(name, checking, model)
        print(reports[name].to_text(), end="\n", flush=True)
        for one in reports[name].left_out:
            if one.fault == "broken":
                sys.stderr.write(f"masktools: skipped: {one.name}: {one.reason}\n")
    files.write_report(args.json, {name: parse_json(report.to_json()) for name, report in reports.items()})
    if args.markdown is not None:
        files.write_content(args.markdown, "\n".join(report.to_markdown() for report in reports.values()))
    return 0


BENCH = Command("measure speed and memory on this machine, or restoration on recordings of yours", _add_bench, _bench)
