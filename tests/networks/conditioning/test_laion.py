"""A CLAP_Module that its user has loaded is a conditioner like any other.

With the package laion_clap at hand (it pins numpy below 2: an environment of its own, `make test-laion`), its own code
is run on random weights; without it, a stand-in with the same face is.
"""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

import masktools
from masktools.core.errors import BundleError, ParameterError
from masktools.evaluation.embedders import ConditionerScorer
from masktools.networks.conditioning import ClapEncoder, Conditioner, LaionClap, as_conditioner
from masktools.pipeline import Pipeline, hub
from masktools.training.token_cache import fingerprint
from tests.tiny import MEL, noise, tiny_pipeline

PIECES = ["<s>", "<pad>", "</s>", "<unk>", *(chr(c) for c in range(ord("!"), ord("~") + 1)), "Ġ"]


class CLAP_Module(nn.Module):  # noqa: N801 - laion_clap calls it so
    """The face of laion_clap's: it hears what it is given, and remembers it."""

    def __init__(self, dim=8):
        super().__init__()
        self.model = nn.Linear(4, dim)
        self.model.joint_embed_shape = dim
        self.heard, self.read = [], []

    def get_audio_embedding_from_data(self, x, use_tensor=False):
        self.heard.append(x)
        features = np.stack([[wave.mean(), wave.std(), wave[0], 1.0] for wave in x]).astype(np.float32)
        return self.model(torch.from_numpy(features)).numpy()

    def get_text_embedding(self, x, tokenizer=None, use_tensor=False):
        self.read.append(x)
        return self.model(torch.tensor([[len(text), text.count("a"), 0.0, 1.0] for text in x])).numpy()


def test_a_loaded_clap_is_a_conditioner_of_unit_vectors():
    clap = as_conditioner(CLAP_Module())
    assert isinstance(clap, Conditioner)
    assert clap.dim == 8
    for found in (clap.embed_audio(torch.from_numpy(noise(1, n_channels=2)), 22_050), clap.embed_text(["rain", "a"])):
        assert (found.shape, found.dtype) == ((2, 8), torch.float32)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_it_hears_ten_seconds_at_48_khz_the_middle_of_what_is_longer():
    module = CLAP_Module()
    clap = LaionClap(module)
    long = torch.from_numpy(noise(25, 48_000))
    same = [clap.embed_audio(long, 48_000) for _ in range(2)]
    assert torch.equal(*same), "nothing is drawn at random"
    np.testing.assert_array_equal(module.heard[0], long[:, 360_000:840_000].numpy())
    clap.embed_audio(torch.from_numpy(noise(1)), 22_050)
    assert module.heard[-1].shape == (1, 480_000)
    np.testing.assert_array_equal(module.heard[-1][0, :48_000], module.heard[-1][0, 48_000:96_000])


def test_a_model_takes_it_in_place_of_its_own_conditioner(tmp_path):
    folder = hub.save_bundle(tiny_pipeline(), tmp_path / "tiny", "A card.")
    module = CLAP_Module()
    model = masktools.load(folder, device="cpu", conditioner=module)
    made = model.generate("a dog", seconds=0.5, n_steps=2)
    assert module.read == [["a dog"]]
    assert len(made[0].samples)
    model.encoder.encode(noise(0.5)[0], 22_050, prefix="condition")
    assert len(module.heard) == 1
    with pytest.raises(BundleError, match="the embeddings of the conditioner and those the transformer reads"):
        masktools.load(folder, device="cpu", conditioner=CLAP_Module(dim=5))


def test_its_weights_are_no_part_of_a_bundle(tmp_path):
    parts = {name: getattr(tiny_pipeline(), name) for name in ("mel", "tokenizer", "transformer", "vocoder")}
    folder = hub.save_bundle(Pipeline(**parts, conditioner=CLAP_Module()), tmp_path / "clap", "A card.")
    assert not (folder / "conditioner.safetensors").exists()
    assert isinstance(hub.load_bundle(folder, device="cpu").conditioner, hub.DeferredClap)
    assert hub.load_bundle(folder, device="cpu", conditioner=CLAP_Module()).condition("rain").shape == (1, 8)


def test_whoever_scores_or_caches_takes_it_too():
    scorer = ConditionerScorer(CLAP_Module(), "clap")
    assert scorer.embed(noise(1)[0], 22_050).shape == scorer.embed_text(["rain"]).shape == (1, 8)
    assert fingerprint(LaionClap(CLAP_Module())) != fingerprint(LaionClap(CLAP_Module()))


@pytest.mark.parametrize("given", ["clap", nn.Linear(2, 2), object()])
def test_what_embeds_nothing_is_no_conditioner(given):
    with pytest.raises(ParameterError, match="conditioner must have dim, embed_audio and embed_text, or be a CLAP"):
        as_conditioner(given)
    with pytest.raises(ParameterError, match="clap must be a CLAP_Module of laion_clap, got"):
        LaionClap(given)


def test_empty_texts_and_waves_are_refused():
    clap = LaionClap(CLAP_Module())
    with pytest.raises(ParameterError, match="is empty"):
        clap.embed_text([" "])
    with pytest.raises(ParameterError, match="must have samples"):
        clap.embed_audio(torch.zeros(1, 0), 48_000)


@pytest.fixture
def roberta(tmp_path, monkeypatch):
    """Give laion_clap small random weights and a small vocabulary in place of what it would ask the network for."""
    import transformers

    (tmp_path / "vocab.json").write_text(json.dumps({piece: n for n, piece in enumerate(PIECES)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    settings = {"vocab_size": len(PIECES), "num_hidden_layers": 1, "max_position_embeddings": 82, "hidden_size": 768}
    config = transformers.RobertaConfig(**settings, intermediate_size=64, num_attention_heads=2)
    files = [str(tmp_path / name) for name in ("vocab.json", "merges.txt")]
    monkeypatch.setattr(
        transformers.RobertaModel, "from_pretrained", lambda *_, **__: transformers.RobertaModel(config)
    )
    for name in ("RobertaTokenizer", "BertTokenizer", "BartTokenizer"):
        made = transformers.RobertaTokenizer(*files)
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", lambda *_, made=made, **__: made)
    return tmp_path, config


@pytest.mark.laion
@pytest.mark.filterwarnings("ignore")
def test_laions_own_code_and_our_loader_give_the_same_vectors(roberta, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv[:1])  # laion_clap reads the command line when it is imported
    laion_clap = pytest.importorskip(
        "laion_clap", reason="needs laion-clap, in an environment of its own", exc_type=ImportError
    )
    place, text = roberta
    torch.manual_seed(0)
    theirs = laion_clap.CLAP_Module(enable_fusion=False, device="cpu")
    for name, weight in theirs.model.named_parameters():
        if weight.ndim > 1 and "logmel" not in name and "spectrogram" not in name:
            nn.init.normal_(weight, std=0.05)
    torch.save({"state_dict": theirs.model.state_dict()}, place / "clap.pt")
    ours = ClapEncoder.from_checkpoint(
        place / "clap.pt", architecture={"text_config": {**text.to_dict(), "model_type": "clap_text_model"}}
    )
    clap = as_conditioner(theirs)
    assert clap.dim == ours.dim == 512
    for seconds in (2.0, 10.0, 17.0):
        wave = torch.from_numpy(noise(seconds, 48_000, seed=3)) * torch.linspace(0.1, 2.0, int(48_000 * seconds))
        found, expected = clap.embed_audio(wave, 48_000), ours.embed_audio(wave, 48_000)
        assert (found * expected).sum() > 0.9999
    texts = ["a dog barks", "rain on a roof, far away"]
    found, expected = clap.embed_text(texts), ours.embed_text(texts)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (found[0] @ found[1]) < 0.9999, "texts must differ for the comparison to mean something"
    assert MEL.sample_rate != 48_000
