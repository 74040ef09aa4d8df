"""Recordings made on the spot, and a bundle of small random networks."""

import numpy as np
import pytest
import soundfile
import torch

from masktools.mel import MelConfig
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig
from masktools.networks.tokenizer import LocalTokenizer, LocalTokenizerConfig
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.networks.vocoder import LightVocoder, LightVocoderConfig
from masktools.pipeline import Pipeline, hub

MEL = MelConfig(f_max=11_025.0)
PIECES = ["[UNK]", "rain", "falls", "a", "dog", "##s"]
RATE = 22_050


def random_pipeline() -> Pipeline:
    """Return a model of small random networks, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = JointEncoderConfig(mel=MEL, dim=16, widths=(8, 8, 8), n_blocks=1, text_hidden=8)
        return Pipeline(
            MEL,
            LocalTokenizer(LocalTokenizerConfig(n_codes=16, code_dim=8, widths=(8, 8, 8))),
            MaskedTransformer(TransformerConfig(16, n_cols=12, width=32, depth=2, n_heads=2, condition_dim=16)),
            LightVocoder(LightVocoderConfig(width=16, depth=1), MEL),
            JointEncoder.from_vectors(PIECES, torch.randn(len(PIECES), 8), encoder),
            name="tiny",
        )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a bundle that computes nothing useful, quickly."""
    return hub.save_bundle(random_pipeline(), tmp_path_factory.mktemp("models") / "tiny", "Random weights, for tests.")


def recording(seconds: float, sample_rate: int = RATE, n_channels: int = 1) -> np.ndarray:
    """Return a tone over noise, (t, channels), the channels unlike each other."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(seconds * sample_rate))[:, None] / sample_rate
    tones = 0.3 * np.sin(2 * np.pi * 220 * np.arange(1, n_channels + 1) * time_s)
    return tones + rng.normal(0, 0.03, tones.shape)


@pytest.fixture
def wav(tmp_path):
    """A mono recording of 1.5 s at the model's rate, 16 bits."""
    soundfile.write(tmp_path / "in.wav", recording(1.5), RATE)
    return tmp_path / "in.wav"


@pytest.fixture
def stereo(tmp_path):
    """A stereo recording of 1 s at 48 kHz, 24 bits."""
    soundfile.write(tmp_path / "stereo.flac", recording(1.0, 48_000, 2), 48_000, "PCM_24")
    return tmp_path / "stereo.flac"


@pytest.fixture
def command(tiny, capsys):
    """Run a command line with the tiny model, and return its exit code, its output and its errors."""
    from masktools.cli.main import main

    def run(*words, model=tiny):
        chosen = ["--model", str(model), "--device", "cpu"] if model else []
        code = main([str(word) for word in (*words, *chosen)])
        return code, *capsys.readouterr()

    return run
