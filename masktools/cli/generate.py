"""Commands that make sounds: generate, vary and coarsen."""

import argparse
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.files import GrowingReport, Watcher, is_report
from masktools.cli.options import Command
from masktools.core.errors import ParameterError
from masktools.core.settings import AUDIO_FORMATS, PromptSettings, VariationSettings

if TYPE_CHECKING:
    from masktools.model import Result
    from masktools.restoration.generation import GeneratedItem, Item

_BATCHES_WAITING = 2  # finished, but not written yet


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompt", nargs="?", metavar="TEXT", help="what to hear, or a .npy file of vectors; left out: unconditional"
    )
    options.add_output(parser, "the recording; with -n above 1, a number is put before its ending; or a folder")
    parser.add_argument("-n", type=options.whole_number(1), default=1, metavar="N", help="how many recordings")
    parser.add_argument(
        "--seconds", type=options.number(0.0, "s", above=True), metavar="S", help="length of each, in seconds"
    )
    options.add(parser, "--report")
    group = parser.add_argument_group("many prompts")
    group.add_argument("--prompts", type=Path, metavar="FILE", help="a .txt or .csv file of texts; OUT is a folder")
    known = ", ".join(AUDIO_FORMATS)
    group.add_argument("--format", choices=AUDIO_FORMATS, default="wav", metavar="NAME", help=known)
    options.add(group, "--resume")
    options.add(parser, "--overwrite", "--progress")
    options.add_settings(parser, PromptSettings)
    options.add_model(parser)


def numbered(output: Path, n: int) -> list[Path]:
    """Return the names of ``n`` results: the name itself for one, else name-1, name-2 and so on.

    >>> [path.name for path in numbered(Path("rain.wav"), 2)]
    ['rain-1.wav', 'rain-2.wav']
    """
    if n == 1:
        return [output]
    width = len(str(n))
    return [output.with_stem(f"{output.stem}-{number:0{width}d}") for number in range(1, n + 1)]


def _generate(args: argparse.Namespace) -> int:
    """Generate audio from a text, from a stored vector (.npy), or, without either, from nothing.

    With --prompts, from each text of a file (.txt: one in each line; .csv: a column prompt, and perhaps name and seed):
    OUT is then a folder, files are called after their texts, and what was finished before a run was killed is left out
    by --resume.
    """
    if args.prompt is not None and args.prompts is not None:
        raise ParameterError("a text and --prompts must not be given together: put the text into the file")
    if args.prompts is not None:
        return _generate_many(args)
    if args.resume or args.format != "wav":
        raise ParameterError("--format and --resume go with --prompts: here the output's ending says all")
    if args.prompt is not None and not args.prompt.strip():
        raise ParameterError("the text must not be empty: leave it out to generate without one")
    outputs = numbered(args.output, args.n)
    files.check_audio_outputs(outputs, args.report, files.read_by(args), overwrite=args.overwrite)
    with Watcher(args.progress).on(args.output) as step:
        settings = options.settings_of(args, PromptSettings)
        results = options.load_model(args).generate(args.prompt, args.n, args.seconds, settings, progress=step)
    if len(results) != len(outputs):
        raise ParameterError(f"{args.prompt} must hold one vector, got {len(results) // args.n}")
    return _write_all(args, outputs, results)


def _write_all(args: argparse.Namespace, outputs: list[Path], results: "list[Result]") -> int:
    """Write the recordings, and their report."""
    for output, result in zip(outputs, results, strict=True):
        files.write_audio(output, result.samples, result.sample_rate)
    from masktools.restoration.generation import Generated

    names = [name for name in Generated.EACH if name in results[0].report]
    each = {name: [one for result in results for one in result.report[name]] for name in names}
    files.write_report(args.report, results[0].report | each)
    for output in outputs:
        print(output)
    return 0


def _generate_many(args: argparse.Namespace) -> int:
    """Generate one or several recordings of each text in a file; they are written while the next are made."""
    from masktools import __version__
    from masktools.core.runtime import threads
    from masktools.pipeline.hub import plan_for
    from masktools.restoration.generation import (
        FINISHED,
        Finished,
        generate_items,
        plan_items,
        read_prompts,
        write_behind,
    )

    items = plan_items(read_prompts(args.prompts), args.n, args.seed)
    folder, target_of = _made_folder(args.output), _target_of(args.output, args.format)
    _check_targets(args, [target_of(item) for item in items], folder / FINISHED)
    model = options.load_model(args)
    settings = options.settings_of(args, PromptSettings)
    solver, n_candidates = plan_for(model.pipeline, "generate", settings), settings.n_candidates
    finished = Finished(folder, model.pipeline, solver, args.seconds, n_candidates)
    left = _left(items, target_of, finished, args.resume, args.overwrite)

    def write(made: "GeneratedItem") -> dict[str, Any]:
        target = target_of(made.item)
        finished.begin(made.item, target)
        files.write_audio(target, made.samples, made.sample_rate)
        finished.add(made.item, target)
        told = {"file": target.name, "prompt": made.item.prompt, "seed": made.item.seed, "gain_db": made.gain_db}
        return told if made.similarity is None else told | {"similarity": made.similarity}

    kept = len(items) - len(left)
    head = {"masktools": __version__, "job": "generate", "model": model.name, "sample_rate": model.sample_rate}
    report = GrowingReport(args.report, head | {"finished_before": kept}, "made")
    watcher = Watcher(args.progress, len(left))
    if left:
        watcher.begin(target_of(left[0]))
    try:
        with threads(model.threads):
            step = watcher.step_of_all if watcher.watched else None
            made = generate_items(model.pipeline, left, args.seconds, solver, step, n_candidates=n_candidates)
            with closing(write_behind(made, write, _BATCHES_WAITING * model.pipeline.batch_size)) as written:
                for one in written:
                    report.add(one)
                    watcher.finish()
                    print(folder / one["file"], flush=True)
                    watcher.end(folder / one["file"])
    finally:
        watcher.finish()
        report.write()
    print(f"{len(left)} made, {kept} finished before")
    return 0


def _check_targets(args: argparse.Namespace, targets: list[Path], notes: Path) -> None:
    """Raise, before any work, where outputs would destroy files.

    Raises:
        ParameterError: the message names the file, and says what to do.
    """
    from masktools.io import check_places, clear_parts

    sources = files.read_by(args)
    files.check_outputs([args.report], sources, overwrite=args.overwrite or (args.resume and is_report(args.report)))
    places = [*targets, *([] if args.report is None else [args.report])]
    check_places(
        places,
        sources,
        notes=[notes],
        overwrite=args.overwrite or args.resume,
        hint="say --resume to go on with an earlier run, --overwrite to replace {them}, or name another folder",
    )
    clear_parts(args.output.resolve())


def _made_folder(folder: Path) -> Path:
    """Return the folder of the recordings, which is made if its parent exists.

    Raises:
        ParameterError: it is a file, or not writable, or its parent does not exist.
    """
    if folder.exists() and not folder.is_dir():
        raise ParameterError(f"with --prompts the output must be a folder, got the file {folder}")
    if not folder.exists():
        if not folder.parent.is_dir():
            raise ParameterError(f"the folder to hold {folder.name} must exist, got {folder.parent}: make it first")
        folder.mkdir()
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ParameterError(f"the output's folder must be open for writing, got {folder}")
    return folder


def _target_of(folder: Path, ending: str) -> "Callable[[Item], Path]":
    return lambda item: folder / f"{item.name}.{ending}"


def _left(
    items: "list[Item]", target_of: "Callable[[Item], Path]", finished: Any, resume: bool, overwrite: bool
) -> "list[Item]":
    """Return the recordings that are still to be made.

    Raises:
        ParameterError: a file exists that would be replaced without permission.
    """
    left = [item for item in items if not (resume and finished.has(item, target_of(item)))]
    there = [
        target_of(item)
        for item in left
        if target_of(item).exists() and not (resume and finished.has_begun(item, target_of(item)))
    ]
    if there and resume and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ParameterError(
            f"{there[0]}{more} cannot be resumed, made with other settings or changed since: give the settings of "
            "the earlier run, another folder, or --overwrite to make them anew"
        )
    return left


def _add_vary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the version; with -n above 1, a number is put before its ending")
    parser.add_argument("-n", type=options.whole_number(1), default=1, metavar="N", help="how many versions")
    options.add(parser, "--report", "--overwrite", "--progress")
    options.add_settings(parser, VariationSettings)
    options.add_model(parser)


def _vary(args: argparse.Namespace) -> int:
    """Draw other detail for a sound, with a model over scales.

    Its coarse scales stay, the finer ones are drawn anew.
    """
    outputs = numbered(args.output, args.n)
    sources = [args.input, *files.read_by(args)]
    files.check_audio_outputs(outputs, args.report, sources, overwrite=args.overwrite)
    from masktools import io

    audio = io.read(args.input)
    with Watcher(args.progress).on(args.output) as step:
        settings, model = options.settings_of(args, VariationSettings), options.load_model(args)
        results = model.vary(audio.samples.T, audio.sample_rate, args.n, settings, progress=step)
    return _write_all(args, outputs, results)


def _add_coarsen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the rebuilt recording; its ending names the format")
    parser.add_argument(
        "--scales", type=options.whole_number(1), default=1, metavar="N", help="that it is made of; 1 if left out"
    )
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw one scale, two, and so on, and the original")
    options.add(parser, "--overwrite")
    options.add_model(parser)


def _coarsen(args: argparse.Namespace) -> int:
    """Rebuild a sound of its coarse scales, with a model over scales.

    --picture shows all of them from coarse to fine.
    """
    files.check_audio_outputs([args.output], inputs=[args.input], overwrite=args.overwrite)
    files.check_outputs([args.picture], [args.input, args.output], ".png", overwrite=args.overwrite)
    from masktools import io
    from masktools.restoration.generation import refinements

    audio = io.read(args.input)
    model = options.load_model(args)
    result = model.coarsen(audio.samples.T, audio.sample_rate, args.scales)
    files.write_audio(args.output, result.samples, result.sample_rate)
    print(f"{args.output}: of {', '.join(result.report['scales'])}")
    if args.picture is not None:
        from masktools.review.picture import draw_refinements

        mel, coarse = refinements(model.pipeline, audio.samples, audio.sample_rate)
        names = [f"to {rows}x{cols}" for rows, cols in model.pipeline.pyramid.scales]
        files.write_content(args.picture, draw_refinements([*coarse, mel], [*names, "original"]))
        print(args.picture)
    return 0


GENERATE = Command("make audio from a text", _add_generate, _generate)
VARY = Command("the same sound with other detail", _add_vary, _vary)
COARSEN = Command("rebuild a sound of its coarse scales", _add_coarsen, _coarsen)
