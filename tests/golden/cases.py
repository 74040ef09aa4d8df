"""What the golden run does: some sixty commands and calls with fixed seeds, one for each job, option and format.

A case is a name and either the words of a command line, or a function of ``masktools`` that gives arrays and numbers.
Several command lines in one case run one after another in the same folder. Every folder holds the recordings of
``recordings.write_recordings``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

__all__ = ["CALLS", "COMMANDS"]

ROOT = Path(__file__).parents[2]
_TINY = ROOT / "recipes" / "tiny"
_EVALUATE = "--n 1 --kinds music --split test --seconds 4 --seed 0 --json r.json"

COMMANDS: dict[str, str | list[str]] = {
    # gaps
    "inpaint-auto": "inpaint tape.wav -o out.wav --report r.json",
    "inpaint-given": "inpaint tape.wav -o out.wav --gaps 1.2-1.23,3-3.4 --seed 3",
    "inpaint-labels": "inpaint tape.wav -o out.flac --gaps labels.txt",
    "inpaint-json": "inpaint tape.wav -o out.wav --gaps gaps.json --subtype pcm24",
    "inpaint-stereo-44k": "inpaint stereo.flac -o out.flac --report r.json",
    "inpaint-independent": "inpaint stereo.flac -o out.flac --channels independent",
    "inpaint-mid-side": "inpaint stereo.flac -o out.flac --channels mid_side",
    "inpaint-8k": "inpaint phone.wav -o out.wav --report r.json",
    "inpaint-candidates": "inpaint tape.wav -o out.wav -n 3 --report r.json",
    "inpaint-model": "inpaint tape.wav -o out.wav --method model --texture model --report r.json",
    "inpaint-recording": "inpaint tape.wav -o out.wav --method model --texture recording",
    "inpaint-janssen": "inpaint tape.wav -o out.wav --method janssen --gaps 1.2-1.23",
    "inpaint-burg": "inpaint tape.wav -o out.wav --method burg",
    "inpaint-copy": "inpaint tape.wav -o out.wav --method copy",
    "inpaint-noise": "inpaint tape.wav -o out.wav --method spectral_noise",
    "inpaint-linear": "inpaint tape.wav -o out.wav --method linear",
    "inpaint-prompt": "inpaint tape.wav -o out.wav --prompt rain --guidance 2",
    "inpaint-fast-fp32": "inpaint tape.wav -o out.wav --preset fast --precision fp32",
    "inpaint-int8": "inpaint tape.wav -o out.wav --precision int8",
    "inpaint-page": "inpaint tape.wav -o out.wav --ab html",
    "inpaint-picture": "inpaint tape.wav -o out.wav --ab png",
    "inpaint-dry": "inpaint tape.wav many -o out --dry-run",
    "inpaint-batch": "inpaint many -o out --report r.json",
    "inpaint-resume": ["inpaint many/take0.wav many/take1.wav -o out", "inpaint many -o out --resume --report r.json"],
    "inpaint-broken": "inpaint many broken.wav -o out --report r.json",
    "inpaint-nothing": "inpaint whole.wav -o out.wav --strict",
    "restore": "restore tape.wav -o out.wav --report r.json",
    "restore-stereo": "restore dull.wav -o out.wav --report r.json",
    # bands
    "bwe-stereo-48k": "bwe dull.wav -o out.wav --report r.json",
    "bwe-given": "bwe dull.wav -o out.flac --cutoff 5500 --texture model --seed 2",
    "bwe-no-lfr": "bwe dull.wav -o out.wav --no-lfr --texture recording",
    "bwe-clean": "bwe dull.wav -o out.wav --clean-above --hf-gain -3",
    "bwe-8k": "bwe phone.wav -o out.wav --report r.json",
    "bwe-whole": "bwe song.ogg -o out.flac --report r.json",
    # the other jobs
    "repair": "repair whole.wav -o out.wav --region 1.2-1.5,3000-6000 --report r.json",
    "repair-interpolate": "repair whole.wav -o out.wav --region 1-1.4,500-900;2-2.1,2000-4000 --method interpolate",
    "continue": "extend whole.wav -o out.wav --seconds 1 --report r.json",
    "continue-before": "extend song.ogg -o out.flac --seconds 0.7 --side start",
    "loop": "loop whole.wav -o out.wav --report r.json",
    "loop-copy": "loop song.ogg -o out.wav --method copy",
    "generate": "generate rain -o out.wav --seconds 3 --report r.json",
    "generate-many": "generate --prompts prompts.txt -o out --seconds 2 --seed 5",
    "generate-nothing": "generate -o out.wav -n 2 --seconds 2",
    "encode-decode": ["encode stereo.flac -o t.npz", "decode t.npz -o out.wav"],
    "probe": "probe tape.wav stereo.flac dull.wav --json",
    "probe-picture": "probe tape.wav --picture out.png",
    "compare": "compare tape.wav whole.wav --json",
    "compare-page": [
        "inpaint tape.wav -o out.wav --report r.json",
        "compare tape.wav out.wav -o page.html --report r.json",
    ],
    "models": "models",
    # vectors
    "embed-npz": "embed many song.ogg -o out.npz --frames --tokens",
    "embed-layers": "embed many -o out.npy --layer all --pool mean_std",
    "embed-parquet": "embed many phone.wav -o out.parquet --layer 2 --pool rows_std",
    "embed-h5": "embed many -o out.h5 --frames --hop-s 0.1",
    "embed-tree": "embed many -o out --format dir --dtype float16",
    "embed-shards": [
        "embed many song.ogg -o a.npz --shard 0/2",
        "embed many song.ogg -o b.npz --shard 1/2",
        "embed a.npz b.npz -o out.npz --merge",
    ],
    "embed-broken": "embed many broken.wav -o out.npz",
    # measures
    "evaluate-inpaint": f"evaluate inpaint collection/manifest.csv {_EVALUATE} --set gaps_s=[0.3] --markdown r.md",
    "evaluate-bwe": f"evaluate bwe collection/manifest.csv {_EVALUATE}",
    "evaluate-tokenizer": f"evaluate tokenizer collection/manifest.csv {_EVALUATE}",
    "evaluate-vocoder": f"evaluate vocoder collection/manifest.csv {_EVALUATE}",
    "evaluate-conditioning": "evaluate conditioning collection/manifest.csv --split test --seconds 4 --json r.json",
    # training
    "train": [
        "cache collection/manifest.csv -o cache",
        f"train {_TINY / 'tokenizer.yaml'}",
        f"train {_TINY / 'decoder.yaml'}",
        f"train {_TINY / 'vocoder-light.yaml'}",
        "cache cache -o tokens --tokens runs/tiny-tokenizer/last.ckpt --conditioner mini --columns 2",
        f"train {_TINY / 'transformer.yaml'}",
    ],
}


def _call(job: Callable[[Any, np.ndarray, int], Any], name: str) -> Callable[[Any, Path], Mapping[str, Any]]:
    def run(model: Any, folder: Path) -> Mapping[str, Any]:
        samples, rate = soundfile.read(folder / name, dtype="float32")
        result = job(model, samples, rate)
        return {"samples": getattr(result, "samples", result)}

    return run


CALLS: dict[str, Callable[[Any, Path], Mapping[str, Any]]] = {
    "api-inpaint": _call(lambda model, x, rate: model.inpaint(x, rate, seed=4), "tape.wav"),
    "api-inpaint-stereo": _call(lambda model, x, rate: model.inpaint(x, rate, "2.0-2.3"), "stereo.flac"),
    "api-bwe": _call(lambda model, x, rate: model.bwe(x, rate, 5500), "dull.wav"),
    "api-embed": _call(lambda model, x, rate: model.embed(x, rate).clip, "song.ogg"),
    "api-encode": _call(lambda model, x, rate: model.encode(x, rate).tokens, "whole.wav"),
    "api-generate": lambda model, _: {"samples": model.generate("rain", seconds=2, seed=1)[0].samples},
}
