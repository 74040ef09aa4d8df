"""The encoder as torchaudio's pipelines hold models: a bundle object, and features of every block over time."""

import numpy as np
import pytest
import torch

import masktools
from masktools.adapters.torchaudio import SPECMASKGIT_MINI, SpecMaskGitBundle
from masktools.core.errors import ParameterError
from masktools.pipeline import hub
from tests.tiny import noise, tiny_pipeline


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("torchaudio") / "tiny", "A card.")
    return SpecMaskGitBundle(str(folder))


def test_a_bundle_tells_its_rate_and_gives_its_model(bundle):
    assert SPECMASKGIT_MINI.model == "mini"
    assert bundle.sample_rate == 22_050
    model = bundle.get_model()
    waves = torch.from_numpy(np.concatenate([noise(2), noise(2, seed=1)]))
    features, counts = model.extract_features(waves)
    assert counts is None
    assert [tuple(one.shape) for one in features] == [(2, 11, 32)] * 2
    encoder = masktools.Encoder.from_pretrained(bundle.model, device="cpu")
    for number, wave in enumerate(waves.numpy()):
        expected = encoder.encode(wave, 22_050, layer=[1, 2]).frames
        for layer, found in enumerate(features):
            np.testing.assert_allclose(found[number].numpy(), expected[layer], atol=1e-5)
    assert torch.equal(model(waves)[0], features[-1])


def test_what_follows_the_length_of_a_wave_changes_nothing(bundle):
    model = bundle.get_model()
    waves = torch.from_numpy(np.concatenate([noise(2), noise(2, seed=1)]))
    lengths = torch.tensor([44_100, 11_025])
    features, counts = model.extract_features(waves, lengths, num_layers=1)
    assert (len(features), counts.tolist()) == (1, [11, 3])
    alone, _ = model.extract_features(waves[1:, :11_025], num_layers=1)
    torch.testing.assert_close(features[0][1, :3], alone[0][0])
    assert not features[0][1, 3:].any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"waveforms": torch.zeros(5)}, r"waveforms must be floats \(n, t\)"),
        ({"waveforms": torch.zeros(1, 50), "lengths": torch.tensor([60])}, r"lengths must be one in 1 to 50"),
        ({"waveforms": torch.zeros(1, 50), "num_layers": 3}, "num_layers must .*2"),
    ],
)
def test_other_shapes_are_refused(bundle, given, message):
    with pytest.raises(ParameterError, match=message):
        bundle.get_model().extract_features(**given)
