"""Commands that train: cache prepares recordings, train does what a recipe says."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import options
from masktools.cli.files import counting
from masktools.cli.options import Command
from masktools.core.errors import ParameterError

if TYPE_CHECKING:
    from masktools.mel import MelConfig
    from masktools.training.token_cache import Tokenizer

KINDS = ("auto", "folder", "manifest", "audioset", "audiocaps")
SOME_FAILED = 3


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="which recordings")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="the cache")
    parser.add_argument(
        "--sample-rate", type=options.whole_number(1_000, 192_000), default=22_050, metavar="HZ", help="of the cache"
    )
    parser.add_argument(
        "--kind", choices=KINDS, default="auto", metavar="NAME", help=f"of the sources: {', '.join(KINDS)}"
    )
    parser.add_argument("--non-commercial", action="store_true", help="take recordings of such licences too")
    parser.add_argument("--workers", type=options.whole_number(1), default=1, metavar="N", help="processes")
    parser.add_argument("--shards", action="store_true", help="write tar shards, for more than fits one disk")
    tokens = parser.add_argument_group("tokens, of a cache or of shards made before")
    tokens.add_argument("--tokens", metavar="TOKENIZER", help="its checkpoint or file, or a bundle")
    tokens.add_argument("--conditioner", metavar="FOLDER", help="a text-audio encoder, a bundle, or CLAP's checkpoint")
    tokens.add_argument(
        "--columns", type=options.whole_number(2), default=53, metavar="N", help="columns of a clip; 53 if left out"
    )
    tokens.add_argument("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps")


def _cache_command(args: argparse.Namespace) -> int:
    """Decode recordings once, for training, or compute their tokens once, for training the transformer.

    A source is a folder of audio, a manifest (CSV with path and split, and perhaps labels, caption, kind, origin and
    nc, which is 1 for a non-commercial licence), AudioSet or AudioCaps. What was killed goes on where it stopped when
    the same command is given again. Recordings that cannot be decoded are skipped, and named at the end.
    """
    if (args.tokens is None) != (args.conditioner is None):
        raise ParameterError("--tokens and --conditioner must be given together")
    if args.tokens is not None and (args.shards or len(args.sources) != 1):
        raise ParameterError("--tokens takes one audio cache or one folder of shards, made before without --tokens")
    try:
        made = _tokens(args) if args.tokens is not None else _shards(args) if args.shards else _cache(args)
    except ModuleNotFoundError as error:
        raise ParameterError(f"training needs the package {error.name}: pip install 'masktools[train]'") from error
    for path, reason in made:
        sys.stderr.write(f"masktools: skipped: {path}: {reason}\n")
    return SOME_FAILED if made else 0


def _cache(args: argparse.Namespace) -> list[list[str]]:
    from masktools.training.audio_cache import build_cache

    cache = build_cache(*_asked(args))
    hours = sum(r.n_samples for r in cache.recordings) / cache.sample_rate / 3600
    missing = f", {cache.n_missing} missing" if cache.n_missing else ""
    print(f"{args.output}: {len(cache)} recordings, {hours:.2f} hours, {len(cache.skipped)} skipped{missing}")
    return cache.skipped


def _shards(args: argparse.Namespace) -> list[list[str]]:
    from masktools.training.shards import skipped_in, write_shards

    shards = write_shards(*_asked(args))
    skipped, n_missing = skipped_in(args.output)
    missing = f", {n_missing} missing" if n_missing else ""
    print(f"{args.output}: {len(shards.shards)} shards, {len(shards)} samples, {len(skipped)} skipped{missing}")
    return skipped


def _asked(args: argparse.Namespace) -> tuple[Any, ...]:
    """Return what a cache and shards are made of."""
    of_them = (args.sample_rate, args.non_commercial, counting("recordings"), args.workers, args.kind)
    return (args.sources, args.output, *of_them)


def _tokens(args: argparse.Namespace) -> list[list[str]]:
    from masktools.core.runtime import resolve_device
    from masktools.training.checkpoints import load_conditioner
    from masktools.training.token_cache import build_token_cache

    device = str(resolve_device(args.device))
    tokenizer, mel = _tokenizer(args.tokens)
    cache = build_token_cache(
        args.sources[0],
        args.output,
        tokenizer,
        load_conditioner(args.conditioner),
        mel,
        args.columns,
        args.workers,
        counting("recordings"),
        device,
    )
    n_tokens = cache.n_rows * sum(item.n_cols for item in cache.recordings)
    print(f"{args.output}: {len(cache)} recordings, {n_tokens} tokens of {cache.n_codes}, {len(cache.skipped)} skipped")
    return cache.skipped


def _tokenizer(source: str) -> "tuple[Tokenizer, MelConfig]":
    from masktools.core.configs import from_dict
    from masktools.mel import MelConfig
    from masktools.training.checkpoints import load_tokenizer, part_description

    return load_tokenizer(source), from_dict(MelConfig, part_description(source, "tokenizer")["mel"])


def _add_train(parser: argparse.ArgumentParser) -> None:
    """Add the recipe; everything after it belongs to the recipe, but for --resume."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.yaml", help="what to train, on what, and how")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    parser.add_argument("--base", metavar="MODEL", help="the bundle to begin with, for a recipe that fine-tunes one")
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="--KEY VALUE", help="keys to set otherwise")


def _train(args: argparse.Namespace) -> int:
    """Train what a recipe says; every key of it can be overridden, as in --trainer.max_steps 1000.

    With --resume a run goes on from its newest checkpoint, and begins anew if it has none yet.
    """
    overrides = [word for word in args.overrides if word != "--resume"]
    resume = args.resume or len(overrides) < len(args.overrides)
    base, overrides = _base(args.base, overrides)
    try:
        from masktools.training.run import run_recipe

        report = run_recipe(args.recipe, [*_of_both(base), *overrides], resume)
    except ModuleNotFoundError as error:
        missing = f"the package {error.name}" if error.name else f"more packages ({' '.join(str(error).split())})"
        raise ParameterError(f"training needs {missing}: pip install 'masktools[train]'") from error
    if report is None:  # another process of the same run reports
        return 0
    print(report.to_text())
    if not report.finished:
        begun_with = ["--base", base] if base else []
        words = shlex.join(["masktools", "train", str(args.recipe), "--resume", *begun_with, *overrides])
        print(f"  next        {words}")
    elif report.checkpoint:
        print(f"  next        masktools bundle {report.checkpoint} --base {base or 'mini'} --card CARD.md -o MODEL")
    return 0


def _base(given: str | None, overrides: list[str]) -> tuple[str | None, list[str]]:
    """Return the bundle to begin with, which may stand among the keys of the recipe, and the other keys."""
    if "--base" not in overrides:
        return given, overrides
    place = overrides.index("--base")
    if place + 1 == len(overrides):
        raise ParameterError("--base must be followed by the name or the folder of a bundle")
    return overrides[place + 1], overrides[:place] + overrides[place + 2 :]


def _of_both(base: str | None) -> list[str]:
    """Return the keys that say a bundle to the training and to its data."""
    return [] if base is None else [f"--model.init_args.base={base}", f"--data.init_args.base={base}"]


CACHE = Command("decode recordings once, for training", _add_cache, _cache_command)
TRAIN = Command("train what a recipe says", _add_train, _train)
