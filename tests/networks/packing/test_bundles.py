"""The weights of a loaded model are those of its bundle, to whichever precision it was packed."""

import shutil

import pytest
import torch

from masktools.core.configs import to_dict
from masktools.core.errors import BundleError, ParameterError
from masktools.networks.packing import StoredWeights, can_compute_int8
from masktools.pipeline import Pipeline, hub
from tests.tiny import MEL, tiny_pipeline

CARD = "# tiny\n\nRandom weights."
PRECISIONS = ["fp32", "bf16", pytest.param("int8", marks=pytest.mark.skipif(not can_compute_int8(), reason="no int8"))]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("models") / "tiny", CARD)


@pytest.fixture
def bundle(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tiny")


def test_weights_that_were_rounded_and_are_stored_nowhere_are_not_saved(tmp_path):
    pipeline = tiny_pipeline(precision=torch.bfloat16)
    pipeline.pack()
    with pytest.raises(
        ParameterError, match="those of this transformer are rounded: save the model before it is packed"
    ):
        hub.save_bundle(pipeline, tmp_path / "rounded", CARD)


def test_rounded_weights_are_not_saved_in_whichever_pipeline_they_are(tmp_path):
    rounded = tiny_pipeline(precision=torch.bfloat16, conditioner=False)
    rounded.pack()
    pipeline = Pipeline(MEL, rounded.tokenizer, rounded.transformer, rounded.vocoder)
    with pytest.raises(ParameterError, match="those of this transformer are rounded"):
        hub.save_bundle(pipeline, tmp_path / "new", CARD)
    assert not list(tmp_path.iterdir())


def test_parts_of_a_loaded_model_are_saved_as_they_are_stored_in_another_pipeline_too(original, tmp_path):
    loaded = hub.load_bundle(original, device="cpu", precision="bf16")
    parts = {part: getattr(loaded, part) for part in hub.FAMILIES["masked"].parts}
    folder = hub.save_bundle(Pipeline(MEL, **parts, precision=torch.bfloat16), tmp_path / "new", CARD)
    name = "transformer.safetensors"
    assert (folder / name).read_bytes() == (original / name).read_bytes()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_weight_that_is_not_rounded_is_saved_as_it_is_now(original, tmp_path, precision):
    loaded = hub.load_bundle(original, device="cpu", precision=precision)
    loaded.transformer.position[0, 0] = 7.0
    again = hub.load_bundle(hub.save_bundle(loaded, tmp_path / "new", CARD), device="cpu", precision="fp32")
    assert again.transformer.position[0, 0] == 7.0


def test_a_bundle_that_is_replaced_while_its_model_is_in_use_is_not_mistaken_for_it(bundle, tmp_path):
    loaded = hub.load_bundle(bundle, device="cpu", precision="bf16")
    tokens = torch.zeros(1, 5, 16, dtype=torch.int64)
    wanted = loaded.decode(tokens)
    shutil.rmtree(bundle)
    assert torch.equal(loaded.decode(tokens), wanted)
    with pytest.raises(BundleError, match="transformer.safetensors is not readable .* it was removed, altered"):
        hub.save_bundle(loaded, tmp_path / "new", CARD)
    hub.save_bundle(tiny_pipeline(seed=1), bundle, CARD)
    with pytest.raises(BundleError, match="transformer.safetensors was replaced since the model was loaded"):
        loaded.transformer.state_dict()


def test_the_state_of_a_loaded_part_is_the_start_of_a_training(original):
    loaded = hub.load_bundle(original, device="cpu", precision="bf16").transformer
    fresh = hub.build_part("transformer", "masked", to_dict(loaded.config), MEL)
    fresh.load_state_dict(loaded.state_dict())
    fresh.train()
    tokens, mask = torch.zeros(1, 80, dtype=torch.int64), torch.ones(1, 80, dtype=torch.bool)
    fresh.logits(tokens, mask).square().sum().backward()
    assert all(value.grad is not None for name, value in fresh.named_parameters() if name.startswith("blocks"))


def size_of(folder):
    return sum(file.stat().st_size for file in folder.iterdir())


def test_a_bundle_in_int8_is_smaller_and_keeps_its_tokens(original, tmp_path):
    loaded = hub.load_bundle(original, device="cpu", precision="fp32")
    folder = hub.save_bundle(loaded, tmp_path / "small", CARD, int8=("tokenizer", "transformer"))
    assert size_of(folder) < size_of(original)
    small = hub.load_bundle(folder, device="cpu", precision="fp32")
    mel = torch.randn(2, MEL.n_mels, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(small.tokenizer.encode(mel), loaded.tokenizer.encode(mel))
    assert hub.tokens_known_by(small.transformer) == hub.tokens_known_by(loaded.transformer)


def test_no_weight_of_a_bundle_in_int8_is_further_off_than_half_a_step_of_its_row(original, tmp_path):
    loaded = hub.load_bundle(original, device="cpu", precision="fp32")
    folder = hub.save_bundle(loaded, tmp_path / "small", CARD, int8=("transformer",))
    small = hub.load_bundle(folder, device="cpu", precision="fp32")
    was = loaded.transformer.state_dict()
    for name, value in small.transformer.state_dict().items():
        row = was[name].abs().reshape(len(was[name]), -1).amax(dim=1) if was[name].ndim else was[name].abs()
        step = row.reshape(-1, *[1] * (value.ndim - 1)) / 127 if value.ndim else row / 127
        assert ((value - was[name]).abs() <= 0.501 * step + 1e-7).all(), name


def test_what_was_rounded_once_is_rounded_to_the_same_again(original, tmp_path):
    loaded = hub.load_bundle(original, device="cpu", precision="fp32")
    first = hub.save_bundle(loaded, tmp_path / "first", CARD, int8=("transformer",))
    again = hub.load_bundle(first, device="cpu", precision="fp32")
    second = hub.save_bundle(again, tmp_path / "second", CARD, int8=("transformer",))
    one, other = (StoredWeights(folder / "transformer.safetensors") for folder in (first, second))
    assert all(torch.allclose(one[name].float(), other[name].float(), rtol=1e-6, atol=0) for name in one)


@pytest.mark.parametrize("part", ["codec", "encoder", "conditioners"])
def test_only_parts_of_the_model_can_be_kept_in_int8(part, tmp_path):
    with pytest.raises(ParameterError, match="part to be kept in int8"):
        hub.save_bundle(tiny_pipeline(), tmp_path / "small", CARD, int8=(part,))
    assert not list(tmp_path.iterdir())
