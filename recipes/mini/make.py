"""Train a model like mini from recordings to bundle: all recipes of this folder in order.

Usage: python recipes/mini/make.py SOURCE... [-o mini-run] [--base mini] [--set STAGE KEY=VALUE] [--skip STAGE]

SOURCE is a manifest, a folder, or what else `masktools cache` reads. Everything is written into the folder given with
-o: the cache, a folder of each stage's checkpoints and logs, at last the bundle, its card and its report. What was
done is not done again: after a kill, the same command goes on where it stopped, within a stage too.

Stages: cache, text (a sentence encoder distilled; needs the package of one and a list of words, see text.yaml),
conditioner (sounds and texts), tokenizer (tokens by reconstruction), decoder (texture), grain (what that lacks at
random), vocoder, transformer, captions (the transformer goes on with twice the blocks, mostly from captions), bundle,
report, card (the figures of the report go into the head of the bundle's card, for the Hugging Face hub).
--set changes a key of a stage's recipe, as in --set transformer trainer.max_steps=9000; --skip leaves a stage out, and
what it would have made is taken from the bundle named by --base.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TRAINED = ("text", "conditioner", "tokenizer", "decoder", "grain", "vocoder", "transformer", "captions")
STAGES = ("cache", *TRAINED, "bundle", "report", "card")
REPORTS, MAKE_CARD = "reports", str(ROOT / "docs" / "make_card.py")
CHECKPOINT = {"conditioner": "best"}  # the best by captions; of all others the last


def keys_of(stage, made):
    """Return the keys by which the recipe of a stage is told where its data and the stages before it are."""
    data, model = "data.init_args", "model.init_args"
    texts = {f"{data}.prompts": HERE / "prompts.json"}
    transformer = {
        f"{data}.cache": "cache",
        f"{data}.conditioner": made["conditioner"],
        f"{model}.tokenizer_checkpoint": made["tokenizer"],
        f"{model}.conditioner": made["conditioner"],
    }
    return {
        "tokenizer": {f"{data}.cache": "cache"},
        "decoder": {f"{data}.cache": "cache", f"{model}.checkpoint": made["tokenizer"]},
        "grain": {f"{data}.cache": "cache", f"{model}.checkpoint": made["decoder"]},
        "text": {f"{data}.cache": "cache", f"{data}.folder": "runs/texts", **texts},
        "conditioner": {
            f"{data}.cache": "cache",
            f"{data}.synonyms": HERE / "synonyms.json",
            f"{model}.start_checkpoint": made["text"],
            **texts,
        },
        "vocoder": {f"{data}.cache": "cache", f"{model}.tokenizer_checkpoint": made["decoder"]},
        "transformer": transformer,
        "captions": {**transformer, f"{model}.start_checkpoint": made["transformer"]},
    }[stage]


def command_of(stage, args, made):
    """Return the command of a stage, to be run in the folder of the run."""
    masktools = [sys.executable, "-m", "masktools"]
    own = [f"--{key}" for name, key in args.set if name == stage]
    if stage == "cache":
        return [*masktools, "cache", *map(str, args.sources), "-o", "cache"]
    if stage in TRAINED:
        keys = [f"--{key}={value}" for key, value in keys_of(stage, made).items()]
        return [*masktools, "train", str(HERE / f"{stage}.yaml"), "--resume", *keys, *own]
    if stage == "bundle":
        parts = [
            made[part] for part in ("decoder", "grain", "vocoder", "captions", "conditioner") if made[part] != args.base
        ]
        card = ["--card", "card.md", "--decoding", str(HERE / "decoding.json"), "--base", args.base]
        card += ["--int8", "tokenizer,transformer"]  # a third of the bundle, for 0.1 % of the tokenizer's L1
        return [*masktools, "bundle", *dict.fromkeys(parts), *card, "-o", args.name]
    if stage == "card":
        return [
            sys.executable,
            MAKE_CARD,
            "--into",
            args.name,
            "--report",
            *map(str, sorted(args.reports.glob("*.json"))),
        ]
    return [
        sys.executable,
        str(ROOT / "docs" / "model_report.py"),
        "cache",
        "--model",
        args.name,
        "-o",
        "report.md",
        "--keep",
        REPORTS,
        *own,
    ]


def made_by(args):
    """Return where each trained stage leaves what it makes; for those that are left out, the bundle."""
    made = {
        stage: args.base if stage in args.skip else f"runs/mini-{stage}/{CHECKPOINT.get(stage, 'last')}.ckpt"
        for stage in TRAINED
    }
    if "decoder" in args.skip:  # the tokenizer as it came from its first stage
        made["decoder"] = made["tokenizer"]
    if "captions" in args.skip:  # the transformer as it came from its first stage
        made["captions"] = made["transformer"]
    if "text" in args.skip and "conditioner" not in args.skip:
        made["text"] = args.base
    return made


def write_card(args, folder):
    """Write the model card: what it is, and the attributions of the manifests among the sources."""
    manifests = [source for source in args.sources if source.is_file()]
    command = [sys.executable, MAKE_CARD, str(HERE / "card-head.md"), *map(str, manifests)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 of this checkout
    (folder / "card.md").write_text(done.stdout, encoding="utf-8")


def pair(text):
    """Return a key=value without the dashes before it."""
    key, equals, _ = text.lstrip("-").partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"KEY=VALUE is wanted, got {text!r}")
    return text.lstrip("-")


def main(arguments=None):
    """Run the stages that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, default=Path("mini-run"), help="the folder of the run")
    parser.add_argument("--name", default="my-mini", help="of the bundle")
    parser.add_argument("--base", default="mini", help="the bundle that gives what is skipped")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("STAGE", "KEY=VALUE"))
    parser.add_argument("--skip", action="append", default=[], choices=(*TRAINED, "report"), metavar="STAGE")
    args = parser.parse_args(arguments)
    args.set = [(stage, pair(text)) for stage, text in args.set]
    unknown = sorted({stage for stage, _ in args.set} - set(STAGES))
    if unknown:
        parser.error(f"no stage {unknown[0]!r}: they are {', '.join(STAGES)}")
    for source in args.sources:
        if not source.exists():
            parser.error(f"no source at {source}")
    args.sources = [source.resolve() for source in args.sources]
    folder, done, args.reports = args.output, args.output / "done", args.output.resolve() / REPORTS
    if "report" in args.skip:
        args.skip.append("card")
    done.mkdir(parents=True, exist_ok=True)
    made = made_by(args)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # a checkout need not be installed
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    for stage in STAGES:
        if stage in args.skip or (done / stage).exists():
            continue
        print(f"== {stage}", flush=True)
        if stage == "bundle":
            write_card(args, folder)
        code = subprocess.run(command_of(stage, args, made), cwd=folder, env=environment, check=False).returncode  # noqa: S603
        if code and not (stage == "cache" and code == 3):  # 3: some recordings could not be decoded, and were named
            print(f"the stage {stage} ended with {code}: the same command goes on with it", file=sys.stderr)
            return code
        (done / stage).touch()
    print(f"the model is in {folder / args.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
