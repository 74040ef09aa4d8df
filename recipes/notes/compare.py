"""Tokenizers over scales side by side: channel multiplexing by 4 and by 2, truncation, none, and a shared codebook.

Usage: python recipes/notes/compare.py NOTES --classifier CKPT [-o compare-run] [--steps 1000] [--n 20] [--only NAMES]

NOTES is what recipes/notes/tokenizer.yaml reads: NSynth's files, or those of `python -m recipes.renders --notes`. Each
variant is trained by that recipe with other settings, for the same number of steps of the same batches, and measured as
`masktools evaluate notes` does, on notes of instruments that it was not trained on. All have one grid, 12 x 8 cells,
and thereby as many tokens; the truncation has the network of multiplexing by (2, 2), and sees in place of four channels
the lowest half of the bands and the first half of the frames alone. What was done is not done again. The table is
written to compare-run/compare.md.

What is counted: arithmetic of encoding and decoding one note, values that the layers give out meanwhile (memory of
training grows with them), and the processor time of both on this machine, the shortest of several.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from masktools.evaluation.embedders import MelStatistics
from masktools.evaluation.notes import CEILING, REAL, NoteSettings, evaluate_notes, read_note_clips
from masktools.model import Model
from masktools.networks.scales import ScaleTransformer, ScaleTransformerConfig
from masktools.pipeline import ScaleWalk
from masktools.training.notes import load_note_classifier
from masktools.training.scales import load_scale_tokenizer

HERE = Path(__file__).resolve().parent
GRID = [[3, 1], [12, 1], [12, 2], [12, 8]]
VARIANTS = {
    "CMX (4, 4)": {"multiplex": [4, 4], "widths": [64, 128], "scales": GRID},
    "CMX (4, 4), shared codebook": {
        "multiplex": [4, 4],
        "widths": [64, 128],
        "scales": GRID,
        "shared_codebook": True,
        "n_codes": 1024,
    },
    "CMX (2, 2)": {"multiplex": [2, 2], "widths": [32, 64, 128], "scales": GRID},
    "none": {"multiplex": [1, 1], "widths": [16, 32, 64, 128], "scales": GRID},
    "truncation": {"multiplex": [1, 1], "widths": [32, 64, 128], "scales": GRID, "truncate": [48, 32]},
}
MEASURES = ("MAE", "MSE", "FAD", "pitch_50c", "pitch", "family", "PKID", "IKID", "NDB/k")


def folder_of(out, name):
    """Return the folder of a variant."""
    return out / "".join(char if char.isalnum() else "-" for char in name).strip("-")


def train(name, args):
    """Train a variant, or go on with it."""
    folder = folder_of(args.output, name)
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    keys = {f"model.init_args.tokenizer.{key}": json.dumps(value) for key, value in VARIANTS[name].items()}
    keys |= {"model.init_args.n_steps": args.steps, "trainer.max_steps": args.steps}
    keys |= {"data.init_args.cache": args.output.resolve() / "notes-cache"}
    keys |= {"data.init_args.sources": json.dumps([str(source.resolve()) for source in args.sources])}
    words = [f"--{key}={value}" for key, value in (*keys.items(), *args.set)]
    resume = ["--resume"] if (folder / "runs/notes-tokenizer/last.ckpt").exists() else []
    command = [sys.executable, "-m", "masktools", "train", str(HERE / "tokenizer.yaml"), *resume, *words]
    subprocess.run(command, cwd=folder, check=True)  # noqa: S603
    (folder / "done").touch()


def cost(tokenizer):
    """Return GFLOP, values given out (MB in fp32) and milliseconds of one thread for encoding and decoding a note."""
    mel = torch.zeros(1, tokenizer.config.n_mels, 64)
    given = []
    hooks = [
        layer.register_forward_hook(lambda *made: given.append(made[2].numel()))
        for layer in tokenizer.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.LayerNorm | torch.nn.SiLU)
    ]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        tokenizer.decode(tokenizer.encode(mel), 64)
    for hook in hooks:
        hook.remove()
    times = []
    with torch.inference_mode():
        for _ in range(10):
            started = time.process_time()
            tokenizer.decode(tokenizer.encode(mel), 64)
            times.append(time.process_time() - started)
    return counter.get_total_flops() / 1e9, sum(given) * 4 / 1e6, 1000 * min(times)


def measure(name, args):
    """Return the cost of a variant, the figures of notes that it rebuilds, and those of real ones."""
    checkpoint = folder_of(args.output, name) / "runs/notes-tokenizer/last.ckpt"
    tokenizer = load_scale_tokenizer(str(checkpoint))
    _, mel = load_note_classifier(args.classifier)
    sizes = tokenizer.config
    transformer = ScaleTransformer(
        ScaleTransformerConfig(sizes.scales, sizes.n_codes, sizes.code_dim, 8, width=16, depth=1, n_heads=1)
    )
    model = Model(ScaleWalk(mel, tokenizer, transformer, name=name), threads=1)
    clips = read_note_clips(args.sources, mel.sample_rate, 64 * mel.hop_length, "test", args.n)
    settings = NoteSettings(classifier=args.classifier, methods=(REAL, CEILING))
    report = evaluate_notes(model, clips, settings, [MelStatistics()])
    found = {figure.metric: figure.value for figure in report.figures if figure.method == CEILING}
    real = {figure.metric: figure.value for figure in report.figures if figure.method == REAL}
    return cost(tokenizer), found, real


def main():
    """Train what is not trained, measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, metavar="NOTES")
    parser.add_argument("-o", "--output", type=Path, default=Path("compare-run"))
    parser.add_argument("--classifier", required=True, help="a checkpoint of recipes/notes/classifier.yaml")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--n", type=int, default=20, help="notes of each family")
    parser.add_argument("--only", default=";".join(VARIANTS), help="names of variants, separated by semicolons")
    parser.add_argument("--set", action="append", default=[], type=lambda text: tuple(text.split("=", 1)))
    args = parser.parse_args()
    if unknown := set(args.only.split(";")) - set(VARIANTS):
        parser.error(f"--only: no variant {', '.join(map(repr, unknown))}: there are {'; '.join(VARIANTS)}")
    lines = [f"| variant | {' | '.join(MEASURES)} | GFLOP | values, MB | ms |", "|" + "---|" * (len(MEASURES) + 4)]
    for name in args.only.split(";"):
        train(name, args)
        (gflop, megabytes, milliseconds), found, real = measure(name, args)
        cells = [f"{found[measure]:.3f}" if measure in found else "-" for measure in MEASURES]
        lines.append(f"| {name} | {' | '.join(cells)} | {gflop:.3f} | {megabytes:.1f} | {milliseconds:.1f} |")
        print(lines[-1], flush=True)
        cells = [f"{real[measure]:.3f}" if measure in real else "-" for measure in MEASURES]
        table = [*lines, f"| real notes | {' | '.join(cells)} | - | - | - |"]
        (args.output / "compare.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print(f"{args.output / 'compare.md'}")


if __name__ == "__main__":
    main()
