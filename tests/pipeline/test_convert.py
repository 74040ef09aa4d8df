"""Foreign checkpoints become modules that compute what theirs did, or are refused with the reason."""

import copy
import json
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations

from masktools.core.errors import CheckpointError, MelMismatchError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.tokenizer import SpecVqgan, SpecVqganConfig
from masktools.networks.vocoder import Bigvgan, BigvganConfig, Hifigan, HifiganConfig
from masktools.networks.vocoder.hifigan import SmoothActivation
from masktools.pipeline.convert import CONVERTERS, SPECVQGAN_MEL, convert_checkpoint

SKELETON = {"channels": 16, "block_kernels": (3, 5), "block_dilations": ((1, 3), (1, 2))}
SETTINGS = {
    "resblock": "1",
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 2]],
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
    "learning_rate": 0.0002,  # what training alone needs is passed over
}
BIGVGAN_SETTINGS = SETTINGS | {"activation": "snakebeta", "snake_logscale": True}


def shaken(module, seed=0):
    """Return the module with random weights that are all heard."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                weight.copy_(noise * weight[0].numel() ** -0.5)
            else:
                weight.add_(0.1 * noise)
    return module.eval()


def normalised(module, weight_norm):
    """Return a copy whose convolutions carry weight normalisation, with magnitudes of their own."""
    module = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(5)
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(layer)
            magnitude = (
                layer.parametrizations.weight.original0 if hasattr(layer, "parametrizations") else layer.weight_g
            )
            with torch.no_grad():
                magnitude.mul_(0.7 + 0.6 * torch.rand(magnitude.shape, generator=generator))
    return module


def old_weight_norm(layer):
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(layer)


def with_filters(module):
    """Return the state dict of a BigVGAN with the filters that upstream keeps in it."""
    state = module.state_dict()
    for name, part in module.named_modules():
        if isinstance(part, SmoothActivation):
            for end in ("upsample.filter", "downsample.lowpass.filter"):
                state[f"{name}.{end}"] = part.filter[None, None].clone()
    return state


def write(folder, content, settings, name="g_02500000"):
    """Write a checkpoint and its config.json, and return the path of the first."""
    (folder / "config.json").write_text(json.dumps(settings))
    torch.save(content, folder / name)
    return folder / name


def hifigan():
    return shaken(Hifigan(HifiganConfig(**SKELETON), MelConfig()))


def bigvgan(**changes):
    return shaken(Bigvgan(BigvganConfig(**SKELETON, **changes), MelConfig()))


def specvqgan():
    sizes = {"n_codes": 16, "code_dim": 6, "channels": 32, "n_blocks": 1, "latent_channels": 8}
    return shaken(SpecVqgan(SpecVqganConfig(**sizes, multipliers=(1, 1, 1, 1, 2), codebook="gradient")))


MELS = 2.0 * torch.rand(2, 80, 5, generator=torch.Generator().manual_seed(1)) - 1.0


@pytest.mark.parametrize("weight_norm", [old_weight_norm, parametrizations.weight_norm], ids=["old", "new"])
def test_a_hifigan_sounds_as_before_its_weight_normalisation_was_folded(tmp_path, weight_norm):
    theirs = normalised(hifigan(), weight_norm)
    path = write(tmp_path, {"generator": theirs.state_dict()}, SETTINGS)
    names = set(theirs.state_dict())
    assert "conv_pre.weight_g" in names or "conv_pre.parametrizations.weight.original1" in names
    ours = convert_checkpoint("hifigan", path)
    assert isinstance(ours, Hifigan)
    assert not ours.training
    assert ours.config == HifiganConfig(**SKELETON)
    assert ours.config.floor_db == -100.0, "where upstream clips the mel magnitude that it trains on"
    assert ours.mel_config == MelConfig()
    torch.testing.assert_close(ours(MELS), theirs(MELS), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(ours(MELS), hifigan()(MELS), atol=1e-3)


def test_a_folded_hifigan_is_taken_as_it_is_also_from_safetensors(tmp_path):
    theirs = hifigan()
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS | {"resblock": 1}))
    save_file(theirs.state_dict(), tmp_path / "generator.safetensors")
    torch.save(theirs.state_dict(), tmp_path / "generator.pt")
    for name in ("generator.safetensors", "generator.pt"):
        ours = convert_checkpoint("hifigan", str(tmp_path / name), str(tmp_path / "settings.json"))
        assert torch.equal(ours(MELS), theirs(MELS))


@pytest.mark.parametrize("form", ["normalised", "folded"])
@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({}, {}),
        ({"activation": "snake", "log_scale": False}, {"activation": "snake", "snake_logscale": False}),
        ({"end": "clamp", "last_bias": False}, {"use_tanh_at_final": False, "use_bias_at_final": False}),
        ({"block_kind": 2}, {"resblock": "2"}),
    ],
    ids=["version 1", "linear snake", "version 2", "single blocks"],
)
def test_a_bigvgan_sounds_as_before(tmp_path, changes, settings, form):
    theirs = bigvgan(**changes)
    if form == "normalised":
        theirs = normalised(theirs, parametrizations.weight_norm)
    path = write(tmp_path, {"generator": with_filters(theirs)}, BIGVGAN_SETTINGS | settings, "bigvgan_generator.pt")
    ours = convert_checkpoint("bigvgan", path)
    assert isinstance(ours, Bigvgan)
    assert ours.config == BigvganConfig(**SKELETON, **changes)
    torch.testing.assert_close(ours(MELS), theirs(MELS), rtol=1e-3, atol=1e-4)


def test_a_bigvgan_with_another_filter_is_refused(tmp_path):
    state = with_filters(bigvgan())
    state["activation_post.upsample.filter"] = torch.full((1, 1, 12), 1 / 12)
    path = write(tmp_path, {"generator": state}, BIGVGAN_SETTINGS)
    with pytest.raises(
        CheckpointError, match="filter of 12 taps .* got another one in activation_post.upsample.filter"
    ):
        convert_checkpoint("bigvgan", path)


def lightning(module, **more):
    """Return what Lightning writes: the state dict between the things of training."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    sum(weight.sum() for weight in module.parameters()).backward()
    optimizer.step()
    extra = {
        "loss.discriminator.main.0.weight": torch.zeros(4, 1, 4, 4),
        "loss.perceptual_loss.lin0.model.1.weight": torch.ones(1, 64, 1, 1),
    }
    return {
        "epoch": 39,
        "global_step": 196_000,
        "pytorch-lightning_version": "1.2.10",
        "state_dict": {name: value.detach().clone() for name, value in module.state_dict().items()} | extra,
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        **more,
    }


def test_a_specvqgan_is_taken_out_of_a_lightning_checkpoint(tmp_path):
    module = specvqgan()
    torch.save(lightning(module), tmp_path / "last.ckpt")
    ours = convert_checkpoint("specvqgan", tmp_path / "last.ckpt")
    assert isinstance(ours, SpecVqgan)
    assert not ours.training
    assert ours.config == module.config
    mel = MELS[..., :1].expand(-1, -1, 32) * torch.linspace(-1.0, 1.0, 32)
    tokens = module.encode(mel)
    assert torch.equal(ours.encode(mel), tokens)
    assert torch.equal(ours.decode(tokens), module.decode(tokens))


def test_a_stripped_specvqgan_is_taken_too_in_half_precision(tmp_path):
    module = specvqgan()
    state = {name: value.half() for name, value in module.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "stripped.pt")
    torch.save(state, tmp_path / "bare.pt")
    save_file(state, tmp_path / "bare.safetensors")
    for name in ("stripped.pt", "bare.pt", "bare.safetensors"):
        ours = convert_checkpoint("specvqgan", tmp_path / name)
        assert ours.codebook.weight.dtype == torch.float32
        assert torch.equal(ours.codebook.weight, module.codebook.weight.half().float())


def test_the_number_of_mel_bins_of_a_specvqgan_is_that_of_the_wanted_settings(tmp_path):
    torch.save(specvqgan().state_dict(), tmp_path / "bare.pt")
    assert convert_checkpoint("specvqgan", tmp_path / "bare.pt").config.n_mels == SPECVQGAN_MEL.n_mels == 80
    wide = convert_checkpoint("specvqgan", tmp_path / "bare.pt", mel_config=MelConfig(n_mels=96))
    assert wide.n_rows == 6


class Malice:
    """An object whose reading runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["specvqgan", "hifigan", "bigvgan"])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path, kind):
    path = write(tmp_path, {"state_dict": {}, "callbacks": Malice(tmp_path / "owned")}, BIGVGAN_SETTINGS)
    entry = "state_dict" if kind == "specvqgan" else "generator"
    with pytest.raises(CheckpointError, match=f"must hold tensors alone.*strip it once .*'{entry}'.*stripped.pt"):
        convert_checkpoint(kind, path)
    assert not (tmp_path / "owned").exists()


def test_an_innocent_object_of_training_is_refused_too(tmp_path):
    torch.save(lightning(specvqgan(), callbacks={Malice: 1}), tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="holds Python objects, which can run foreign code"):
        convert_checkpoint("specvqgan", tmp_path / "last.ckpt")


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="must be a checkpoint, but there is no such file"):
        convert_checkpoint("specvqgan", tmp_path / "absent.ckpt")
    with pytest.raises(CheckpointError, match="there is no such file"):
        convert_checkpoint("specvqgan", tmp_path)
    for name, message in (("noise.pt", "damaged"), ("noise.safetensors", "must be a safetensors file.*damaged")):
        (tmp_path / name).write_bytes(b"not a checkpoint at all" * 9)
        with pytest.raises(CheckpointError, match=message):
            convert_checkpoint("specvqgan", tmp_path / name)


def test_a_file_without_named_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3, "state": [1, 2]}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match="entry 'state_dict', got the entries epoch, state"):
        convert_checkpoint("specvqgan", tmp_path / "odd.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="must hold named tensors.* got Tensor"):
        convert_checkpoint("specvqgan", tmp_path / "tensor.pt")


def test_missing_unexpected_misshapen_and_infinite_weights_are_listed(tmp_path):
    state = specvqgan().state_dict()
    del state["decoder.norm_out.bias"]
    state["temb.dense.0.weight"] = torch.zeros(2, 2)
    state["decoder.conv_out.bias"] = torch.zeros(3)
    state["quant_conv.bias"][0] = torch.nan
    torch.save({"state_dict": state}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint("specvqgan", tmp_path / "odd.pt")
    for part in (
        "must hold the weights of SpecVqgan and no others",
        "missing: decoder.norm_out.bias;",
        "unexpected: temb.dense.0.weight;",
        "of another shape: decoder.conv_out.bias (3,) instead of (1,);",
        "not finite: quant_conv.bias",
    ):
        assert part in str(caught.value)


def test_long_lists_of_missing_weights_are_shortened(tmp_path):
    state = {name: value for name, value in specvqgan().state_dict().items() if not name.startswith("decoder.mid")}
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"missing: decoder\.mid\.attn_1\.k\.bias, .* and 18 more"):
        convert_checkpoint("specvqgan", tmp_path / "odd.pt")


def test_what_is_no_specvqgan_is_refused(tmp_path):
    torch.save(hifigan().state_dict(), tmp_path / "hifigan.pt")
    with pytest.raises(CheckpointError, match="must be a SpecVQGAN, but it has no encoder.conv_in.weight"):
        convert_checkpoint("specvqgan", tmp_path / "hifigan.pt")
    state = {name: value for name, value in specvqgan().state_dict().items() if "down.4" not in name}
    torch.save(state, tmp_path / "shallow.pt")
    with pytest.raises(CheckpointError, match="SpecVQGAN of five levels: multipliers must be 5"):
        convert_checkpoint("specvqgan", tmp_path / "shallow.pt")


def test_half_a_normalised_weight_is_refused(tmp_path):
    state = normalised(hifigan(), old_weight_norm).state_dict()
    magnitude = state.pop("ups.1.weight_g")
    path = write(tmp_path, {"generator": state}, SETTINGS)
    with pytest.raises(CheckpointError, match="must come as a pair, but ups.1.weight_g is missing"):
        convert_checkpoint("hifigan", path)
    path = write(tmp_path, {"generator": state | {"ups.1.weight_g": magnitude[:3]}}, SETTINGS)
    with pytest.raises(CheckpointError, match=r"one number for each row of ups.1.weight_v, got shapes \(3, 1, 1\)"):
        convert_checkpoint("hifigan", path)


def test_the_upper_edge_of_the_mel_bands_is_half_the_rate_where_none_is_told(tmp_path):
    path = write(tmp_path, {"generator": hifigan().state_dict()}, SETTINGS | {"fmax": None, "fmin": 20})
    ours = convert_checkpoint("hifigan", path)
    assert (ours.mel_config.f_min, ours.mel_config.f_max) == (20.0, 11_025.0)


def test_what_the_config_does_not_tell_is_taken_from_the_wanted_settings(tmp_path):
    path = write(tmp_path, {"generator": hifigan().state_dict()}, SETTINGS)
    wanted = MelConfig(db_min=-100.0)
    assert convert_checkpoint("hifigan", path, mel_config=wanted).mel_config == wanted


def test_other_mel_settings_than_the_wanted_are_refused_by_name(tmp_path):
    path = write(tmp_path, {"generator": hifigan().state_dict()}, SETTINGS | {"fmax": None})
    with pytest.raises(MelMismatchError, match=r"must be made for f_max 8000 \(not 11025\)"):
        convert_checkpoint("hifigan", path, mel_config=MelConfig())


def test_mel_bins_that_are_not_those_of_the_weights_are_refused(tmp_path):
    path = write(tmp_path, {"generator": hifigan().state_dict()}, SETTINGS | {"num_mels": 100})
    with pytest.raises(MelMismatchError, match="num_mels must be that of the weights, got 100 .* and 80"):
        convert_checkpoint("hifigan", path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop_size": 512}, "cannot be built: the product of upsample_rates must be hop_length = 512, got 256"),
        ({"fmax": 12_000}, r"cannot be built: f_max must lie in \(0, 11025\] Hz, got 12000 Hz"),
        ({"upsample_kernel_sizes": [16, 16]}, "cannot be built: upsample_kernels must be as many"),
        ({"resblock": "3"}, "must have 'resblock' '1' or '2', got '3'"),
        ({"num_mels": "80"}, "must have 'num_mels' of type int, got '80'"),
        ({"fmin": None}, "must have 'fmin' of type float, got none"),
        ({"upsample_rates": [8, 8.0, 2, 2]}, "must have whole numbers in 'upsample_rates'"),
        ({"resblock_dilation_sizes": [1, 3]}, "must have whole numbers in 'resblock_dilation_sizes', got 1"),
        ({"resblock_kernel_sizes": [3, 7]}, "of another shape: resblocks.1.convs1.0.weight"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, change, message):
    path = write(tmp_path, {"generator": hifigan().state_dict()}, SETTINGS | change)
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint("hifigan", path)


def test_a_missing_entry_of_the_config_is_named(tmp_path):
    path = write(tmp_path, {"generator": bigvgan().state_dict()}, SETTINGS)
    with pytest.raises(CheckpointError, match="must have 'activation' of type str, got none"):
        convert_checkpoint("bigvgan", path)


def test_a_missing_or_broken_config_is_refused(tmp_path):
    path = write(tmp_path, {"generator": hifigan().state_dict()}, SETTINGS)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json must be JSON"):
        convert_checkpoint("hifigan", path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="must hold a JSON object, got list"):
        convert_checkpoint("hifigan", path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="the config.json of the checkpoint must be given, but there is no file"):
        convert_checkpoint("hifigan", path)


def test_the_kind_and_its_files_must_belong_together(tmp_path):
    assert set(CONVERTERS) == {"specvqgan", "hifigan", "bigvgan", "vit"}
    with pytest.raises(ParameterError, match="unknown kind of checkpoint 'hifi-gan': .*did you mean 'hifigan'"):
        convert_checkpoint("hifi-gan", tmp_path / "g")
    with pytest.raises(ParameterError, match="a specvqgan checkpoint must come without a config file"):
        convert_checkpoint("specvqgan", tmp_path / "last.ckpt", tmp_path / "config.json")
