"""Measure a model at many settings of its decoding, in one table and as plots; what was killed goes on later.

PROTOCOL is generate, inpaint or bwe, SOURCE is what `masktools evaluate` takes. Each axis is given its values; without
--grid one axis is moved at a time, from the model's own settings or those of --preset. The folder of the results holds
points.jsonl, which keeps finished points, sweep.md, sweep.json, cost.md, which says what each setting costs and what it
loses against the first, and for each measure two PNGs, against the axes and against the cost.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.train import progress
from masktools.core.errors import ParameterError
from masktools.core.jsons import parse_json

if TYPE_CHECKING:
    from masktools.evaluation.clips import Clips
    from masktools.evaluation.sweep import Sweep, SweepResult
    from masktools.evaluation.sweep_results import Measure
    from masktools.model import Model

HELP = "measure a model at many settings of its decoding"
PROTOCOLS = ("generate", "inpaint", "bwe")
SPLITS = ("train", "valid", "test", "all")
SECONDS, ENOUGH_SECONDS = 10.0, 4.0
SETTINGS = ("n_prompts", "n_per_prompt", "gaps_s", "context_s", "cutoffs_hz", "leak_free")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("protocol", choices=PROTOCOLS, metavar="PROTOCOL", help=", ".join(PROTOCOLS))
    parser.add_argument("source", type=Path, metavar="SOURCE", help="an audio cache, a manifest or a folder of audio")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="where the results go")
    axes = parser.add_argument_group("axes")
    axes.add_argument("--steps", type=_listed(options.whole_number(1)), metavar="N,N", help="decoding steps")
    axes.add_argument("--temperature", type=_listed(options.number(0.0)), metavar="X,X", help="noise of the decisions")
    axes.add_argument("--guidance", type=_listed(options.number(0.0)), metavar="X,X", help="how closely to follow")
    axes.add_argument("--guidance-schedule", type=_listed(str), metavar="A,B", help="linear_up, constant, ...")
    axes.add_argument("--policy", type=_listed(str), metavar="A,B", help="confidence, halton, random, ...")
    axes.add_argument("--presets", type=_listed(str), metavar="A,B", help="exact, fast, draft, paper, fast8, ...")
    axes.add_argument(
        "--axis",
        action="append",
        default=[],
        metavar="KEY=V,V",
        help="any setting of the solver, as cache_every=1,4 or guidance_interval=[null,[0,0.5]]",
    )
    axes.add_argument(
        "--also",
        type=_listed(str),
        metavar="A,B",
        help="further models beside --model, as an axis of their own",
    )
    axes.add_argument("--grid", action="store_true", help="all combinations instead of one axis at a time")
    axes.add_argument("--preset", metavar="NAME", help="settings to start from: paper, fast8, ...")
    clips = parser.add_argument_group("recordings")
    clips.add_argument("--split", choices=SPLITS, default="test", metavar="NAME", help=", ".join(SPLITS))
    clips.add_argument("--n", type=options.whole_number(1), metavar="N", help="of each kind; all if left out")
    clips.add_argument("--kinds", type=_listed(str), metavar="A,B", help="only recordings of these kinds")
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
        "--set", action="append", default=[], metavar="KEY=VALUE", help=f"a setting: {', '.join(SETTINGS)}"
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


def run(args: argparse.Namespace) -> int:
    """Read, measure, tell, draw."""
    from masktools.evaluation.embedders import parse_embedder
    from masktools.evaluation.sweep import run_sweep

    sweep = _sweep(args)
    if not args.no_plots:
        from masktools.evaluation.sweep_results import check_matplotlib

        check_matplotlib()  # before anything is computed
    models = _models(args)
    first = next(iter(models.values()))
    if args.preset is not None:
        sweep = replace(sweep, settings=replace(sweep.settings, solver=first.solver(args.protocol, args.preset)))
    embedders = [parse_embedder(name, first) for name in dict.fromkeys(args.embedder or ["mel"])]
    clips = _clips(args, first, args.split)
    training = _clips(args, first, "train") if args.probe else ()
    args.output.mkdir(parents=True, exist_ok=True)
    result = run_sweep(
        models, clips, sweep, embedders, args.output / "points.jsonl", progress("points"), training=training
    )
    result.report.write(args.output / "sweep.md")
    result.report.write(args.output / "sweep.json")
    _write_losses(result, args.output / "cost.md")
    print(result.report.to_text(), end="")
    for path in () if args.no_plots else _draw(result, args.output):
        print(path)
    return 0


def _listed(read: Any) -> Any:
    """Return a reader of values between commas, for argparse."""
    return lambda text: tuple(read(word.strip()) for word in text.split(",") if word.strip())


def _sweep(args: argparse.Namespace) -> "Sweep":
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
        settings = replace(settings, solver=preset(args.preset))  # checked here; `run` knows what the model's own are
    chosen = {axis: values for axis, values in axes.items() if values}
    if not chosen:
        raise ParameterError("a sweep must have at least one axis: give --steps, --presets, --axis or another")
    return Sweep(args.protocol, settings, chosen, args.grid, not args.no_references, args.repeats)


def _axis(pair: str) -> tuple[str, tuple[Any, ...]]:
    """Return an axis and its values: a JSON list, or words and numbers between commas."""
    key, equals, text = pair.partition("=")
    if not equals or not text.strip():
        raise ParameterError(f"--axis must be KEY=V,V, got {pair!r}")
    try:
        values = parse_json(text)
    except ValueError:
        values = [_word(word.strip()) for word in text.split(",")]
    return key, tuple(tuple(one) if isinstance(one, list) else one for one in _as_list(values))


def _as_list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _word(text: str) -> Any:
    """Return a number, true, false or null where the text is one, else the text."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def _setting(pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    if not equals or key not in SETTINGS:
        raise ParameterError(f"--set must be KEY=VALUE, KEY one of {', '.join(SETTINGS)}, got {pair!r}")
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


def _clips(args: argparse.Namespace, model: "Model", split: str) -> "Clips":
    from masktools.evaluation.clips import read_clips

    of_split = split == args.split
    return read_clips(
        args.source,
        model.sample_rate,
        split,
        args.seconds,
        kinds=args.kinds,
        seed=args.seed,
        n_each=args.n if of_split else None,
        min_seconds=min(args.seconds, args.min_seconds),
    )


def _wide_measures(result: "SweepResult") -> "list[Measure]":
    """Return the measures of the widest groups."""
    from masktools.evaluation.sweep_results import plotted_measures

    measures = plotted_measures(result)
    groups = list(dict.fromkeys(group for group, *_ in measures))
    wide = [group for group in groups if group.startswith("all")] or groups
    return [one for one in measures if one[0] in wide and len(result.points) > 1]


def _write_losses(result: "SweepResult", path: Path) -> None:
    """Write what each point costs, and what it loses against the first one."""
    from masktools.evaluation.sweep_results import loss_lines, named_points, priced_measures

    points = named_points(result)
    lines = loss_lines(points, priced_measures(result, _wide_measures(result)), points[0][0])
    lines += ["", f"Of all settings what differs from the first is named; the first is {points[0][0]}."]
    files.write_content(path, "\n".join(["# Cost and loss", "", *lines]) + "\n")


def _draw(result: "SweepResult", folder: Path) -> list[Path]:
    """Write the pictures of each measure of the widest groups, and return where they are."""
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
