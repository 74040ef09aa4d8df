"""Measure the bundled model on recordings it has not heard, check its gates, and write what was found.

Usage: python docs/model_report.py SOURCE [--model mini] [--n 24] [-o docs/model-report.md]

SOURCE is an audio cache, a manifest or a folder. Its split `test` is measured; its split `train` is what the model may
know. Prints every table and the gates, and writes them as Markdown; the exit code is 0 whether the gates hold or not,
since a gate that fails is a result, too.
"""

import argparse
import sys
from pathlib import Path

import masktools
from masktools.evaluation.clips import read_clips
from masktools.evaluation.embedders import parse_embedder
from masktools.evaluation.gates import gates_of, gates_table
from masktools.evaluation.protocols.bandwidth import evaluate_bandwidth
from masktools.evaluation.protocols.conditioning import evaluate_conditioning
from masktools.evaluation.protocols.generation import GenerationSettings, evaluate_generation
from masktools.evaluation.protocols.inpainting import evaluate_inpainting
from masktools.evaluation.protocols.tokenizer import evaluate_tokenizer
from masktools.evaluation.protocols.vocoder import evaluate_vocoder

PARTS = ("tokenizer", "vocoder", "inpaint", "bwe", "conditioning", "generate")
LONG = {"music", "environment"}  # kinds whose recordings are long enough for gaps of two seconds


def measure(part, model, source, n, seed):
    """Return the report of one part."""
    rate = model.sample_rate
    embedders = [parse_embedder(name, model) for name in ("mel", "own")]
    if part in ("inpaint", "bwe"):
        clips = read_clips(source, rate, seconds=8.0, n_each=n, min_seconds=4.5, kinds=LONG, seed=seed)
    else:
        clips = read_clips(source, rate, seconds=10.0, n_each=n, min_seconds=1.0, seed=seed)
    if part == "generate":
        training = read_clips(source, rate, split="train", n_each=6 * n, min_seconds=1.0, seed=seed)
        settings = GenerationSettings(n_prompts=2 * n, n_unconditional=n)
        return evaluate_generation(model, clips, settings, embedders, said(part), training=training)
    evaluate = {
        "tokenizer": evaluate_tokenizer,
        "vocoder": evaluate_vocoder,
        "inpaint": evaluate_inpainting,
        "bwe": evaluate_bandwidth,
        "conditioning": evaluate_conditioning,
    }[part]
    return evaluate(model, clips, embedders=embedders, progress=said(part))


def said(part):
    """Return a progress callback that says where things stand on stderr."""

    def tell(done, total):
        sys.stderr.write(f"\r{part}: {done} of {total} ")
        if done >= total:
            sys.stderr.write("\n")

    return tell


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="an audio cache, a manifest or a folder")
    parser.add_argument("--model", default="mini", help="name or folder of a bundle")
    parser.add_argument("--n", type=int, default=24, help="recordings of each kind, at most")
    parser.add_argument("--parts", default=",".join(PARTS), help="only these, joined with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/model-report.md"))
    args = parser.parse_args()
    model = masktools.load(args.model)
    reports = {}
    for part in args.parts.split(","):
        reports[part] = measure(part, model, args.source, args.n, args.seed)
        print(reports[part].to_text(), flush=True)
    gates = gates_of(reports)
    print(gates_table(gates))
    n_hold = sum(gate.holds for gate in gates)
    print(f"{n_hold} of {len(gates)} gates hold")
    text = [f"# What {args.model} reaches on recordings it has not heard\n"]
    text.append(f"Made by `make model-report`: {n_hold} of {len(gates)} gates hold. Gates compare point estimates,")
    text.append("the tables below give their intervals.\n\n" + gates_table(gates))
    text += [report.to_markdown() for report in reports.values()]
    args.output.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
