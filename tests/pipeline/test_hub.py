"""Bundles: what is saved comes back, whole or not at all, and what was altered is refused by name."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from masktools.core.errors import BundleError, CheckpointError, DeviceError, MelMismatchError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning import ClapEncoderConfig
from masktools.networks.grain import Grain, GrainConfig
from masktools.networks.packing import can_compute_int8
from masktools.networks.vocoder import GriffinLim, GriffinLimConfig
from masktools.pipeline import Pipeline, bundles, hub
from masktools.pipeline.bundles import sha256_of
from masktools.solver import SolverConfig
from tests.tiny import MEL, tiny_pipeline

PARTS = ("tokenizer", "transformer", "vocoder", "conditioner")
CARD = "# tiny\n\nRandom weights."


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("models") / "tiny", CARD)


@pytest.fixture
def bundle(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tiny")


def change_config(bundle, **changes):
    """Change entries of config.json, and the checksum with them."""
    config = json.loads((bundle / "config.json").read_text()) | changes
    (bundle / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    renew_checksums(bundle)


def renew_checksums(bundle):
    sums = {path.name: sha256_of(path) for path in bundle.iterdir() if path.name != "checksums.json"}
    (bundle / "checksums.json").write_text(json.dumps(sums))


def test_a_bundle_is_json_and_safetensors_in_half_precision(original):
    names = {path.name for path in original.iterdir()}
    weights = {f"{part}.safetensors" for part in PARTS}
    assert names == weights | {"config.json", "MODEL_CARD.md", "checksums.json"}
    assert (original / "MODEL_CARD.md").read_text().endswith("---\n" + CARD + "\n")
    state = load_file(original / "transformer.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    config = json.loads((original / "config.json").read_text())
    assert (config["format"], config["name"]) == (1, "tiny")
    assert config["vocoder"]["kind"] == "light"
    assert config["tokenizer"]["mel"] == config["mel"]


def test_what_is_loaded_is_what_was_saved(original, tmp_path):
    loaded = hub.load_bundle(original, device="cpu", precision="fp32")
    assert (loaded.name, loaded.folder) == ("tiny", original)
    assert loaded.mel == MEL
    assert not loaded.transformer.training
    saved = tiny_pipeline()
    for part in PARTS:
        ours, theirs = getattr(saved, part).state_dict(), getattr(loaded, part).state_dict()
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert theirs[key].dtype == value.dtype
            torch.testing.assert_close(theirs[key], value, atol=1e-3, rtol=1e-3)
    again = hub.save_bundle(loaded, tmp_path / "again", CARD, name="tiny")
    for path in original.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_a_model_brings_the_settings_of_the_decoding_that_suit_it(tmp_path):
    suited = {"bwe": SolverConfig(temperature=4.5), "generate": SolverConfig(guidance_schedule="constant")}
    folder = hub.save_bundle(tiny_pipeline(decoding=suited), tmp_path / "suited", CARD)
    assert hub.load_bundle(folder, device="cpu").decoding == suited
    change_config(folder, decoding={"bwe": {"temperature": 2.0}})
    assert hub.load_bundle(folder, device="cpu").decoding == {"bwe": SolverConfig(temperature=2.0)}


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ({"bew": {}}, "decoding: unknown job 'bew'.*did you mean 'bwe'"),
        ({"bwe": {"temprature": 2.0}}, "decoding: .*temprature"),
        ({"bwe": {"temperature": -1.0}}, "decoding: temperature"),
    ],
)
def test_settings_of_the_decoding_that_the_solver_does_not_have_are_named(bundle, decoding, message):
    change_config(bundle, decoding=decoding)
    with pytest.raises(BundleError, match=message):
        hub.load_bundle(bundle, device="cpu")


def test_a_model_without_a_conditioner_is_a_model(tmp_path):
    folder = hub.save_bundle(tiny_pipeline(conditioner=False), tmp_path / "bare", CARD)
    assert not (folder / "conditioner.safetensors").exists()
    assert hub.load_bundle(folder, device="cpu").conditioner is None


def test_grain_is_kept_with_a_model_and_heard_in_what_it_decodes(tmp_path):
    plain, grain = tiny_pipeline(), Grain(GrainConfig(width=4, strength=0.7))
    walk = Pipeline(
        **({"mel": plain.mel, "grain": grain, "name": "tiny"} | {k: v for k, v in plain.parts.items() if v})
    )
    loaded = hub.load_bundle(hub.save_bundle(walk, tmp_path / "grainy", CARD), device="cpu", precision="fp32")
    assert loaded.grain.config == grain.config
    tokens = torch.randint(0, 16, (2, 5, 20), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(loaded.decode(tokens), walk.decode(tokens), atol=2e-3)
    assert torch.equal(walk.to_mel_from(tokens), plain.to_mel_from(tokens)), "what is decoded itself stays"
    assert not torch.allclose(walk.decode(tokens), plain.decode(tokens), atol=1e-3)


def test_parts_without_weights_are_kept_by_their_settings(tmp_path):
    parts = {name: getattr(tiny_pipeline(), name) for name in ("mel", "tokenizer", "transformer", "conditioner")}
    vocoder = GriffinLim(GriffinLimConfig(n_iterations=3), MEL)
    folder = hub.save_bundle(Pipeline(**parts, vocoder=vocoder), tmp_path / "lim", CARD)
    assert hub.load_bundle(folder, device="cpu").vocoder.config.n_iterations == 3


def test_clap_is_asked_for_when_it_is_needed_and_not_before(tmp_path, monkeypatch):
    monkeypatch.delenv("MASKTOOLS_CLAP", raising=False)
    pipeline = tiny_pipeline()
    pipeline.conditioner = hub.DeferredClap(8, torch.device("cpu"))
    loaded = hub.load_bundle(hub.save_bundle(pipeline, tmp_path / "clap", CARD), device="cpu")
    assert loaded.conditioner.dim == 8
    assert ClapEncoderConfig(dim=8).dim == 8
    with pytest.raises(CheckpointError):
        loaded.condition("rain")


def test_values_beyond_half_precision_stay_in_single(tmp_path):
    pipeline = tiny_pipeline()
    pipeline.transformer.position[0, 0] = 1e6
    loaded = hub.load_bundle(hub.save_bundle(pipeline, tmp_path / "big", CARD), device="cpu", precision="fp32")
    assert loaded.transformer.position[0, 0] == 1e6


def test_a_transformer_beside_another_tokenizer_than_its_own_is_refused(bundle, tmp_path):
    other = hub.save_bundle(tiny_pipeline(seed=1), tmp_path / "other", CARD)
    shutil.copy(other / "tokenizer.safetensors", bundle)
    renew_checksums(bundle)
    with pytest.raises(BundleError, match="learned the tokens of another tokenizer"):
        hub.load_bundle(bundle, device="cpu")


def test_parts_of_two_models_are_not_put_into_one(bundle, tmp_path):
    mine, other = hub.load_bundle(bundle, device="cpu", precision="fp32"), tiny_pipeline(seed=1)
    mixed = Pipeline(MEL, other.tokenizer, mine.transformer, mine.vocoder, mine.conditioner)
    with pytest.raises(BundleError, match="put it together with the tokenizer that it was trained on"):
        hub.save_bundle(mixed, tmp_path / "mixed", CARD)
    assert not (tmp_path / "mixed").exists()


def test_a_decoder_that_learned_more_leaves_the_tokens_what_they_are(bundle, tmp_path):
    mine = hub.load_bundle(bundle, device="cpu", precision="fp32")
    with torch.no_grad():
        next(mine.tokenizer.decoder.parameters()).add_(0.5)
    again = hub.load_bundle(hub.save_bundle(mine, tmp_path / "again", CARD), device="cpu")
    assert hub.tokens_known_by(again.transformer) == hub.tokens_known_by(mine.transformer)


def test_a_bundle_that_does_not_say_which_tokens_were_learned_loads_as_before(bundle):
    config = json.loads((bundle / "config.json").read_text())
    del config["transformer"]["tokenizer"]
    change_config(bundle, transformer=config["transformer"])
    assert hub.tokens_known_by(hub.load_bundle(bundle, device="cpu").transformer)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_an_altered_part_is_named(bundle, part):
    path = bundle / f"{part}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{part}.safetensors was altered or cut off"):
        hub.load_bundle(bundle)


@pytest.mark.parametrize("name", ["config.json", "MODEL_CARD.md"])
def test_altered_texts_are_named(bundle, name):
    (bundle / name).write_text((bundle / name).read_text() + " ")
    with pytest.raises(BundleError, match=f"{name} was altered or cut off"):
        hub.load_bundle(bundle)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "checksums.json",
        "MODEL_CARD.md",
        *(f"{part}.safetensors" for part in PARTS),
    ],
)
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"no complete bundle: {name} is missing"):
        hub.load_bundle(bundle)


def test_a_truncated_part_is_named_even_unverified(bundle):
    path = bundle / "vocoder.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError, match="vocoder.safetensors was altered or cut off"):
        hub.load_bundle(bundle)
    with pytest.raises(BundleError, match="vocoder.safetensors is not readable .* altered, or cut off"):
        hub.load_bundle(bundle, verify=False)
    path.unlink()
    with pytest.raises(BundleError, match="vocoder.safetensors is missing"):
        hub.load_bundle(bundle, verify=False)


@pytest.mark.parametrize("name", ["config.json", "checksums.json"])
def test_what_is_not_json_is_named(bundle, name):
    (bundle / name).write_text('{"format":')
    with pytest.raises(BundleError, match=f"{name} is not JSON .* altered, or cut off"):
        hub.load_bundle(bundle)
    (bundle / name).write_text("[1]")
    with pytest.raises(BundleError, match=f"{name} must hold an object, got list"):
        hub.load_bundle(bundle)


def test_a_file_outside_the_folder_is_no_part_of_it(bundle):
    sums = json.loads((bundle / "checksums.json").read_text())
    (bundle / "checksums.json").write_text(json.dumps(sums | {"../other": "0"}))
    with pytest.raises(BundleError, match=r"\.\./other is missing"):
        hub.load_bundle(bundle)
    (bundle / "checksums.json").write_text("{}")
    with pytest.raises(BundleError, match=r"checksums.json does not list MODEL_CARD.md, config.json"):
        hub.load_bundle(bundle)


@pytest.mark.parametrize("found", [3, "1", None])
def test_an_unknown_format_says_what_is_known(bundle, found):
    change_config(bundle, format=found)
    with pytest.raises(BundleError, match=rf"bundle format {found!r} is unknown, this version reads format 1"):
        hub.load_bundle(bundle)


def test_a_bundle_of_format_2_names_a_family_that_is_known(bundle):
    change_config(bundle, format=2, family="waves")
    with pytest.raises(BundleError, match=r"model family 'waves' is unknown, this version has masked, streams"):
        hub.load_bundle(bundle)


def test_an_unknown_kind_lists_the_known_ones(bundle):
    config = json.loads((bundle / "config.json").read_text())
    change_config(bundle, vocoder=config["vocoder"] | {"kind": "wavenet"})
    with pytest.raises(BundleError, match="vocoder: unknown kind of vocoder 'wavenet': choose from light, hifigan"):
        hub.load_bundle(bundle)


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        ("tokenizer", {"kind": "local", "config": {"n_codez": 3}}, "tokenizer: .* has no key 'n_codez'"),
        ("transformer", {"kind": "masked", "config": {"depth": 0}}, "transformer: depth must be at least 1"),
        ("vocoder", {"kind": "light"}, "vocoder must have a kind and a config"),
        ("vocoder", "light", "vocoder must have a kind and a config"),
        ("vocoder", {"kind": "light", "config": {}, "path": "/"}, "vocoder must have a kind and a config"),
        ("mel", {"n_mels": "80"}, "mel: n_mels must be a whole number"),
        ("tokenizer", None, "config.json lacks tokenizer"),
        ("vocodor", {}, "config.json has unknown entries: vocodor"),
    ],
)
def test_a_bad_entry_is_named(bundle, part, entry, message):
    change_config(bundle, **{part: entry})
    with pytest.raises(BundleError, match=message):
        hub.load_bundle(bundle)


def test_weights_of_another_model_are_refused(bundle):
    path = bundle / "transformer.safetensors"
    state = load_file(path)
    weight = state.pop("mask_vector")
    save_file(state, path)
    renew_checksums(bundle)
    with pytest.raises(BundleError, match=r"transformer.safetensors: 1 weights are missing \(mask_vector\)"):
        hub.load_bundle(bundle)
    save_file(state | {"mask_vector": weight, "extra": weight.clone()}, path)
    renew_checksums(bundle)
    with pytest.raises(BundleError, match=r"1 weights are unknown \(extra\): weights and settings are of different"):
        hub.load_bundle(bundle)
    save_file(state | {"mask_vector": weight[:-1].clone()}, path)
    renew_checksums(bundle)
    with pytest.raises(BundleError, match=r"mask_vector must have shape \(32,\), got \(31,\)"):
        hub.load_bundle(bundle)


def test_a_part_made_for_another_mel_is_refused(bundle):
    config = json.loads((bundle / "config.json").read_text())
    other = config["vocoder"] | {"mel": config["mel"] | {"f_max": 8000.0}}
    change_config(bundle, vocoder=other)
    with pytest.raises(MelMismatchError, match="its vocoder differ in f_max 11025 and 8000"):
        hub.load_bundle(bundle)


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(hub, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        hub.save_bundle(tiny_pipeline(), tmp_path / "new", CARD)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_not_replaced(bundle, tmp_path):
    with pytest.raises(ParameterError, match="folder must not exist yet, got .*tiny"):
        hub.save_bundle(tiny_pipeline(), bundle, CARD)
    with pytest.raises(ParameterError, match="the folder to hold the bundle must exist"):
        hub.save_bundle(tiny_pipeline(), tmp_path / "no" / "where", CARD)


def test_a_card_is_required(tmp_path):
    with pytest.raises(ParameterError, match="a bundle needs a model card"):
        hub.save_bundle(tiny_pipeline(), tmp_path / "new", " \n")


def test_a_part_of_an_unknown_class_is_refused(tmp_path):
    pipeline = tiny_pipeline()
    pipeline.vocoder = torch.nn.Identity()
    with pytest.raises(BundleError, match="vocoder of a bundle must be one of LightVocoder, .* got Identity"):
        hub.save_bundle(pipeline, tmp_path / "new", CARD)
    assert not list(tmp_path.iterdir())


def test_models_are_found_by_name_in_the_folders_of_the_environment(original, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "_BUNDLED", tmp_path / "none")
    assert hub.list_models() == {}
    monkeypatch.setenv("MASKTOOLS_MODELS", f"{tmp_path / 'absent'}:{original.parent}")
    assert hub.list_models() == {"tiny": original}
    assert hub.load_bundle("tiny", device="cpu").name == "tiny"


def test_an_unknown_model_says_which_there_are(original, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "_BUNDLED", original.parent)
    with pytest.raises(BundleError, match="no model 'tinny': available are tiny; or give the folder of a bundle"):
        hub.load_bundle("tinny")
    monkeypatch.setattr(bundles, "_BUNDLED", tmp_path)
    with pytest.raises(BundleError, match="no model '.*absent': available are none"):
        hub.load_bundle(tmp_path / "absent")


def test_a_folder_that_is_no_bundle_says_what_it_lacks(tmp_path):
    with pytest.raises(BundleError, match="no complete bundle: config.json is missing"):
        hub.load_bundle(tmp_path)


def test_devices_and_precisions_are_checked_first(original):
    with pytest.raises(ParameterError, match="unknown device 'gpu'"):
        hub.load_bundle(original, device="gpu")
    with pytest.raises(DeviceError, match="fp16 needs a GPU"):
        hub.load_bundle(original, device="cpu", precision="fp16")
    assert hub.load_bundle(original, device="cpu", precision="bf16").precision == torch.bfloat16
    assert hub.load_bundle(original, device="cpu", batch_size=3).batch_size == 3


def test_parts_are_made_by_name():
    assert hub.build_part("vocoder", "griffin_lim", {}, MelConfig()).mel_config == MelConfig()
    with pytest.raises(ParameterError, match="unknown part 'vocodor'"):
        hub.build_part("vocodor", "light", {}, MelConfig())


PRECISIONS = ["fp32", "bf16", pytest.param("int8", marks=pytest.mark.skipif(not can_compute_int8(), reason="no int8"))]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_state_of_a_loaded_model_is_what_was_stored_whatever_it_computes_in(original, tmp_path, precision):
    loaded = hub.load_bundle(original, device="cpu", precision=precision)
    again = hub.save_bundle(loaded, tmp_path / "again", CARD, name="tiny")
    for path in original.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_loaded_model_computes_as_the_saved_one_but_for_rounding(original, precision):
    saved, loaded = tiny_pipeline(), hub.load_bundle(original, device="cpu", precision=precision)
    assert loaded.transformer.packed
    tokens, mask = torch.zeros(2, 80, dtype=torch.int64), torch.rand(2, 80) < 0.5
    items = torch.arange(2)
    ours, theirs = (model.predictor()(tokens, mask, items, False) for model in (saved, loaded))
    torch.testing.assert_close(theirs[mask], ours[mask], atol=3e-2, rtol=0)
    assert not theirs[~mask].any()


def test_int8_is_not_compiled(original):
    with pytest.raises(ParameterError, match="either in int8 or compiled"):
        hub.load_bundle(original, device="cpu", precision="int8", compile=True)


def test_a_compiled_model_is_left_unpacked_on_a_cpu(original, monkeypatch):
    compiled = []
    monkeypatch.setattr(Pipeline, "compile", lambda self: compiled.append(self))
    loaded = hub.load_bundle(original, device="cpu", compile=True)
    assert compiled == [loaded]
    assert not loaded.transformer.packed
