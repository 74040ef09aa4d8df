"""Commands that evaluate a model on recordings: evaluate, and sweep, which does so with many decoding settings."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.files import counting, percent
from masktools.cli.options import Command
from masktools.core.arguments import PLOTTING, check_installed
from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError

if TYPE_CHECKING:
    from masktools.evaluation.clips import Clips
    from masktools.evaluation.embedders import Embedder
    from masktools.evaluation.sweep import Protocol, Sweep, SweepResult
    from masktools.evaluation.sweep_results import Measure
    from masktools.model import Model

PROTOCOLS = ("tokenizer", "transformer", "vocoder", "inpaint", "bwe", "generate", "conditioning", "notes")
SPLITS = ("train", "valid", "test", "all")
SECONDS, ENOUGH_SECONDS = 10.0, 4.0
SOME_FAILED = 3


def _add_clips(parser: argparse.ArgumentParser) -> options.Group:
    """Add the options that select recordings."""
    clips = parser.add_argument_group("recordings")
    clips.add_argument("--split", choices=SPLITS, default="test", metavar="NAME", help=", ".join(SPLITS))
    clips.add_argument("--n", type=options.whole_number(1), metavar="N", help="of each kind; all if left out")
    clips.add_argument("--kinds", type=options.names, metavar="A,B", help="only recordings of these kinds")
    return clips


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("protocol", choices=PROTOCOLS, metavar="PROTOCOL", help=", ".join(PROTOCOLS))
    parser.add_argument(
        "source", type=Path, nargs="+", metavar="SOURCE", help="an audio cache, a manifest or a folder of audio"
    )
    clips = _add_clips(parser)
    clips.add_argument(
        "--seconds",
        type=options.number(0.25, "s"),
        metavar="S",
        help=f"from the middle of each; {SECONDS:g} if neither this nor the preset says otherwise",
    )
    clips.add_argument(
        "--min-seconds",
        type=options.number(0.25, "s"),
        metavar="S",
        help=f"of recordings that have less than that; {ENOUGH_SECONDS:g} if left out",
    )
    clips.add_argument(
        "--training",
        type=options.whole_number(1),
        metavar="N",
        help="generate: compare with so many of each kind of the split train, too",
    )
    how = parser.add_argument_group("measurement")
    how.add_argument("--preset", metavar="NAME", help="a protocol of the paper: table3, table8_bwe_paper_like, ...")
    how.add_argument("--methods", type=options.names, metavar="A,B", help="only these methods")
    how.add_argument(
        "--embedder",
        action="append",
        metavar="NAME",
        help="what distances between sets are computed with: mel (if left out), own, joint, aisfx=PATH, musicnn=PATH, "
        "clap=PATH, vggish=PATH (of a package's wheel or folder, or of the weights), or none; may be given again",
    )
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the protocol, as in gaps_s=[0.1,0.5] or solver.n_steps=8; may be given again",
    )
    options.add_seed(how)
    options.add(how, "--json", "--markdown", "--overwrite")
    options.add_model(parser)


def _evaluate(args: argparse.Namespace) -> int:
    """Measure a model on recordings that are whole, beside what one can do without it, with intervals over recordings.

    PROTOCOL is what is measured: tokenizer, transformer, vocoder, inpaint, bwe, generate, conditioning or notes. SOURCE
    is the folder of an audio cache, a manifest (CSV with path and split, and perhaps kind, labels, caption, origin and
    bandwidth_hz), or a folder of audio; for notes, NSynth's files (examples.json and audio/, or a tar of them); several
    are taken together. Recordings that cannot be read are named and left out; the exit code is then 3.
    """
    sources = [source for source in args.source if source.is_file()]
    files.check_outputs([args.json, args.markdown], sources, overwrite=args.overwrite)
    from masktools.evaluation.sweep import PROTOCOLS as TABLE

    protocol = TABLE[args.protocol]
    if args.training and not protocol.reads_training:
        raise ParameterError(f"the protocol {args.protocol} reads no training recordings: leave out --training")
    model = options.load_model(args)
    settings, embedders = _settings(args, protocol, model), _embedders(args.embedder, model)
    seconds = _seconds(args)
    lengths = seconds, min(seconds, ENOUGH_SECONDS) if args.min_seconds is None else args.min_seconds
    clips = _notes(args, model) if protocol.of_notes else _clips(args, model, args.split, args.n, *lengths)
    training = {"training": _clips(args, model, "train", args.training, *lengths)} if args.training else {}
    report = protocol.evaluate(model, clips, settings, embedders, percent(), **training)
    for output, content in ((args.json, report.to_json), (args.markdown, report.to_markdown)):
        if output is not None:
            files.write_content(output, content())
    print(report.to_text(), end="")
    broken = [one for one in report.left_out if one.fault == "broken"]
    for one in broken:
        sys.stderr.write(f"masktools: skipped: {one.name}: {one.reason}\n")
    return SOME_FAILED if broken else 0


def _clips(
    args: argparse.Namespace, model: "Model", split: str, n_each: int | None, seconds: float, enough: float
) -> "Clips":
    from masktools.evaluation.clips import ClipSettings, read_clips

    wanted = ClipSettings(
        split=split, seconds=seconds, kinds=args.kinds, seed=args.seed, n_each=n_each, min_seconds=enough
    )
    return read_clips(args.source, model.sample_rate, wanted)


def _seconds(args: argparse.Namespace) -> float:
    """Return the length of clips, by default that of the preset."""
    from masktools.evaluation.sweep import PRESETS

    usual = PRESETS[args.preset].seconds if args.preset else SECONDS
    return usual if args.seconds is None else args.seconds


def _notes(args: argparse.Namespace, model: "Model") -> "Clips":
    from masktools.evaluation.notes import read_note_clips

    n_samples = model.pipeline.window_samples
    if args.seconds is not None:
        n_samples = min(n_samples, round(args.seconds * model.sample_rate))
    chosen: Any = read_note_clips(args.source, model.sample_rate, n_samples, args.split, args.n, args.seed)
    return chosen


def _embedders(names: Sequence[str] | None, model: "Model") -> "list[Embedder]":
    from masktools.evaluation.embedders import parse_embedder

    chosen = ["mel"] if names is None else [name for name in names if name != "none"]
    return [parse_embedder(name, model) for name in dict.fromkeys(chosen)]


def _settings(args: argparse.Namespace, protocol: "Protocol", model: "Model") -> Any:
    """Return the settings of a protocol: those of the preset, with changes.

    Changes of the solver apply to the model's own settings.
    """
    from masktools.core.configs import from_dict, to_dict, to_plain
    from masktools.solver import SolverConfig

    known = {field.name for field in fields(protocol.settings)}
    values = to_dict(_preset(args, model)) if args.preset else {}
    if protocol.job is not None and any(pair.startswith("solver.") for pair in args.set) and not values.get("solver"):
        values["solver"] = to_plain(model.pipeline.decoding.get(protocol.job, SolverConfig()))
    if "seed" in known:
        values["seed"] = args.seed
    if "statistics" in known:
        values["statistics"] = values.get("statistics", {}) | {"seed": args.seed}
    if args.methods:
        if "methods" not in known:
            raise ParameterError(f"the protocol {args.protocol} has no methods to choose from: leave out --methods")
        values["methods"] = list(args.methods)
    for pair in args.set:
        _put(values, pair)
    return from_dict(protocol.settings, values)


def _preset(args: argparse.Namespace, model: "Model") -> Any:
    from masktools.evaluation.sweep import preset_settings

    protocol, settings = preset_settings(args.preset, model.pipeline.grid)
    if protocol != args.protocol:
        raise ParameterError(f"the preset {args.preset} is of the protocol {protocol}, got {args.protocol}")
    return settings


def _put(values: dict[str, Any], pair: str) -> None:
    """Put the value of KEY=VALUE into nested settings."""
    key, equals, text = pair.partition("=")
    if not equals or not all(key.split(".")):
        raise ParameterError(f"--set must be KEY=VALUE, as in gaps_s=[0.1,0.5], got {pair!r}")
    *places, name = key.split(".")
    for place in places:
        values = values.setdefault(place, {})
        if not isinstance(values, dict):
            raise ParameterError(f"--set gives {place} a value of its own and, in {pair!r}, parts")
    values[name] = _value(text)


def _value(text: str) -> Any:
    """Return the JSON value of a text (a number, true, false, null, a list), or else the text."""
    try:
        return parse_json(text)
    except ValueError:
        return text


_SWEPT = ("generate", "inpaint", "bwe")
_SETTINGS = ("n_prompts", "n_per_prompt", "gaps_s", "context_s", "cutoffs_hz", "leak_free")


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("protocol", choices=_SWEPT, metavar="PROTOCOL", help=", ".join(_SWEPT))
    parser.add_argument("source", type=Path, metavar="SOURCE", help="an audio cache, a manifest or a folder of audio")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="where the results go")
    axes = parser.add_argument_group("axes")
    axes.add_argument("--steps", type=_listed(options.whole_number(1)), metavar="N,N", help="decoding steps")
    axes.add_argument("--temperature", type=_listed(options.number(0.0)), metavar="X,X", help="noise of the decisions")
    axes.add_argument("--guidance", type=_listed(options.number(0.0)), metavar="X,X", help="how closely to follow")
    axes.add_argument("--guidance-schedule", type=options.names, metavar="A,B", help="linear_up, constant, ...")
    axes.add_argument("--policy", type=options.names, metavar="A,B", help="confidence, halton, random, ...")
    axes.add_argument("--presets", type=options.names, metavar="A,B", help="exact, fast, draft, paper, fast8, ...")
    axes.add_argument(
        "--axis",
        action="append",
        default=[],
        metavar="KEY=V,V",
        help="any setting of the solver, as cache_every=1,4 or guidance_interval=[null,[0,0.5]]",
    )
    axes.add_argument(
        "--also",
        type=options.names,
        metavar="A,B",
        help="further models beside --model, as an axis of their own",
    )
    axes.add_argument("--grid", action="store_true", help="all combinations instead of one axis at a time")
    axes.add_argument("--preset", metavar="NAME", help="settings to start from: paper, fast8, ...")
    clips = _add_clips(parser)
    clips.add_argument(
        "--seconds", type=options.number(0.25, "s"), default=SECONDS, metavar="S", help="from the middle of each"
    )
    clips.add_argument(
        "--min-seconds",
        type=options.number(0.25, "s"),
        default=ENOUGH_SECONDS,
        metavar="S",
        help="of recordings that have less than that",
    )
    how = parser.add_argument_group("measurement")
    how.add_argument("--probe", action="store_true", help="generate: train a probe of labels on the split train")
    how.add_argument("--embedder", action="append", metavar="NAME", help="as evaluate takes them")
    how.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=f"a setting: {', '.join(_SETTINGS)}"
    )
    how.add_argument(
        "--repeats",
        type=options.whole_number(1),
        default=1,
        metavar="N",
        help="decode with so many seeds; intervals are then of the seeds",
    )
    how.add_argument("--no-references", action="store_true", help="leave out what does not depend on the decoding")
    how.add_argument("--no-plots", action="store_true", help="draw nothing")
    options.add_seed(how)
    options.add_model(parser)


def _sweep(args: argparse.Namespace) -> int:
    """Measure a model at many settings of its decoding, in one table and as plots; what was killed goes on later.

    PROTOCOL is generate, inpaint or bwe, SOURCE is what `masktools evaluate` takes. Each axis is given its values;
    without --grid one axis is moved at a time, from the model's own settings or those of --preset. The folder of the
    results holds points.jsonl, which keeps finished points, sweep.md, sweep.json, cost.md, which says what each setting
    costs and what it loses against the first, and for each measure two PNGs, against the axes and against the cost.
    """
    from masktools.evaluation.sweep import run_sweep

    sweep = _asked(args)
    if not args.no_plots:
        check_installed(*PLOTTING)  # before the measurements
    models = _models(args)
    first = next(iter(models.values()))
    if args.preset is not None:
        sweep = replace(sweep, settings=replace(sweep.settings, solver=first.solver(args.protocol, args.preset)))
    embedders = _embedders(args.embedder, first)
    enough = min(args.seconds, args.min_seconds)
    clips = _clips(args, first, args.split, args.n, args.seconds, enough)
    n_training = args.n if args.split == "train" else None
    training = _clips(args, first, "train", n_training, args.seconds, enough) if args.probe else ()
    args.output.mkdir(parents=True, exist_ok=True)
    result = run_sweep(
        models, clips, sweep, embedders, args.output / "points.jsonl", counting("points"), training=training
    )
    result.report.write(args.output / "sweep.md")
    result.report.write(args.output / "sweep.json")
    _write_losses(result, args.output / "cost.md")
    print(result.report.to_text(), end="")
    for path in () if args.no_plots else _draw(result, args.output):
        print(path)
    return 0


def _listed(read: Any) -> Any:
    """Return a parser of values separated by commas, for argparse."""
    return lambda text: tuple(read(word.strip()) for word in text.split(",") if word.strip())


def _asked(args: argparse.Namespace) -> "Sweep":
    from masktools.core.configs import from_dict
    from masktools.evaluation.sweep import MODEL_AXIS, PRESET_AXIS, SWEPT, Sweep
    from masktools.solver import preset

    named = [_axis(pair) for pair in args.axis]
    axes: dict[str, Any] = {
        "n_steps": args.steps,
        "temperature": args.temperature,
        "guidance": args.guidance,
        "guidance_schedule": args.guidance_schedule,
        "policy": args.policy,
        PRESET_AXIS: args.presets,
        MODEL_AXIS: (args.model, *args.also) if args.also else None,
    }
    for axis, at in named:
        if axes.get(axis):
            raise ParameterError(f"the axis {axis} must be given once, with all its values: got it twice")
        axes[axis] = at
    if args.probe and args.protocol != "generate":
        raise ParameterError(f"--probe goes with generate, not with {args.protocol}")
    values: dict[str, Any] = {"seed": args.seed} | dict(map(_setting, args.set))
    settings = from_dict(SWEPT[args.protocol].settings, values)
    if args.preset is not None:
        settings = replace(settings, solver=preset(args.preset))  # checked here; `run` resolves it for the model
    chosen = {axis: values for axis, values in axes.items() if values}
    if not chosen:
        raise ParameterError("a sweep must have at least one axis: give --steps, --presets, --axis or another")
    return Sweep(args.protocol, settings, chosen, args.grid, not args.no_references, args.repeats)


def _axis(pair: str) -> tuple[str, tuple[Any, ...]]:
    """Parse an axis and its values: a JSON list, or words and numbers separated by commas."""
    key, equals, text = pair.partition("=")
    if not equals or not text.strip():
        raise ParameterError(f"--axis must be KEY=V,V, got {pair!r}")
    try:
        values = parse_json(text)
    except ValueError:
        values = [_value(word.strip()) for word in text.split(",")]
    listed = values if isinstance(values, list) else [values]
    return key, tuple(tuple(one) if isinstance(one, list) else one for one in listed)


def _setting(pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    if not equals or key not in _SETTINGS:
        raise ParameterError(f"--set must be KEY=VALUE, KEY one of {', '.join(_SETTINGS)}, got {pair!r}")
    try:
        return key, parse_json(text)
    except ValueError as error:
        raise ParameterError(f"--set {key} must be a number, true, false or a list as [0.5,1], got {text!r}") from error


def _models(args: argparse.Namespace) -> "dict[str, Model]":
    first = args.model
    names: Sequence[str] = (first, *(args.also or ()))
    models = {name: options.load_model(argparse.Namespace(**{**vars(args), "model": name})) for name in names}
    rates = {model.sample_rate for model in models.values()}
    if len(rates) > 1:
        raise ParameterError(f"the models of a sweep must be of one sample rate, got {sorted(rates)}")
    return models


def _wide_measures(result: "SweepResult") -> "list[Measure]":
    """Return the measures of the largest groups."""
    from masktools.evaluation.sweep_results import plotted_measures

    measures = plotted_measures(result)
    groups = list(dict.fromkeys(group for group, *_ in measures))
    wide = [group for group in groups if group.startswith("all")] or groups
    return [one for one in measures if one[0] in wide and len(result.points) > 1]


def _write_losses(result: "SweepResult", path: Path) -> None:
    """Write the cost of each point, and its loss against the first one."""
    from masktools.evaluation.sweep_results import loss_lines, named_points, priced_measures

    points = named_points(result)
    lines = loss_lines(points, priced_measures(result, _wide_measures(result)), points[0][0])
    lines += ["", f"Of all settings what differs from the first is named; the first is {points[0][0]}."]
    files.write_content(path, "\n".join(["# Cost and loss", "", *lines]) + "\n")


def _draw(result: "SweepResult", folder: Path) -> list[Path]:
    """Write the plots of each measure of the largest groups, and return their paths."""
    from masktools.evaluation.sweep_results import draw_cost, draw_sweep, priced_measures

    wide = [one for one in _wide_measures(result) if one[0] != "cost"]
    pictures = [("", draw_sweep, one) for one in wide]
    pictures += [("cost-", draw_cost, one) for one in priced_measures(result, wide)]
    written = []
    for start, draw, measure in pictures:
        words = "-".join(filter(None, (measure[2], measure[0], measure[1], (measure[3] or "")[:24])))
        path = folder / f"{start}{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}.png"
        files.write_content(path, draw(result, measure))
        written.append(path)
    return written


EVALUATE = Command("measure a model on recordings", _add_evaluate, _evaluate)
SWEEP = Command("measure a model at many settings of its decoding", _add_sweep, _sweep)
