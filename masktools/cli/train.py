"""Commands that make models, and that know them as files: cache, train, bundle, convert, push and models."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.files import counting
from masktools.cli.options import Command
from masktools.core.configs import parse_json
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
    from masktools.training.shards import build_cache

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
    """Return the data that a cache or shards are made of."""
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
    """Return the bundle to start from, which may be among the keys of the recipe, and the other keys."""
    if "--base" not in overrides:
        return given, overrides
    place = overrides.index("--base")
    if place + 1 == len(overrides):
        raise ParameterError("--base must be followed by the name or the folder of a bundle")
    return overrides[place + 1], overrides[:place] + overrides[place + 2 :]


def _of_both(base: str | None) -> list[str]:
    """Return the keys that pass a bundle to the training and to its data."""
    return [] if base is None else [f"--model.init_args.base={base}", f"--data.init_args.base={base}"]


CACHE = Command("decode recordings once, for training", _add_cache, _cache_command)
TRAIN = Command("train what a recipe says", _add_train, _train)


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="+", metavar="PART", help="a trained part")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="the new bundle")
    parser.add_argument(
        "--card", required=True, type=Path, metavar="MD", help="what the model is: its data, its use, its licence"
    )
    parser.add_argument("--name", metavar="NAME", help="the model's name; the folder's if left out")
    parser.add_argument(
        "--decoding", type=Path, metavar="JSON", help='settings that suit the model, as {"bwe": {"temperature": 4.5}}'
    )
    parser.add_argument(
        "--levels", type=Path, metavar="FILE", help="how loud upper bands are: what recipes/mini/levels.py writes"
    )
    parser.add_argument(
        "--int8",
        type=lambda text: text.split(","),
        default=(),
        metavar="PARTS",
        help="parts kept in 8 bits a weight, half as large: tokenizer (its decoder), transformer, vocoder, conditioner",
    )
    parser.add_argument("--base", metavar="NAME", help="the model, or folder, that gives the other parts")
    parser.add_argument(
        "--lent",
        type=lambda text: text.split(","),
        default=(),
        metavar="PARTS",
        help="parts that --base, a model in the package, lends: it is smaller, but of this version alone",
    )


def _bundle(args: argparse.Namespace) -> int:
    """Make a model of its trained parts: a folder of JSON, safetensors, a model card and checksums.

    Each PART is a checkpoint of `masktools train`, a file of `masktools convert`, the folder of a text-audio encoder,
    or the word clap. Parts that are not given are those of the model named by --base.
    """
    _check_new(args.output)
    settings = _decoding(args.decoding)
    try:
        card = args.card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"the model card must be a text file, got {args.card}") from error
    from masktools.cli.parts import read_part
    from masktools.core.levels import read_levels
    from masktools.pipeline import check_mel_settings, hub

    decoding = hub.read_decoding(settings)
    levels = None if args.levels is None else read_levels(args.levels)
    modules: dict[str, Any] = {}
    mels, learned_words = {}, None
    for source in args.parts:
        part = read_part(source)
        if part.name in modules:
            raise ParameterError(f"a model has one {part.name}, got a second one in {source}")
        modules[part.name] = part.module
        if part.conditioner is not None:
            learned_words = part.conditioner
        if part.mel is not None:
            mels[part.name] = part.mel
    if learned_words is not None:
        modules.setdefault("conditioner", learned_words)
    base = None if args.base is None else hub.load_bundle(args.base, device="cpu", precision="fp32")
    if base is not None:
        replaced = {"grain"} if {"tokenizer", "codec"} & set(modules) else set()  # it is of one decoder
        modules = {part: own for part, own in base.parts.items() if part not in replaced} | modules
        mels = {"base": base.mel} | mels
        levels = levels or getattr(base, "levels", None)
    family = _family_of(modules.get("transformer"))
    layout = hub.FAMILIES[family]
    if base is not None and isinstance(base, hub.WALKS[family]):
        decoding = {**base.decoding, **decoding}
    modules = {name: module for name, module in modules.items() if name in layout.parts and module is not None}
    if getattr(modules.get("codec"), "reads_waves", False):
        modules.pop("vocoder", None)
    missing = [name for name in layout.parts if name not in modules and name not in layout.optional]
    if missing:
        raise ParameterError(f"a model needs a {' and a '.join(missing)}: give them, or --base")
    mel = mels.get("base") or mels["transformer"]
    check_mel_settings(mel, mels)
    made: Any = hub.WALKS[family](mel, **modules, decoding=decoding)
    if levels is not None and made.shape.has_bands:
        made.levels = levels
    lent = dict.fromkeys(args.lent, args.base or "")
    folder = hub.save_bundle(made, args.output, card, args.name, args.int8, lent)
    print(f"{args.output}: {args.name or folder.name}, made of {', '.join(modules)}")
    return 0


def _family_of(transformer: Any) -> str:
    """Return the family of a transformer, by its kind."""
    from masktools.pipeline.hub import KINDS

    kinds = KINDS["transformer"].items()
    return next((kind for kind, (_, part_class) in kinds if isinstance(transformer, part_class)), "masked")


def _decoding(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        settings = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError(f"the settings of the decoding must be a JSON file, got {path}: {error}") from error
    if not isinstance(settings, dict) or not all(isinstance(own, dict | list) for own in settings.values()):
        raise ParameterError(f"the settings of the decoding must be given by job, got {path}")
    return settings


def _check_new(folder: Path) -> None:
    if folder.exists():
        raise ParameterError(f"the bundle's folder must not exist yet, got {folder}: choose another, or remove it")


_MAGNET = "magnet"
_CARD = """# {name}

MAGNeT, converted from the public checkpoint in a folder named {source!r}: a masked transformer over {n_streams} token
streams of EnCodec at {rate} Hz, trained on clips of {seconds:g} s, with {n_weights:.1f} million parameters.

- Paper: Ziv et al., Masked Audio Generation using a Single Non-Autoregressive Transformer (arXiv:2401.04577).
- Licence of the weights: CC-BY-NC-4.0. They are no part of masktools, and it binds what is made with them.
- Texts are read by {t5}, which is not in this folder: name a folder of transformers with it in MASKTOOLS_T5.
- The settings of the decoding are those that came with the checkpoint.
- It generates and fills gaps; it extends no bandwidth.
"""


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", help="specvqgan, hifigan, bigvgan, vit or magnet")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the file of weights; a folder for magnet")
    options.add_output(parser, "the part, for `masktools bundle`; the model's folder for magnet", metavar="OUT")
    parser.add_argument("--config", type=Path, metavar="JSON", help="its settings; config.json beside it if left out")
    parser.add_argument(
        "--codec", type=Path, metavar="FILE", help="magnet: the codec's file, where the folder only names a codec"
    )
    parser.add_argument(
        "--prior", type=Path, metavar="FOLDER", help="magnet: a folder of MusicGen over the same codec, which rescores"
    )
    options.add(parser, "--overwrite")


def _convert(args: argparse.Namespace) -> int:
    """Turn a checkpoint of another project into what masktools reads; nothing in it is executed.

    A file of specvqgan, hifigan or bigvgan becomes a part that `masktools bundle` takes. Of a vit, a vision transformer
    in timm's layout such as AudioMAE, the blocks are taken over into a transformer with which training begins. A folder
    of magnet, as it is published (state_dict.bin, compression_state_dict.bin), becomes a whole model: OUT is then its
    folder.
    """
    if args.kind == _MAGNET:
        return _convert_magnet(args)
    if args.codec is not None or args.prior is not None:
        raise ParameterError(f"--codec and --prior go with magnet, not with {args.kind}: leave them out")
    inputs = [args.checkpoint, *([args.config] if args.config else [])]
    files.check_outputs([args.output], inputs, ending=".safetensors", overwrite=args.overwrite)
    from masktools.cli.parts import write_part
    from masktools.mel import MelConfig
    from masktools.pipeline.convert import SPECVQGAN_MEL, convert_checkpoint

    module = convert_checkpoint(args.kind, args.checkpoint, args.config)
    unsaid = SPECVQGAN_MEL if args.kind == "specvqgan" else MelConfig()
    part, kind = write_part(args.output, module, getattr(module, "mel_config", unsaid))
    n_weights = sum(parameter.numel() for parameter in module.parameters())
    print(f"{args.output}: a {part} of kind {kind}, {n_weights / 1e6:.2f} million parameters")
    return 0


def _convert_magnet(args: argparse.Namespace) -> int:
    """Convert a folder of MAGNeT into a bundle."""
    if args.config is not None:
        raise ParameterError("magnet's settings stand in its own files: leave --config out")
    _check_new(args.output)
    from masktools.networks.conditioning import DeferredT5
    from masktools.pipeline import StreamWalk, hub
    from masktools.pipeline.convert import magnet_from

    made = magnet_from(args.checkpoint, args.codec, args.prior)
    n_weights = sum(parameter.numel() for parameter in made.transformer.parameters()) / 1e6
    card = _CARD.format(
        name=args.output.name,
        source=args.checkpoint.resolve().name,
        n_streams=made.codec.n_rows,
        rate=made.codec.config.sample_rate,
        seconds=made.seconds,
        n_weights=n_weights,
        t5=made.t5.name,
    )
    decoding = {"generate": made.decoding, "inpaint": made.decoding}
    conditioner = DeferredT5(made.t5.noted())
    walk = StreamWalk(
        made.mel, made.codec, made.transformer, conditioner=conditioner, prior=made.prior, decoding=decoding
    )
    hub.save_bundle(walk, args.output, card)
    print(f"{args.output}: a model of {n_weights:.2f} million parameters, of weights under CC-BY-NC-4.0")
    return 0


def _add_models(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no options."""


def _models(args: argparse.Namespace) -> int:
    """List the models at hand: those in the package, and those in the folders of the variable MASKTOOLS_MODELS."""
    from masktools.pipeline import hub

    models = hub.list_models()
    width = max(map(len, models), default=0)
    for name, folder in models.items():
        print(f"{name:<{width}}  {folder}")
    if not models:
        sys.stderr.write("no models at hand: put bundles into a folder and its name into MASKTOOLS_MODELS\n")
    return 0


MODELS = Command("list the models at hand", _add_models, _models)
BUNDLE = Command("make a model of its trained parts", _add_bundle, _bundle)
CONVERT = Command("import a checkpoint of another project", _add_convert, _convert)


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="FOLDER", help="the bundle: its folder, or the name of a model at hand")
    parser.add_argument("name", metavar="OWNER/NAME", help="the repository; it is made if it does not exist")
    parser.add_argument("--private", action="store_true", help="a new repository is for you alone")
    parser.add_argument(
        "--licence", metavar="ID", help="the hub's name of the licence; else the one that the card names"
    )
    parser.add_argument("--dataset", action="append", default=[], metavar="NAME", help="on the hub; may be repeated")
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        type=Path,
        metavar="JSON",
        help="of `masktools evaluate`; may be repeated",
    )
    parser.add_argument("--message", default="A masktools bundle", metavar="TEXT", help="of the commit")
    parser.add_argument("--dry-run", action="store_true", help="print the card as it would be, and write nothing")


def _push(args: argparse.Namespace) -> int:
    """Write a bundle to the Hugging Face hub, in one commit, as whom you are signed in there (`hf auth login`).

    The model card becomes the repository's README.md, with the head that the hub reads: licence, library, task, tags,
    and with --report what was measured. Afterwards everyone can load the model by its name: --model OWNER/NAME.
    """
    from masktools.core.downloads import is_hub_name, upload
    from masktools.core.errors import ParameterError
    from masktools.pipeline.bundles import files_for_hub, find_bundle, verify_files

    if not is_hub_name(args.name):
        raise ParameterError(f"the repository must be OWNER/NAME, got {args.name!r}")
    folder = find_bundle(args.model)
    verify_files(folder)
    files = files_for_hub(folder, args.licence, args.dataset, args.report)
    if args.dry_run:
        print(files["README.md"].decode(), end="")
        return 0
    print(upload(folder, args.name, True if args.private else None, files=files, message=args.message))
    return 0


PUSH = Command("write a model to the Hugging Face hub", _add_push, _push)
