"""Embedders: each says what it is, hears any recording, and puts what is damaged further away."""

import numpy as np
import pytest
import torch

from masktools.core.errors import CheckpointError, ParameterError
from masktools.evaluation import embedders
from masktools.evaluation.embedders import (
    Embedder,
    EncoderEmbedder,
    JointEmbedder,
    MelStatistics,
    parse_embedder,
)
from masktools.metrics import frechet_distance
from masktools.model import Model
from tests.tiny import SAMPLE_RATE, noise, tiny_pipeline


@pytest.fixture(scope="module")
def model():
    return Model(tiny_pipeline())


def hum(seed, seconds=3.0):
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    rng = np.random.default_rng(seed)
    return (
        sum(0.1 * np.sin(2 * np.pi * rng.uniform(100, 2000) * t) for _ in range(4)) + noise(seconds, seed=seed)[0] / 50
    )


@pytest.mark.parametrize("name", ["own", "joint", "mel"])
@pytest.mark.parametrize("n_samples", [1, 700, 4096, 3 * SAMPLE_RATE])
def test_any_recording_has_finite_vectors_of_the_size_that_was_said(model, name, n_samples):
    embedder = parse_embedder(name, model)
    assert isinstance(embedder, Embedder)
    found = embedder.embed(hum(0)[:n_samples].astype(np.float32), SAMPLE_RATE)
    assert found.ndim == 2
    assert len(found) >= 1
    assert found.shape[1] == embedder.dim
    assert np.isfinite(found).all()


def test_more_noise_is_further_away(model):
    waves = [hum(seed).astype(np.float32) for seed in range(6)]
    embedder = MelStatistics()
    clean = np.concatenate([embedder.embed(wave, SAMPLE_RATE) for wave in waves])
    distances = []
    for level in (0.003, 0.03, 0.3):
        noisy = [wave + noise(3.0, seed=50 + i, level=level)[0] for i, wave in enumerate(waves)]
        distances.append(frechet_distance(clean, np.concatenate([embedder.embed(wave, SAMPLE_RATE) for wave in noisy])))
    assert 0 < distances[0] < distances[1] < distances[2]


def test_a_name_tells_whose_weights_they_are(model):
    other = Model(tiny_pipeline(seed=1))
    for kind in (EncoderEmbedder, JointEmbedder):
        assert "tiny" in kind(model).name
        assert kind(model).name == kind(model).name != kind(other).name


def test_the_own_encoder_is_named_by_its_tokenizer_too(model):
    before = EncoderEmbedder(model).name
    weight = next(model.pipeline.tokenizer.parameters())
    with torch.no_grad():
        weight.add_(1.0)
    try:
        assert EncoderEmbedder(model).name != before
    finally:
        with torch.no_grad():
            weight.sub_(1.0)


class Listener(torch.nn.Module):
    """Stands for CLAP: what it says of a window is how long it is."""

    dim = 1

    tokenizer = None

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def embed_audio(self, wave, sample_rate):
        return wave.shape[1] / sample_rate * self.weight[None]


@pytest.mark.parametrize(
    ("seconds", "windows"), [(3, [3]), (10, [10]), (10.4, [10.4]), (12, [6, 6]), (20.2, [10.1, 10.1]), (24, [8, 8, 8])]
)
def test_clap_hears_all_of_a_recording_in_equal_windows_of_ten_seconds_at_most(
    model, monkeypatch, tmp_path, seconds, windows
):
    monkeypatch.setattr(embedders.ClapEncoder, "from_checkpoint", lambda path: Listener())
    clap = parse_embedder(f"clap={tmp_path / 'laion.pt'}", model)
    assert clap.name.startswith("clap laion.pt ")
    assert clap.embed(np.zeros(round(1000 * seconds), np.float32), 1000)[:, 0] == pytest.approx(windows, abs=2e-3)


def test_what_is_no_embedder_is_refused(model):
    with pytest.raises(ParameterError, match=r"unknown embedder 'vgish'.*did you mean 'vggish'"):
        parse_embedder("vgish", model)
    with pytest.raises(ParameterError, match=r"the embedder vggish needs the path of its weights: vggish=PATH"):
        parse_embedder("vggish", model)
    with pytest.raises(ParameterError, match=r"the embedder mel takes no path, got 'x'"):
        parse_embedder("mel=x", model)
    with pytest.raises(CheckpointError, match="no VGGish weights at"):
        parse_embedder("vggish=nowhere.pth", model)
    with pytest.raises(CheckpointError, match=r"nowhere.pt"):
        parse_embedder("clap=nowhere.pt", model)
    with pytest.raises(ParameterError, match="has no text-audio encoder: choose another embedder"):
        parse_embedder("joint", Model(tiny_pipeline(conditioner=False)))
