"""Folders as MAGNeT's are published, at a tiny size, become bundles that compute what their parts computed."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import yaml

import masktools
from masktools.cli.main import main
from masktools.core.errors import CheckpointError
from masktools.pipeline.convert import magnet_from
from tests.pipeline.streams.small import small_encodec, transformer
from tests.tiny import noise

SIZES = dict(text_dim=24, width=16, n_heads=2)
RENAMED = {"emb": "streams", "linears": "heads", "transformer.layers": "blocks"}
WITHIN = {
    "norm1": "norm1",
    "norm2": "norm2",
    "norm_cross": "norm_cross",
    "self_attn.out_proj": "attn.proj",
    "cross_attention.out_proj": "cross.proj",
    "linear1": "mlp.fc1",
    "linear2": "mlp.fc2",
}
TEXT = "condition_provider.conditioners.description.output_proj"


def exported_transformer(net):
    """Return the weights of a stream transformer in half precision, under audiocraft's names."""
    ours = net.state_dict()
    theirs = OrderedDict({f"out_norm.{end}": ours[f"norm.{end}"] for end in ("weight", "bias")})
    theirs |= {f"{TEXT}.{end}": ours[f"text.{end}"] for end in ("weight", "bias")}
    for stream in range(net.config.n_streams):
        theirs[f"emb.{stream}.weight"] = ours[f"streams.{stream}.weight"]
        theirs[f"linears.{stream}.weight"] = ours[f"heads.{stream}.weight"]
    for block in range(net.config.depth):
        there, here = f"transformer.layers.{block}.", f"blocks.{block}."
        for their, our in WITHIN.items():
            theirs |= {
                f"{there}{their}.{end}": ours[f"{here}{our}.{end}"]
                for end in ("weight", "bias")
                if f"{here}{our}.{end}" in ours
            }
        theirs[f"{there}self_attn.in_proj_weight"] = ours[f"{here}attn.qkv.weight"]
        cross = [ours[f"{here}cross.{name}.weight"] for name in ("q", "kv")]
        theirs[f"{there}cross_attention.in_proj_weight"] = torch.cat(cross)
    return OrderedDict((name, value.half()) for name, value in theirs.items())


def exported_codec(codec):
    """Return the weights of EnCodec under audiocraft's names, whose convolutions carry their norms as pairs."""
    theirs = OrderedDict()
    for name, value in codec.model.state_dict().items():
        name = name.replace("encoder.layers.", "encoder.model.").replace("decoder.layers.", "decoder.model.")
        name = name.replace("quantizer.layers.", "quantizer.vq.layers.").replace(".codebook.", "._codebook.")
        name = name.replace("parametrizations.weight.original0", "weight_g")
        name = name.replace("parametrizations.weight.original1", "weight_v")
        if ".conv." in name:
            whole = name.split(".conv.")[0].replace("model.", "layers.", 1)
            layer = codec.model.get_submodule(whole + ".conv")
            kind = "convtr" if isinstance(layer, torch.nn.ConvTranspose1d) else "conv"
            name = name.replace(".conv.", f".{kind}.{kind}.")
        theirs[name] = value
    return theirs


def settings(sound=False, long=False):
    """Return the settings of a public model, but for its sizes; references are as the files have them."""
    steps = [60 if long else 20, 10, 10]
    return {
        "solver": "audio_magnet" if sound else "magnet",
        "sample_rate": 4000,
        "channels": 1,
        "lm_model": "transformer_lm_magnet",
        "dataset": {"segment_duration": 30 if long else 10},
        "masking": {"span_len": 3},
        "codebooks_pattern": {"modeling": "parallel", "parallel": {"empty_initial": -1}},
        "transformer_lm": {
            "dim": 16,
            "num_heads": 2,
            "num_layers": 2,
            "hidden_scale": 4,
            "n_q": 3,
            "card": 16,
            "causal": False,
            "norm_first": True,
            "bias_ff": False,
            "bias_attn": False,
            "bias_proj": False,
            "positional_embedding": "sin",
            "layer_scale": None,
            "norm": "layer_norm",
            "activation": "gelu",
            "kv_repeat": 1,
            "qk_layer_norm": False,
            "subcodes_context": 5,
            "segment_duration": "${dataset.segment_duration}",
            "span_len": "${masking.span_len}",
        },
        "conditioners": {
            "args": {"merge_text_conditions_p": 0.25},
            "description": {"model": "t5", "t5": {"name": "t5-tiny", "finetune": False, "word_dropout": 0.3}},
        },
        "fuser": {"cross_attention_pos_emb": False, "sum": [], "prepend": [], "cross": ["description"]},
        "generate": {
            "lm": {
                "use_sampling": True,
                "temp": 3.5 if sound else 3.0,
                "top_k": 0,
                "top_p": 0.8 if sound else 0.9,
                "max_cfg_coef": 20.0 if sound else 10.0,
                "min_cfg_coef": 1.0,
                "decoding_steps": steps,
                "anneal_temp": True,
                "span_scoring": "max",
                "span_arrangement": "nonoverlap",
            }
        },
    }


CODEC_SETTINGS = {
    "sample_rate": 4000,
    "channels": 1,
    "encodec": {"autoencoder": "seanet", "quantizer": "rvq", "causal": False, "renormalize": False},
    "seanet": {
        "dimension": 8,
        "channels": 1,
        "causal": False,
        "n_filters": 2,
        "n_residual_layers": 1,
        "ratios": [5, 4, 2],
        "activation": "ELU",
        "norm": "weight_norm",
        "kernel_size": 7,
        "last_kernel_size": 7,
        "residual_kernel_size": 3,
        "dilation_base": 2,
        "pad_mode": "reflect",
        "true_skip": True,
        "compress": 2,
        "lstm": 2,
        "disable_norm_outer_blocks": 0,
        "decoder": {"trim_right_ratio": 1.0, "final_activation": None},
    },
    "rvq": {"n_q": 3, "bins": 16},
}


def network(seed=0):
    return transformer(seed, **SIZES)


def write(path, weights, config, **more):
    content = {"best_state": weights, "xp.cfg": yaml.safe_dump(config), "version": "1.3.0", "exported": True}
    torch.save(content | more, path)


def publish(place, config=None, weights=None, codec=True):
    """Write a folder as it is published, and return it."""
    place.mkdir(exist_ok=True)
    write(place / "state_dict.bin", weights or exported_transformer(network()), config or settings())
    if codec:
        write(place / "compression_state_dict.bin", exported_codec(small_encodec()), CODEC_SETTINGS)
    else:
        pointer = {"pretrained": "facebook/encodec_32khz", "exported": True, "version": "1.3.0"}
        torch.save(pointer, place / "compression_state_dict.bin")
    return place


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("long", [False, True])
def test_a_public_folder_becomes_a_bundle_that_computes_what_its_parts_do(tmp_path, sound, long):
    source = publish(tmp_path / "magnet-small", settings(sound, long))
    assert main(["convert", "magnet", str(source), "-o", str(tmp_path / "model")]) == 0
    walk = masktools.load(tmp_path / "model", device="cpu", precision="fp32").pipeline
    assert walk.window_cols == (3000 if long else 1000)
    assert (walk.sample_rate, walk.shape.n_rows, walk.shape.column_samples) == (4000, 3, 40)
    plan = walk.decoding["generate"]
    assert [config.n_steps for config in plan] == [60 if long else 20, 10, 10]
    assert {(config.token_temperature, config.top_p, config.guidance) for config in plan} == {
        (3.5, 0.8, 20.0) if sound else (3.0, 0.9, 10.0)
    }
    wave = torch.from_numpy(noise(1.0, 4000))
    codec = small_encodec()
    with torch.no_grad():
        tokens = codec.encode(wave)
        assert torch.equal(walk.encode(wave), tokens)
        torch.testing.assert_close(walk.decode(tokens), codec.decode(tokens))
        states = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(0))
        original = network()
        for weight in original.parameters():
            weight.copy_(weight.half())
        for stage in range(3):
            wanted = original.logits(tokens, stage, original.read(states))
            found = walk.transformer.logits(tokens, stage, walk.transformer.read(states))
            torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-5)
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "CC-BY-NC-4.0" in card
    assert "t5-tiny" in card


def test_a_converted_model_generates_by_its_own_settings(tmp_path):
    assert main(["convert", "magnet", str(publish(tmp_path / "small")), "-o", str(tmp_path / "model")]) == 0
    model = masktools.load(tmp_path / "model", device="cpu")
    (made,) = model.generate(seconds=0.5, n_steps=(2, 1, 1))
    assert (len(made.samples), made.sample_rate) == (2000, 4000)
    assert np.isfinite(made.samples).all()
    with pytest.raises(CheckpointError, match="texts for this model need T5: MASKTOOLS_T5 is not set"):
        model.generate("rain")


def test_a_folder_that_only_names_its_codec_takes_that_one(tmp_path, capsys):
    source, other = publish(tmp_path / "small", codec=False), publish(tmp_path / "encodec")
    command = ["convert", "magnet", str(source), "-o", str(tmp_path / "model")]
    assert main(command) == 2
    assert "only names its codec, facebook/encodec_32khz: fetch that model's" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    assert main([*command, "--codec", str(other / "compression_state_dict.bin")]) == 0
    assert main(command) == 2
    assert "must not exist yet" in capsys.readouterr().err


def test_a_causal_model_over_the_same_codec_comes_along_as_prior(tmp_path):
    config = settings()
    config["transformer_lm"] |= {"causal": True}
    config["codebooks_pattern"] = {"modeling": "delay", "delay": {"delays": [0, 1, 2], "flatten_first": 0}}
    source = publish(tmp_path / "small")
    parts = magnet_from(source, prior=publish(tmp_path / "musicgen", config))
    tokens = torch.randint(0, 16, (1, 3, 9), generator=torch.Generator().manual_seed(0))
    assert parts.prior.all_logits(tokens).isfinite().all()
    config["codebooks_pattern"]["delay"]["delays"] = [0, 2, 4]
    with pytest.raises(CheckpointError, match=r"must lag k places .* got delays \[0, 2, 4\]"):
        magnet_from(source, prior=publish(tmp_path / "musicgen", config))


CHANGES = {
    "transformer_lm.bias_attn": (True, "bias_attn must be False"),
    "transformer_lm.norm_first": (False, "norm_first must be True"),
    "transformer_lm.positional_embedding": ("rope", "positional_embedding must be 'sin'"),
    "transformer_lm.layer_scale": (0.1, "layer_scale must be"),
    "transformer_lm.dim": (32, "transformer_lm.dim must be that of the weights, 16, got 32"),
    "transformer_lm.card": (64, "transformer_lm.card must be that of the weights"),
    "sample_rate": (32_000, "sample_rate must be that of the weights, 4000"),
    "transformer_lm.kv_repeat": (2, "kv_repeat must be 1"),
    "fuser.prepend": (["description"], "fuser.prepend must be"),
    "conditioners.description.t5.name": ("t5-base", "states of 24 numbers, but t5-base has 768"),
    "conditioners.self_wav": ({"model": "chroma_stem"}, "conditioners must be one description read by t5"),
    "generate.lm.decoding_steps": ([20, 10], "decoding_steps must be 3 numbers"),
    "generate.lm.temp": ("hot", "'generate.lm.temp' of type float"),
    "dataset.segment_duration": ("${nowhere.at_all}", "refers to nowhere.at_all"),
    "codebooks_pattern.modeling": ("delay", "hybrid"),
}


@pytest.mark.parametrize("key", CHANGES)
def test_what_another_network_has_is_refused_in_one_line(tmp_path, capsys, key):
    value, words = CHANGES[key]
    config = settings()
    *places, name = key.split(".")
    place = config
    for one in places:
        place = place[one]
    place[name] = value
    assert main(["convert", "magnet", str(publish(tmp_path / "small", config)), "-o", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "model").exists()


class Settings(dict):
    """Stands for an object of a library of configurations, which only a full unpickler makes."""


@pytest.mark.parametrize("fault", ["object", "missing weight", "unknown weight", "not finite", "cut off", "no folder"])
def test_files_that_are_unsafe_or_damaged_are_refused_in_one_line(tmp_path, capsys, fault):
    weights = exported_transformer(network())
    words = "must hold the weights of StreamTransformer and no others"
    if fault == "missing weight":
        del weights["transformer.layers.1.linear1.weight"]
    elif fault == "unknown weight":
        weights["transformer.layers.0.self_attn.in_proj_bias"] = torch.zeros(48)
    elif fault == "not finite":
        weights["out_norm.weight"][0] = float("nan")
    source = publish(tmp_path / "small", weights=weights)
    if fault == "object":
        write(source / "state_dict.bin", weights, settings(), **{"more": Settings()})
        words = "must hold tensors alone"
    elif fault == "cut off":
        content = (source / "state_dict.bin").read_bytes()
        (source / "state_dict.bin").write_bytes(content[: len(content) // 2])
        words = "it is damaged"
    elif fault == "no folder":
        source, words = tmp_path / "none", "must be a folder with state_dict.bin"
    assert main(["convert", "magnet", str(source), "-o", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "model").exists()
