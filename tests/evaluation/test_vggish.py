"""VGGish: its front end, its shapes, and files that are not it. The weights are random and few; the layout is real."""

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from masktools.core.errors import CheckpointError
from masktools.evaluation.pretrained import VggishEmbedder, VggishNetwork, vggish_examples


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file in the layout of the public port, whose wide layers are narrow."""
    torch.manual_seed(0)
    network = VggishNetwork(width=8)
    folder = tmp_path_factory.mktemp("vggish")
    torch.save(network.state_dict(), folder / "vggish.pth")
    save_file(network.state_dict(), folder / "vggish.safetensors")
    return folder / "vggish.pth"


def test_the_published_size_has_72_million_weights_under_the_names_of_the_port():
    with torch.device("meta"):
        network = VggishNetwork()
    assert sum(p.numel() for p in network.parameters()) == 72_141_184
    layers = {".".join(name.split(".")[:2]) for name in network.state_dict()}
    numbers = {"features": (0, 3, 6, 8, 11, 13), "embeddings": (0, 2, 4)}
    assert layers == {f"{part}.{i}" for part, found in numbers.items() for i in found}


def test_an_example_is_made_of_each_96_frames_of_10_ms():
    assert vggish_examples(np.zeros(16_000 * 10)).shape == (10, 96, 64)
    assert vggish_examples(np.zeros(100)).shape == (1, 96, 64)
    np.testing.assert_allclose(vggish_examples(np.zeros(16_000)), np.log(0.01), rtol=1e-6)


def test_a_tone_is_loudest_in_the_band_that_holds_it():
    t = np.arange(16_000) / 16_000
    mel = 1127 * np.log1p(np.array([125, 1000, 7500]) / 700)
    band = round((mel[1] - mel[0]) / ((mel[2] - mel[0]) / 65)) - 1
    assert abs(int(vggish_examples(np.sin(2 * np.pi * 1000 * t))[0].mean(0).argmax()) - band) <= 1


def test_the_filters_are_those_of_librosa_on_the_htk_scale():
    from masktools.evaluation.pretrained import _vggish_filters

    expected = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, fmin=125, fmax=7500, htk=True, norm=None).T
    # librosa draws straight lines in Hz, VGGish in mel: the same triangles but for their slight bend.
    assert np.abs(_vggish_filters() - expected).max() < 0.08
    assert np.corrcoef(_vggish_filters().ravel(), expected.ravel())[0, 1] > 0.995


def test_a_recording_has_a_vector_for_each_second_at_any_rate(weights):
    wave = 0.1 * np.random.default_rng(0).standard_normal(44_100 * 3)
    embedder = VggishEmbedder(weights)
    found = embedder.embed(wave, 44_100)
    assert found.shape == (3, 128)
    assert embedder.dim == 128
    assert embedder.name.startswith("vggish ")
    assert len(embedder.name) == len("vggish ") + 8
    np.testing.assert_array_equal(found, VggishEmbedder(weights.with_suffix(".safetensors")).embed(wave, 44_100))


def test_what_is_no_vggish_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no VGGish weights at .*gone.pth: give the PyTorch port's"):
        VggishEmbedder(tmp_path / "gone.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(CheckpointError, match=r"text.pth"):
        VggishEmbedder(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"list.pth"):
        VggishEmbedder(tmp_path / "list.pth")
    torch.save({"features.0.weight": torch.zeros(3, 1, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"must hold VGGish: features.0.weight of shape \(64, 1, 3, 3\), got \(3"):
        VggishEmbedder(tmp_path / "other.pth")
    state = VggishNetwork(width=4).state_dict()
    del state["features.3.bias"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"missing.*features.3.bias"):
        VggishEmbedder(tmp_path / "part.pth")
