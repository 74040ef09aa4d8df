"""The encoder in the shapes of evaluation suites, by the checks that they make themselves."""

import sys
import types

import numpy as np
import pytest
import torch

from masktools import adapters
from masktools.adapters import MaebEncoder, XaresEncoder
from masktools.core.errors import ParameterError
from masktools.pipeline import hub
from tests.tiny import noise, tiny_pipeline


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("adapters") / "tiny", "A card."))


def test_what_xares_asks_of_an_encoder(path):
    encoder = XaresEncoder(path)
    assert type(encoder).__name__.endswith("Encoder")
    assert isinstance(encoder, torch.nn.Module)
    assert (encoder.sampling_rate, encoder.output_dim) == (22_050, 32)
    found = encoder(torch.randn(2, 50_000))
    assert isinstance(found, torch.Tensor)
    assert (found.ndim, len(found), found.shape[2]) == (3, 2, encoder.output_dim)
    assert found.shape[1] == round(1000 * 50_000 / 22_050 / encoder.hop_size_in_ms)


def test_an_encoder_of_xares_can_have_a_finer_hop_and_other_layers(path):
    encoder = XaresEncoder(path, layer="all", pool="rows", hop_s=0.05)
    assert encoder.output_dim == 3 * 5 * 32
    assert encoder.hop_size_in_ms == pytest.approx(46.44, abs=0.01)
    assert encoder(torch.zeros(1, 22_050)).shape == (1, 22, encoder.output_dim)


def test_xares_finds_one_encoder_in_a_file_that_imports_it():
    module = types.ModuleType("my_encoder")
    exec("from masktools.adapters import XaresEncoder", module.__dict__)
    assert [name for name in dir(module) if name.endswith("Encoder")] == ["XaresEncoder"]


def batches():
    """Return batches as mteb's loaders give them, of mixed lengths, rates and kinds of arrays."""
    sounds = [
        {"array": noise(0.5)[0], "sampling_rate": 22_050},
        {"array": noise(1, 48_000, n_channels=2), "sampling_rate": 48_000},
        {"array": noise(3, 16_000)[0].tolist(), "sampling_rate": 16_000},
        {"array": noise(0.2)[0].astype(np.float64), "sampling_rate": None},
    ]
    return [{"audio": sounds[:3]}, {"audio": []}, {"audio": sounds[3:]}]


def test_maeb_gets_one_vector_for_each_sound(path):
    encoder = MaebEncoder(path, device="cpu")
    vectors = encoder.get_audio_embeddings(batches(), show_progress_bar=False)
    assert (vectors.shape, vectors.dtype) == ((4, 32), np.float32)
    stereo = encoder.encoder.encode(noise(1, 48_000, n_channels=2).T, 48_000).clip
    np.testing.assert_allclose(vectors[1], stereo, atol=1e-5)
    same = encoder.encode(batches(), task_metadata=None, hf_split="test", hf_subset="default", prompt_type=None)
    np.testing.assert_array_equal(vectors, same)
    assert encoder.get_audio_embeddings([]).shape == (0, 32)


def test_maeb_compares_by_the_cosine(path):
    encoder = MaebEncoder(path, device="cpu")
    left, right = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 0.0]])
    np.testing.assert_allclose(encoder.similarity(left, right), [[0.96, 0.6], [0.0, 0.0]])
    np.testing.assert_allclose(encoder.similarity_pairwise(left, right), [0.96, 0.0])
    np.testing.assert_allclose(encoder.similarity(left[0], torch.from_numpy(right)), [[0.96, 0.6]])


def test_layers_side_by_side_make_one_vector_for_maeb(path):
    encoder = MaebEncoder(path, device="cpu", layer="all", pool="mean_std")
    assert encoder.get_audio_embeddings(batches()).shape == (4, encoder.dim) == (4, 3 * 2 * 32)


def test_maeb_without_audio_is_refused(path):
    with pytest.raises(ParameterError, match="a batch must have audio, got text"):
        MaebEncoder(path, device="cpu").get_audio_embeddings([{"text": ["a"]}])
    for make in (MaebEncoder, adapters.model_meta):
        with pytest.raises(ParameterError, match="the pool none has none: choose another"):
            make(path, pool="none")


def test_without_mteb_there_is_no_model_meta(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(ParameterError, match="model_meta needs the package mteb: pip install mteb"):
        adapters.model_meta(path)


def test_mteb_loads_the_model_that_its_meta_describes(path, monkeypatch):
    models = types.ModuleType("mteb.models")
    models.ModelMeta = lambda **fields: types.SimpleNamespace(**fields)
    monkeypatch.setitem(sys.modules, "mteb", types.ModuleType("mteb"))
    monkeypatch.setitem(sys.modules, "mteb.models", models)
    meta = adapters.model_meta(path, layer=1, pool="rows")
    assert (meta.name, meta.embed_dim, meta.modalities) == ("masktools/tiny", 160, ["audio"])
    assert meta.n_parameters > 10_000
    loaded = meta.loader(meta.name, meta.revision, device="cpu")
    assert loaded.mteb_model_meta is meta
    assert loaded.get_audio_embeddings(batches()).shape == (4, 160)
