"""Train the parts of mini that a GPU speeds up most in calls of a few minutes, on a machine that has no audio.

Usage, on the machine that has the recordings (everything that travels goes into one folder of at most 64 MiB):

    python recipes/mini/gpu.py pack CACHE --conditioner runs/mini-conditioner/best.ckpt \
        --tokenizer runs/mini-tokenizer/last.ckpt [--wheels] -o gpu-pack

and on the one with the GPU, in the checkout, with what comes back in OUT (files of at most 16 MiB):

    bash recipes/mini/gpu.sh gpu-pack OUT tokenizer 480       # stage A; or decoder, transformer, measure
    bash recipes/mini/gpu.sh gpu-pack OUT transformer 480     # seconds of training

Join the files again with `cat NAME.part-* > NAME`. They hold weights alone, in half precision, and take the place of a
checkpoint: `masktools bundle`, and the next `pack`, read them.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
LIMIT, PART = 64 * MIB, 16 * MIB
WHEELS = (
    *("lightning", "lightning-utilities", "torchmetrics", "jsonargparse", "typeshed-client", "importlib-resources"),
    *(
        "docstring-parser",
        "pyyaml",
        "safetensors",
        "jaxtyping",
        "wadler-lindig",
        "soxr",
        "soundfile",
        "cffi",
        "pycparser",
    ),
    "timm",
)
BATCHES = {"tokenizer": 256, "decoder": 128, "transformer": 256}


def pack(args):
    """Write the folder that travels: mel spectrograms, the parts that training needs, perhaps packages."""
    from masktools.mel import MelConfig
    from masktools.training.captioned_mels import captioned_mels, pack_mels
    from masktools.training.shards import AudioCache

    args.output.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer", "decoder", "conditioner"):
        if source := getattr(args, name):
            export(source, args.output / f"{name}.safetensors", "conditioner" if name == "conditioner" else "tokenizer")
    if args.wheels:
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "-d",
            str(args.output / "wheels"),
            "--only-binary=:all:",
        ]
        download += ["--python-version", args.python, *WHEELS, "--no-deps"]
        subprocess.run(download, check=True)  # noqa: S603
    used = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file() and path.suffix != ".mels")
    recordings = captioned_mels(AudioCache(args.cache), MelConfig(f_max=11_025.0), args.mels)
    chosen = in_turn([r for r in recordings if r.split in ("train", "valid")])
    n = pack_mels(chosen, args.output / "clips.mels", args.limit_mib * MIB - used)
    hours = sum(len(r.mel) for r in chosen[:n]) * 256 / 22_050 / 3600
    print(f"{args.output}: {n} of {len(recordings)} recordings, {hours:.1f} hours")


def in_turn(recordings):
    """Return validation recordings first, then training ones of all kinds in turn, longest first."""
    valid = [r for r in recordings if r.split == "valid"][:200]
    kinds = sorted({r.kind for r in recordings})
    heaps = [
        sorted((r for r in recordings if r.split == "train" and r.kind == k), key=lambda r: -len(r.mel)) for k in kinds
    ]
    train = [heap[i] for i in range(max(map(len, heaps), default=0)) for heap in heaps if i < len(heap)]
    return valid + train


def export(source, target, part):
    """Write the weights of a part, of a checkpoint, a part file or a bundle, as one file in half precision."""
    from safetensors.torch import save_file

    from masktools.networks.packing import halved
    from masktools.training.checkpoints import network_state, part_description

    told = {"masktools": json.dumps(part_description(source, part))}
    save_file(halved(network_state(source, part=part)), target, metadata=told)


def train(args):
    """Train one stage for some seconds, and leave its weights in parts of 16 MiB."""
    stage, place, args.work = args.stage, args.pack.resolve(), args.work.resolve()
    frames = 848 if stage == "transformer" else 256
    batch = args.batch_size or BATCHES[stage]
    keys = {
        "data": "masktools.training.mel_clips.MelClipData",
        "data.init_args.cache": place / "clips.mels",
        "data.init_args.mels": args.work / "mels",
        "data.init_args.mel.f_max": 11025.0,
        "data.init_args.n_frames": frames,
        "data.init_args.batch_size": batch,
        "data.init_args.n_workers": args.workers,
        "trainer.accelerator": args.accelerator,
        "trainer.devices": 1,
        "trainer.precision": "bf16-mixed",
        "trainer.max_time": f"00:{args.seconds // 3600:02d}:{args.seconds // 60 % 60:02d}:{args.seconds % 60:02d}",
        "model.init_args.n_steps": args.steps,
        "trainer.max_steps": args.steps * (2 if stage == "decoder" else 1),
    }
    if stage == "decoder":
        keys["model.init_args.checkpoint"] = place / "tokenizer.safetensors"
    if stage == "transformer":
        keys["model.init_args.tokenizer_checkpoint"] = place / "tokenizer.safetensors"
        keys["model.init_args.conditioner"] = keys["data.init_args.conditioner"] = place / "conditioner.safetensors"
    recipe = args.work / f"{stage}.yaml"
    args.work.mkdir(parents=True, exist_ok=True)
    recipe.write_text(without_data((HERE / f"{stage}.yaml").read_text(encoding="utf-8")), encoding="utf-8")
    words = [f"--{key}={value}" for key, value in keys.items()] + [f"--{word}" for word in args.set]
    command = [sys.executable, "-m", "masktools", "train", str(recipe.resolve()), *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(command, cwd=args.work, env=environment, check=True)  # noqa: S603
    args.output.mkdir(parents=True, exist_ok=True)
    made = args.work / f"{stage}.safetensors"
    export(
        args.work / "runs" / f"mini-{stage}" / "last.ckpt",
        made,
        "transformer" if stage == "transformer" else "tokenizer",
    )
    cut(made, args.output)
    for log in sorted((args.work / "runs" / f"mini-{stage}").glob("version_*/metrics.csv")):
        (args.output / f"{stage}-{log.parent.name}.csv").write_bytes(log.read_bytes())


def without_data(recipe):
    """Return a recipe without its data, which are another class here."""
    lines, kept, inside = recipe.splitlines(keepends=True), [], False
    for line in lines:
        inside = line.startswith("data:") or (inside and line.startswith(" "))
        if not inside:
            kept.append(line)
    return "".join(kept)


def cut(path, folder):
    """Write a file in numbered parts that another machine's limits let through."""
    content = path.read_bytes()
    for number, start in enumerate(range(0, len(content), PART)):
        (folder / f"{path.name}.part-{number:02d}").write_bytes(content[start : start + PART])


def main():
    """Pack here, or train there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write the folder that travels")
    packing.add_argument("cache", type=Path)
    packing.add_argument("-o", "--output", type=Path, default=Path("gpu-pack"))
    packing.add_argument("--mels", default="runs/mels", help="where the mel spectrograms of the cache are kept")
    for part in ("tokenizer", "decoder", "conditioner"):
        packing.add_argument(f"--{part}", metavar="CHECKPOINT")
    packing.add_argument("--wheels", action="store_true", help="take the packages along that the other machine lacks")
    packing.add_argument("--python", default="3.12", help="of the other machine")
    packing.add_argument("--limit-mib", type=int, default=60)
    training = commands.add_parser("train", help="train one stage for some seconds")
    training.add_argument("pack", type=Path)
    training.add_argument("output", type=Path)
    training.add_argument("stage", choices=tuple(BATCHES))
    training.add_argument("seconds", type=int)
    training.add_argument("--steps", type=int, default=4000, help="of the schedule: about what the seconds allow")
    training.add_argument("--batch-size", type=int)
    training.add_argument("--workers", type=int, default=12)
    training.add_argument("--accelerator", default="gpu")
    training.add_argument("--work", type=Path, default=Path("gpu-work"))
    training.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the recipe")
    args = parser.parse_args()
    (pack if args.command == "pack" else train)(args)


if __name__ == "__main__":
    main()
