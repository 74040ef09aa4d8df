"""Public calls with wrong arguments, where annotations are not checked: ``python -m tests.wrong_arguments``.

Tests check every annotation on the way in, and would never see what a user sees.
"""

import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masktools import hear, restoration
from masktools.core.errors import MasktoolsError
from masktools.features import Encoder
from masktools.hear import HearModel
from masktools.model import Model
from masktools.pipeline import hub
from masktools.restoration.regions import Region
from tests.tiny import noise, tiny_pipeline

RATE = 22_050
WAVE = noise(0.5)[0]
PIPELINE = tiny_pipeline()
MODEL, ENCODER = Model(PIPELINE), Encoder(PIPELINE)
HEARS = HearModel(Encoder(tiny_pipeline()))


class Odd:
    """Something whose text has many lines and no end, and that has no length."""

    def __repr__(self):
        return "odd\nlines " * 1000

    def __len__(self):
        raise RuntimeError("nothing has no length")


WRONG = {
    "nothing": lambda: None,
    "a number": lambda: 3,
    "a negative number": lambda: -1,
    "a number that no float holds": lambda: 10**400,
    "a fraction": lambda: 0.5,
    "not a number": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "a truth": lambda: True,
    "a text": lambda: "abc",
    "no text": lambda: "",
    "a text with a zero byte": lambda: "a\0b",
    "a long text": lambda: "x" * 5000,
    "half a character": lambda: "\udce9",
    "bytes": lambda: b"abc",
    "a list": lambda: [1, 2],
    "no list": list,
    "lists of unequal lengths": lambda: [[1], [1, 2]],
    "a list of lists": lambda: [[0.1, 0.2], [0.3, 0.4]],
    "a list of texts": lambda: ["a", "b"],
    "a list of nothing": lambda: [None],
    "a dictionary": lambda: {"a": 1},
    "a set": lambda: {1, 2},
    "a generator": lambda: (number for number in (1, 2)),
    "an object": object,
    "an odd object": Odd,
    "a class": lambda: int,
    "a table": lambda: pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}),
    "a series": lambda: pd.Series([1.0, 2.0]),
    "an array of objects": lambda: np.array([1, "a", None], object),
    "complex numbers": lambda: WAVE.astype(complex),
    "an array of three axes": lambda: np.zeros((2, 3, 4), np.float32),
    "an array without axes": lambda: np.array(3.0),
    "an empty array": lambda: np.zeros(0, np.float32),
    "whole numbers": lambda: np.arange(10),
    "texts": lambda: np.array(["a"]),
    "an array of nothing": lambda: np.full(500, np.nan, np.float32),
    "samples far beyond full scale": lambda: np.full(500, 1e37, np.float32),
    "samples beyond single precision": lambda: np.full(500, 1e300),
    "a masked array": lambda: np.ma.masked_array(WAVE, WAVE > 0),
    "a tensor of whole numbers": lambda: torch.arange(5),
    "a complex tensor": lambda: torch.ones(5, dtype=torch.complex64),
    "a sparse tensor": lambda: torch.eye(3).to_sparse(),
    "a tensor without numbers": lambda: torch.ones(5, device="meta"),
    "an empty tensor": lambda: torch.zeros(0),
    "a tensor of three axes": lambda: torch.zeros(1, 1, 300),
    "a tensor with a gradient": lambda: torch.ones(300, requires_grad=True),
    "a short tensor": lambda: torch.ones(300, dtype=torch.bfloat16),
}
DECODING = {"seed": 0, "n_steps": 1, "temperature": 1.0, "guidance": 1.0, "solver": None, "progress": None}
RESTORING = {**DECODING, "samples": WAVE, "sample_rate": RATE, "prompt": None, "channels": "linked", "texture": "model"}
GAPS = {"method": "model", "classical_below_s": 0.06, "max_gap_s": 4.0, "n_candidates": 1, "match_level_db": 6.0}
BAND = {"lfr": True, "quiet_guard_db": 3.0, "hf_gain_db": 0.0, "limit_peaks": True, "clean_above": False}
CHANNELS = {"model": PIPELINE, "samples": WAVE[None], "sample_rate": RATE, "seed": 0, "prompt": None}
ENDS = {name: value for name, value in RESTORING.items() if name not in ("temperature", "guidance")}
STYLE = {"channels": "linked", "texture": "model", "progress": None}
REGIONS = [Region.rectangle(0.1, 0.2, 100, 900)]
CALLS = {
    "inpaint": (MODEL.inpaint, {**RESTORING, **GAPS, "gaps": [(0.2, 0.3)], "leak_free": True}),
    "inpaint, nothing to do": (MODEL.inpaint, {**RESTORING, **GAPS, "gaps": "auto", "leak_free": True}),
    "bwe": (MODEL.bwe, {**RESTORING, **BAND, "cutoff_hz": 4000, "leak_free": True}),
    "bwe, nothing to do": (MODEL.bwe, {**RESTORING, **BAND, "cutoff_hz": "auto", "leak_free": True}),
    "generate": (MODEL.generate, {**DECODING, "prompts": None, "n": 1, "seconds": 0.1}),
    "embed": (MODEL.embed, {"samples": WAVE, "sample_rate": RATE, "layer": "last", "pool": "mean", "frames": True}),
    "encode": (MODEL.encode, {"samples": WAVE, "sample_rate": RATE}),
    "decode": (MODEL.decode, {"tokens": np.zeros((5, 2), int), "sample_rate": RATE, "n_samples": 100}),
    "solver": (MODEL.solver, {"job": "bwe", "base": None, "n_steps": 1, "temperature": 1.0, "guidance": 1.0}),
    "Encoder.encode": (
        ENCODER.encode,
        {
            "waves": WAVE,
            "sample_rate": RATE,
            "layer": "last",
            "pool": "mean",
            "prefix": "learned",
            "hop_s": None,
            "window": "model",
            "frames": True,
            "tokens": False,
            "progress": None,
        },
    ),
    "Encoder.encode, several": (ENCODER.encode, {"waves": [WAVE, WAVE], "sample_rate": [RATE, RATE]}),
    "Encoder.dim": (ENCODER.dim, {"pool": "mean", "layer": "last"}),
    "Encoder.frame_dim": (ENCODER.frame_dim, {"pool": "mean", "layer": "last"}),
    "Encoder.frame_hop_s": (ENCODER.frame_hop_s, {"hop_s": 0.2}),
    "hear, scenes": (hear.get_scene_embeddings, {"audio": torch.from_numpy(WAVE[None]), "model": HEARS}),
    "hear, moments": (hear.get_timestamp_embeddings, {"audio": torch.from_numpy(WAVE[None]), "model": HEARS}),
    "repair": (MODEL.repair, {**ENDS, "regions": REGIONS, "method": "interpolate"}),
    "restoration.inpaint": (restoration.inpaint, {**CHANNELS, **STYLE, "gaps": [(0.2, 0.21)], "method": "burg"}),
    "restoration.bwe": (restoration.bwe, {**CHANNELS, **STYLE, "cutoff_hz": "auto"}),
    "continue": (MODEL.continuation, {**ENDS, "seconds": 0.1, "side": "end", "fade_s": 0.01}),
    "loop": (MODEL.loop, {**ENDS, "seam_s": 0.1, "method": "burg"}),
    "Region": (Region, {"corners": ((0, 0), (1, 0), (1, 1)), "channels": None}),
    "Region.rectangle": (
        Region.rectangle,
        {"start_s": 0, "end_s": 1, "low_hz": 0, "high_hz": 1, "channels": None},
    ),
    "load": (hub.load_bundle, {"model": "mini", "device": "cpu", "precision": "fp32"}),
}


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(WRONG)), st.data())
def check(name, kind, data):
    """Give a call one wrong argument: it may be taken for what it is, or refused in one line."""
    function, good = CALLS[name]
    argument = data.draw(st.sampled_from(sorted(name for name, value in good.items() if value is not PIPELINE)))
    if (argument, kind) == ("progress", "a class"):
        return  # it can be called
    try:
        function(**{**good, argument: WRONG[kind]()})
    except MasktoolsError as error:
        said = str(error)
        if "\n" in said or not 10 < len(said) < 700 or ("precision" in said and argument != "precision"):
            raise AssertionError(f"{name}, {argument}, {kind}: {said}") from error
    except Exception as error:
        raise AssertionError(f"{name}, {argument}, {kind}: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    torch.set_num_threads(1)
    MODEL.generate(n=np.int64(1), seconds=np.float32(0.1), n_steps=np.int32(1), temperature=np.float32(1.0))
    for name, (function, good) in CALLS.items():
        function(**good)  # what is right is taken
        check(name)
