"""HEAR's common API, by the rules of its validator, 2021.0.6, written down once more."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from masktools import hear
from masktools.core.errors import BundleError, ParameterError
from masktools.features import Encoder
from masktools.features.windows import Hop, Times
from masktools.pipeline import hub
from tests.tiny import noise, tiny_pipeline

ENCODER = Encoder(tiny_pipeline())
OPTIONS = [{}, {"layer": "all"}, {"pool": "rows"}, {"pool": "mean_std", "layer": 1}, {"hop_ms": 50}, {"hop_ms": 500}]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("hear") / "tiny", "A card."))


@pytest.fixture(scope="module", params=OPTIONS, ids=str)
def chosen(path, request):
    """A model, and the options that it was loaded with."""
    return hear.load_model(path, **request.param), request.param


@pytest.fixture(scope="module")
def model(path):
    return hear.load_model(path)


def white(n, seconds, rate=22_050):
    return torch.rand(n, int(seconds * rate), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_what_the_validator_asks_of_a_model(chosen):
    model, _ = chosen
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16_000, 22_050, 32_000, 44_100, 48_000)
    assert type(model.sample_rate) is type(model.scene_embedding_size) is type(model.timestamp_embedding_size) is int
    model.to("cpu")
    assert not model.training
    assert not any(part.training for part in model.train().modules()), "a caller's train() changes nothing"


@pytest.mark.parametrize("seconds", [1.07, 1.98, 4.0])
def test_what_the_validator_asks_of_timestamps(chosen, seconds):
    model, options = chosen
    vectors, stamps = hear.get_timestamp_embeddings(white(2, seconds), model)
    assert vectors.dtype == torch.float32
    assert (vectors.ndim, stamps.ndim, len(vectors)) == (3, 2, 2)
    assert vectors.shape[:2] == stamps.shape
    assert vectors.shape[2] == model.timestamp_embedding_size
    assert not vectors.requires_grad
    steps = np.diff(stamps.numpy())
    hop_ms = {50: 4096 / 22.05 / 4, 500: 500}.get(options.get("hop_ms"), 4096 / 22.05)
    assert stamps.dtype == torch.float32
    np.testing.assert_allclose(steps, hop_ms, atol=1e-3)
    length_ms = 1000 * seconds
    assert stamps.min() <= hop_ms, "or the validator finds that the timestamps begin too late"
    assert length_ms - hop_ms < stamps.max() <= length_ms


def test_what_the_validator_asks_of_scenes(chosen):
    model, _ = chosen
    vectors = hear.get_scene_embeddings(white(4, 2.74), model)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (4, model.scene_embedding_size)
    assert not vectors.requires_grad


@pytest.mark.parametrize("hop", [Hop(), Hop(n_shifts=4), Hop(stretch_s=0.5)])
def test_no_timestamp_lies_behind_the_end_whatever_the_length(hop):
    grid = ENCODER.pipeline.grid
    for n_samples in np.random.default_rng(0).integers(round(0.05 * 22_050), 35 * 22_050, 100):
        stamps_s = Times(grid, hop, int(n_samples), 22_050).seconds()
        assert 0 <= stamps_s[0] <= stamps_s[-1] <= n_samples / 22_050
        assert stamps_s[-1] > n_samples / 22_050 - hop.seconds(grid)
        np.testing.assert_allclose(np.diff(stamps_s), hop.seconds(grid), atol=1e-9)


@pytest.mark.parametrize("hop_s", [None, 0.05])
def test_each_timestamp_has_its_vector_whatever_the_length(hop_s):
    model = hear.HearModel(ENCODER, layer=0, hop_s=hop_s)
    for seconds in (0.05, 0.0929, 0.093, 0.2786, 0.28, 3.1, 9.85):
        vectors, stamps = hear.get_timestamp_embeddings(white(1, seconds), model)
        assert vectors.shape[:2] == stamps.shape
        assert 0 <= stamps.min() <= stamps.max() <= 1000 * seconds


@pytest.mark.parametrize(("hop", "n_parts", "first"), [(Hop(), 1, 0.5), (Hop(n_shifts=4), 4, 0)])
def test_timestamps_do_not_drift_in_an_hour(hop, n_parts, first):
    stamps_ms = 1000 * Times(ENCODER.pipeline.grid, hop, 3600 * 22_050, 22_050).seconds()
    column_ms = Fraction(4096 * 1000, n_parts * 22_050)
    for number in (0, 1, 10_000, len(stamps_ms) - 1):
        assert abs(stamps_ms[number] - float((number + Fraction(first)) * column_ms)) < 1e-6
    assert len(stamps_ms) >= 19_379 * n_parts


def test_vectors_are_those_of_the_encoder(model):
    audio = torch.from_numpy(noise(1.5, n_channels=3))
    expected = model.encoder.encode(list(audio), 22_050)
    scenes = hear.get_scene_embeddings(audio, model)
    moments, stamps = hear.get_timestamp_embeddings(audio, model)
    for one, scene, own, when in zip(expected, scenes, moments, stamps, strict=True):
        np.testing.assert_allclose(scene, one.clip, atol=1e-5)
        np.testing.assert_allclose(own, one.frames, atol=1e-5)
        np.testing.assert_allclose(when, 1000 * one.times_s)
    assert torch.equal(model(audio), scenes)


def test_layers_side_by_side_follow_each_other(path):
    every, second = (hear.load_model(path, layer=layer) for layer in ("all", 1))
    audio = white(1, 1)
    vectors, alone = (hear.get_timestamp_embeddings(audio, model)[0] for model in (every, second))
    torch.testing.assert_close(vectors[..., 32:64], alone)


def test_a_sound_is_the_same_beside_others(model):
    audio = white(3, 2)
    together = hear.get_scene_embeddings(audio, model)
    for one, expected in itertools.zip_longest(audio, together):
        torch.testing.assert_close(hear.get_scene_embeddings(one[None], model)[0], expected, atol=1e-5, rtol=0)


def test_no_sounds_have_no_vectors(model):
    assert hear.get_scene_embeddings(torch.zeros(0, 22_050), model).shape == (0, 32)
    vectors, stamps = hear.get_timestamp_embeddings(torch.zeros(0, 22_050), model)
    assert (vectors.shape, stamps.shape) == ((0, 0, 32), (0, 0))


def test_the_bundled_model_is_the_default():
    assert hear.load_model().encoder.name == "mini"
    assert hear.load_model("").scene_embedding_size == 192


def test_what_hear_cannot_use_is_refused(path, model):
    with pytest.raises(ParameterError, match="the pool none has none: choose another"):
        hear.load_model(path, pool="none")
    with pytest.raises(ParameterError, match="hop_s must be at least 0.0116 s"):
        hear.load_model(path, hop_ms=5)
    with pytest.raises(BundleError, match="no model 'nowhere'"):
        hear.load_model("nowhere")
    with pytest.raises(ParameterError, match=r"audio must be floats \(n, t\), got torch.int64"):
        hear.get_scene_embeddings(torch.zeros(1, 9, dtype=torch.int64), model)


@pytest.mark.gpu
def test_a_model_computes_where_it_is_moved(path):
    model = hear.load_model(path).to("cuda")
    vectors, stamps = hear.get_timestamp_embeddings(white(2, 2).cuda(), model)
    assert vectors.device.type == stamps.device.type == "cuda"
    expected = hear.get_timestamp_embeddings(white(2, 2), hear.load_model(path))[0]
    torch.testing.assert_close(vectors.cpu(), expected, atol=1e-3, rtol=1e-3)
