"""Draw notes of mini-mars from coarse to fine, or time a model over scales beside SpecMaskGIT.

Usage: python docs/measure_notes.py [pictures | speed]

Pictures go to docs/pictures/notes-WORD.png: the spectrogram of the tokens of one scale, of two, and so on, and that of
the note that is heard. Speed is the ratio of processor time, not of the clock's, of one thread: rounds of both models
take turns, so that what else the machine does falls on both.
"""

import sys
import time
from pathlib import Path
from statistics import median

import torch

import masktools
from masktools.benchmark.models import random_condition, random_pipeline
from masktools.benchmark.peers import build_peer
from masktools.review.picture import draw_refinements
from masktools.solver import SolverConfig

PICTURES = Path(__file__).parent / "pictures"
NOTES = {"clarinet": "a clarinet, C4", "guitar": "a guitar, E3", "marimba": "a marimba, A4", "trumpet": "a trumpet, C5"}
N_STEPS, ROUNDS = 16, 3  # of SpecMaskGIT; of which the median is taken


def draw_notes():
    """Draw each note."""
    model, drawn = masktools.load("mini-mars", device="cpu"), []
    model.pipeline.on_solved = drawn.append
    names = [f"to {rows}x{cols}" for rows, cols in model.pipeline.pyramid.scales]
    for word, text in NOTES.items():
        (note,) = model.generate(text, seed=3)
        heard = model.pipeline.to_mel(torch.from_numpy(note.samples)[None])
        tokens = drawn[-1].tokens
        found = [model.pipeline.to_spectrogram(tokens, n) for n in range(1, len(names) + 1)]
        panels = [one[0].numpy() for one in (*found, heard[..., : found[0].shape[-1]])]
        (PICTURES / f"notes-{word}.png").write_bytes(draw_refinements(panels, [*names, "heard"]))


@torch.inference_mode()
def compare_speed():
    """Print what both take for 9.85 s of sound at the paper's size, with guidance, in bf16."""
    torch.set_num_threads(1)
    masked = random_pipeline("paper", device="cpu", precision="bf16")
    peer = build_peer("scales", torch.device("cpu"))
    sizes = masked.transformer.config
    tokens = torch.zeros(1, sizes.n_rows, sizes.n_cols, dtype=torch.long)
    condition, settings = random_condition(masked, 1), SolverConfig(n_steps=1, guidance=3.0)

    def over_scales():
        with torch.autocast("cpu", torch.bfloat16):
            for call, times in peer.calls.values():
                for _ in range(times):
                    call()

    def one_step():
        masked.fill(tokens, torch.ones_like(tokens, dtype=torch.bool), [0], settings, condition)

    def rest():
        masked.decode(tokens)

    found = {call: [] for call in (over_scales, one_step, rest)}
    for _ in range(ROUNDS + 1):
        for call, times in found.items():
            started = time.process_time()
            call()
            times.append(time.process_time() - started)
    scales, step, rest = (median(times[1:]) for times in found.values())  # the first warms up
    print(f"over scales, {peer.n_steps} passes: {scales:.2f} s of one thread for {peer.audio_s:.2f} s of sound")
    whole = N_STEPS * step + rest
    print(f"SpecMaskGIT, {N_STEPS} passes: {whole:.2f} s, {step:.2f} a pass, {rest:.2f} from tokens to wave")
    print(f"ratio {whole / scales:.1f}")


if __name__ == "__main__":
    {"pictures": draw_notes, "speed": compare_speed}[sys.argv[1] if len(sys.argv) > 1 else "pictures"]()
