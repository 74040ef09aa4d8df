"""Other models beside ours, here far smaller than they are."""

import pytest
import torch

from masktools.benchmark.peers import PEERS, PeerSettings, build_peer, measure_peers
from masktools.errors import ParameterError
from masktools.solver import SolverConfig

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
    "magnet-small": {
        "transformer": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 64},
        "codec": {"num_filters": 4, "hidden_size": 8},
        "n_tokens": 10,
    },
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.filterwarnings("ignore")
def test_a_peer_steps_and_finishes(name):
    for package in PEERS[name][1]:
        pytest.importorskip(package)
    run = build_peer(name, torch.device("cpu"), sizes=SMALL[name])
    with torch.inference_mode():
        predicted = run.step()
        wave = run.finish()
    assert len(predicted) >= 2  # guidance
    assert wave.numel() == pytest.approx(run.audio_s * {"audioldm-s": 16_000, "magnet-small": 32_000}[name], rel=0.02)
    assert run.n_steps == {"audioldm-s": 200, "magnet-small": 50}[name]


@pytest.mark.filterwarnings("ignore")
def test_a_step_is_multiplied_and_said_to_be(pipeline, peaks):
    pytest.importorskip("transformers")
    settings = PeerSettings(
        ("magnet-small",),
        ("fp32", "bf16"),
        SolverConfig(n_steps=2),
        repeats=1,
        sizes={"magnet-small": SMALL["magnet-small"]},
    )
    ours, *theirs = measure_peers(pipeline, peaks, settings)
    assert ours.figures["ratio"] == 1.0
    assert [one.case["precision"] for one in theirs] == ["fp32", "bf16"]
    for one in theirs:
        assert "one step timed and multiplied by 50; stand-in" in one.note
        expected = one.figures["real_time_factor"] / ours.figures["real_time_factor"]
        assert one.figures["ratio"] == pytest.approx(expected)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("masktools.benchmark.peers.find_spec", lambda name: None if name == "diffusers" else object())
    with pytest.raises(ParameterError, match='audioldm-s is built from diffusers: pip install "masktools.bench."'):
        build_peer("audioldm-s", torch.device("cpu"))


def test_names_are_checked():
    with pytest.raises(ParameterError, match="unknown peer 'audiogen'"):
        PeerSettings(("audiogen",))
    with pytest.raises(ParameterError, match="unknown precision of peers 'int8'"):
        PeerSettings(precisions=("int8",))
