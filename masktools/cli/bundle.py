"""Make a model of its trained parts: a folder of JSON, safetensors, a model card and checksums.

Each PART is a checkpoint of `masktools train`, a file of `masktools convert`, the folder of a text-audio encoder, or
the word clap. Parts that are not given are those of the model named by --base.
"""

import argparse
from pathlib import Path
from typing import Any

from masktools.core.errors import ParameterError
from masktools.core.jsons import parse_json

HELP = "make a model of its trained parts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
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


def run(args: argparse.Namespace) -> int:
    """Read the parts, put them together, write the bundle."""
    if args.output.exists():
        raise ParameterError(f"the bundle's folder must not exist yet, got {args.output}: choose another, or remove it")
    settings = _decoding(args.decoding)
    if not args.card.is_file():
        raise ParameterError(f"the model card must be a text file, got {args.card}")
    try:
        card = args.card.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
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
        modules = {**base.parts, **modules}
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
    """Return the family of a transformer, which is its kind."""
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
