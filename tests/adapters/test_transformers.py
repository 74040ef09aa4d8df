"""The encoder as transformers holds it: AutoModel opens a bundle without code from anywhere."""

import shutil

import numpy as np
import pytest
import torch

import masktools
from masktools.adapters.transformers import (
    SpecMaskGitConfig,
    SpecMaskGitFeatureExtractor,
    SpecMaskGitModel,
    register,
)
from masktools.core.errors import BundleError, ParameterError
from masktools.pipeline import hub
from tests.tiny import noise, tiny_pipeline

transformers = pytest.importorskip("transformers")
RATE = 22_050
SECONDS = (0.3, 1.0, 4.1)  # the last one has more than one window


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    register()
    register()  # once is enough, twice does no harm
    return hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("transformers") / "tiny", "A card.")


@pytest.fixture
def model(folder):
    return transformers.AutoModel.from_pretrained(folder)


@pytest.fixture
def batch():
    waves = [noise(seconds, seed=number)[0] for number, seconds in enumerate(SECONDS)]
    return waves, SpecMaskGitFeatureExtractor()(waves, RATE, return_tensors="pt")


def test_automodel_opens_a_bundle_and_gives_what_the_encoder_gives(model, folder, batch):
    assert isinstance(model, SpecMaskGitModel)
    assert (model.config.hidden_size, model.config.num_hidden_layers, model.config.sampling_rate) == (32, 2, RATE)
    waves, given = batch
    encoder = masktools.Encoder.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        found = model(**given, output_hidden_states=True)
    for number, wave in enumerate(waves):
        every = encoder.encode(wave, RATE, layer="all", pool="none").frames
        ours = every.reshape(len(every), -1, 32)
        n = ours.shape[1]
        for layer, states in enumerate(found.hidden_states):
            np.testing.assert_allclose(states[number, :n].numpy(), ours[layer], atol=1e-4)
        assert not found.last_hidden_state[number, n:].any()
        np.testing.assert_allclose(found.pooler_output[number].numpy(), encoder.encode(wave, RATE).clip, atol=1e-4)


def test_what_fills_up_a_batch_changes_nothing(model, batch):
    waves, given = batch
    loud = torch.where(given["attention_mask"].bool(), given["input_values"], 0.5)
    with torch.no_grad():
        together = model(loud, given["attention_mask"]).pooler_output
        alone = torch.cat([model(torch.from_numpy(wave)[None]).pooler_output for wave in waves])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_it_is_trained_saved_and_loaded_as_any_model(model, batch, tmp_path):
    _, given = batch
    model.train()
    assert not model.tokenizer.training
    model(**given).pooler_output.square().sum().backward()
    taught = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert "transformer.blocks.0.attn.qkv.weight" in taught
    assert not any(name.startswith("tokenizer") for name in taught)
    with torch.no_grad():
        model.transformer.mask_vector.add_(1.0)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**given).pooler_output, model.eval()(**given).pooler_output)
    assert model(**given, return_dict=False)[0].ndim == 3


def test_waves_of_any_rate_and_number_of_channels_become_a_batch(tmp_path):
    extractor = SpecMaskGitFeatureExtractor()
    extractor.save_pretrained(tmp_path)
    again = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(again) is type(extractor)
    found = again(noise(1, 44_100, n_channels=2), 44_100, return_tensors="np")
    assert found["input_values"].shape == (1, RATE)
    listed = again(noise(0.1)[0].tolist(), return_tensors="pt")
    assert listed["attention_mask"].sum() == 2205


def test_a_name_at_hand_is_enough_and_a_wrong_one_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKTOOLS_MODELS", str(folder.parent))
    assert SpecMaskGitModel.from_pretrained("tiny").config.format is None
    altered = shutil.copytree(folder, tmp_path / "altered")
    (altered / "tokenizer.safetensors").unlink()
    with pytest.raises(BundleError, match="tokenizer.safetensors is missing"):
        transformers.AutoModel.from_pretrained(altered)
    with pytest.raises(ParameterError, match="must tell kind and config of the tokenizer"):
        SpecMaskGitModel(SpecMaskGitConfig(mel={}))
