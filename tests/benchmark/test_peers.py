"""Other models beside ours, here far smaller than they are."""

import pytest
import torch

from masktools.benchmark.models import RunSettings
from masktools.benchmark.peers import PEERS, build_peer, measure_peers
from masktools.core.errors import ParameterError
from masktools.solver import SolverConfig

_MAGNET = {
    "transformer": {"n_codes": 16, "width": 32, "depth": 1, "n_heads": 2, "text_dim": 8},
    "codec": {"n_codes": 16, "n_filters": 4, "code_dim": 8},
    "seconds": 0.4,
}
SMALL = {
    "audioldm-s": {
        "unet": {
            "block_out_channels": (32, 32, 32, 32),
            "cross_attention_dim": (32, 32, 32, 32),
            "projection_class_embeddings_input_dim": 8,
        },
        "decoder": {"block_out_channels": (32, 32, 32)},
        "vocoder": {"upsample_initial_channel": 32},
        "n_frames": 32,
    },
    "magnet-small": _MAGNET,
    "magnet-small-30": _MAGNET,
    "scales": {
        "scales": ((5, 1), (5, 2)),
        "width": 16,
        "depth": 1,
        "n_codes": 16,
        "widths": (8, 8, 8, 8),
        "vocoder": {"width": 16, "depth": 1},
    },
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.filterwarnings("ignore")
def test_a_peer_steps_and_finishes(name):
    for package in PEERS[name][1]:
        pytest.importorskip(package)
    run = build_peer(name, torch.device("cpu"), sizes=SMALL[name])
    with torch.inference_mode():
        *_, wave = [compute() for compute, _ in run.calls.values()]
    rate = {"audioldm-s": 16_000, "scales": 22_050}.get(name, 32_000)
    assert wave.numel() == pytest.approx(run.audio_s * rate, rel=0.02)
    n_calls = sum(n_times for _, n_times in run.calls.values())
    expected = {
        "audioldm-s": (200, 200),
        "magnet-small": (50, 96),
        "magnet-small-30": (90, 176),
        "scales": (2, 1),  # all scales are one call
    }
    assert (run.n_steps, n_calls - 1) == expected[name]


@pytest.mark.filterwarnings("ignore")
def test_calls_are_multiplied_and_said_to_be(pipeline, peaks):
    pytest.importorskip("transformers")
    settings = RunSettings(
        ("peers",),
        peers=("magnet-small",),
        precisions=("fp32", "bf16", "int8"),
        repeats=1,
        peer_sizes={"magnet-small": SMALL["magnet-small"]},
    )
    ours, *theirs = measure_peers(pipeline, peaks, settings, SolverConfig(n_steps=2))
    assert ours.figures["ratio"] == 1.0
    assert [one.case["precision"] for one in theirs] == ["fp32", "bf16"]
    for one in theirs:
        assert "multiplied (20 of first stream, 19 of first stream, no text, 30 of later stream" in one.note
        expected = one.figures["real_time_factor"] / ours.figures["real_time_factor"]
        assert one.figures["ratio"] == pytest.approx(expected)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("masktools.core.arguments.find_spec", lambda name: None if name == "diffusers" else object())
    with pytest.raises(ParameterError, match='audioldm-s is built from diffusers: pip install "masktools.bench."'):
        build_peer("audioldm-s", torch.device("cpu"))


def test_names_are_checked(pipeline, peaks):
    with pytest.raises(ParameterError, match="unknown peer 'audiogen'"):
        measure_peers(pipeline, peaks, RunSettings(("peers",), peers=("audiogen",)), SolverConfig())
