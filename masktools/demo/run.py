"""The demonstration: each job on synthesised recordings, with measurements and a page."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from masktools import __version__
from masktools.core.errors import ParameterError
from masktools.core.tables import text_of
from masktools.demo import jobs, tables
from masktools.demo.recordings import RECORDINGS, Recording
from masktools.demo.stage import Chapter, Stage, Take, make_page
from masktools.pipeline.hub import check_job

if TYPE_CHECKING:
    from masktools.model import Model

PROMPTS = ("Rain falling.", "A fast chiptune piece.")
PAGE, REPORT = "index.html", "report.json"
_N_PER_PROMPT, _PROMPT_S = 2, 5.0
_GAPS_TEXT = (
    "Each recording lost 0.4 s and 1 s. The transformer predicts the tokens of the gaps from what is around them; "
    "every sample outside the gaps stays as it was. What the best copy does is to paste the stretch of the recording "
    "whose surroundings are most alike. A fill is an invention: it should fit, and cannot be what was lost."
)
_BANDS_TEXT = (
    "Each recording was low-passed. The rows of tokens above the cutoff are predicted from those below, and added; "
    "below the cutoff the recording is kept. Copied up means that the band below was shifted up, on the slope of "
    "the recording's own spectrum."
)
_RESTORED_TEXT = (
    "Each recording was low-passed and lost 12 ms and 0.4 s, and nothing was said about it. Gaps and cutoff were "
    "found, as masktools restore does for files; the gaps were filled, then the band was extended."
)
_SOUNDS_TEXT = "Nothing is given but a text."
_EMBEDDINGS_TEXT = (
    "The same transformer, read inside: one vector for each recording. Halves of one recording should be closer to "
    "each other than to anything else, and a generated sound close to its like."
)


def run_demo(
    folder: str | Path,
    model: "Model",
    seed: int = 0,
    say: Callable[[str], object] = lambda line: None,
    recordings: Sequence[Recording] = RECORDINGS,
    prompts: Sequence[str] = PROMPTS,
) -> dict[str, Any]:
    """Restore, extend, generate and embed, and return all measurements.

    The folder gets the recordings (.wav), ``report.json``, and ``index.html``, which plays and shows them.

    Args:
        folder: output folder; made if it does not exist.
        model: model for all jobs.
        seed: random seed of all jobs.
        say: called with each line of progress, and with the results at the end.
        recordings: recordings to repair.
        prompts: texts for generation.

    Raises:
        ParameterError: the folder cannot be made, there is nothing to do, or the model does not support all of it.
    """
    if not recordings or not prompts:
        raise ParameterError("the demonstration needs at least one recording and one prompt, got none")
    for job in ("inpaint", "bwe", "generate", "embed"):
        check_job(model.pipeline, job)
    stage = Stage(folder, model, seed, say)
    takes = {recording.name: Take(*recording.play()) for recording in recordings}
    gaps, gap_scenes = jobs.fill_gaps(stage, recordings, takes)
    bands, band_scenes = jobs.extend(stage, recordings, takes)
    restored, restored_scenes = jobs.restore(stage, recordings, takes)
    sounds, sound_scenes, made = jobs.generate(stage, prompts, _N_PER_PROMPT, _PROMPT_S)
    neighbours, cosines = jobs.embed(stage, takes, made)
    report = {
        "masktools": __version__,
        "model": model.name,
        "seed": seed,
        "gaps": gaps,
        "bands": bands,
        "restored": restored,
        "sounds": sounds,
        "neighbours": neighbours,
        "cosines": np.round(cosines, 4).tolist(),
        "speed": [{"job": job, **spent._asdict()} for job, spent in stage.spent.items()],
    }
    shown, said = tables.all_tables(report), tables.sentences(report)
    chapters = (
        Chapter("Filling gaps", _GAPS_TEXT, tuple(gap_scenes), (shown["gaps"],)),
        Chapter("Extending the bandwidth", _BANDS_TEXT, tuple(band_scenes), (shown["bands"],)),
        Chapter("Found and repaired", _RESTORED_TEXT, tuple(restored_scenes), (shown["restored"],)),
        Chapter("Sound from text", _SOUNDS_TEXT, tuple(sound_scenes), (shown["sounds"],)),
        Chapter("Embeddings", _EMBEDDINGS_TEXT, (), (shown["neighbours"],)),
        Chapter("Time", _where(model), (), (shown["speed"],)),
    )
    facts = f"masktools {__version__}, model {model.name}, seed {seed}. The recordings are synthetic. Numbers: {REPORT}"
    stage.keep_text(REPORT, json.dumps(report, indent=2) + "\n")
    page = stage.keep_text(PAGE, make_page("What masktools does", facts, said, chapters))
    say(f"\n{text_of(list(shown.values()), notes=False).rstrip()}")
    say("")
    for sentence in said:
        say(sentence)
    say(f"\nhear and see it: {page}")
    return report


def _where(model: "Model") -> str:
    threads = model.threads or torch.get_num_threads()
    return f"On {model.pipeline.device}, with {threads} CPU thread{'s' * (threads > 1)} at most."
