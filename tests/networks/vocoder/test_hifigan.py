"""HiFi-GAN's generator has the sizes of its paper, and computes what the paper describes."""

import json

import pytest
import torch
import torch.nn.functional as F

from masktools.core.configs import from_dict, to_dict
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, mel_to_log
from masktools.networks.vocoder import VOCODERS, BigvganConfig, GriffinLimConfig, Hifigan, HifiganConfig

PAIRS = HifiganConfig(channels=16, block_kernels=(3, 5), block_dilations=((1, 3), (1, 2)))
SINGLES = HifiganConfig(
    channels=8,
    upsample_rates=(8, 8, 4),
    upsample_kernels=(16, 16, 8),
    block_kind=2,
    block_kernels=(3,),
    block_dilations=((1, 2),),
)


def small(config=PAIRS, seed=0):
    torch.manual_seed(seed)
    module = Hifigan(config, MelConfig()).eval()
    with torch.no_grad():
        for weight in module.parameters():  # large enough that every layer is heard
            if weight.ndim == 3:
                weight.normal_(0.0, weight[0].numel() ** -0.5)
            else:
                weight.add_(0.1 * torch.randn_like(weight))
    return module


def mels(n_clips, n_frames, seed=1):
    return 2.0 * torch.rand(n_clips, 80, n_frames, generator=torch.Generator().manual_seed(seed)) - 1.0


V3 = HifiganConfig(256, (8, 8, 4), (16, 16, 8), 2, (3, 5, 7), ((1, 2), (2, 6), (3, 12)))


@pytest.mark.parametrize(
    ("config", "n_parameters", "millions"),
    [
        (HifiganConfig(), 13_926_017, "13.93"),
        (HifiganConfig(channels=128), 925_985, "0.926"),
        (V3, 1_462_273, "1.462"),
    ],
)
def test_the_published_models_have_the_published_sizes(config, n_parameters, millions):
    with torch.device("meta"):
        module = Hifigan(config, MelConfig())
    got = sum(weight.numel() for weight in module.parameters())
    assert got == n_parameters
    assert f"{got / 1e6:.{len(millions.split('.')[1])}f}" == millions


def test_the_names_are_those_of_upstream_without_weight_normalisation():
    names = set(small().state_dict())
    layers = {"conv_pre", "conv_post", "ups.0", "ups.3"}
    layers |= {f"resblocks.{block}.convs{pair}.{place}" for block in (0, 7) for pair in (1, 2) for place in (0, 1)}
    assert {f"{layer}.{end}" for layer in layers for end in ("weight", "bias")} <= names
    assert len(names) == 2 * (2 + 4 + 8 * 4)
    assert "resblocks.2.convs.1.weight" in small(SINGLES).state_dict()


@pytest.mark.parametrize("config", [PAIRS, SINGLES])
def test_each_frame_becomes_one_hop_of_samples_within_full_scale(config):
    for n_frames in (1, 2, 7):
        wave = small(config)(mels(2, n_frames))
        assert wave.shape == (2, n_frames * 256)
        assert wave.abs().max() <= 1.0


def literal(weights, config, log_mel):
    """HiFi-GAN's generator as a function over its weights, in the words of the paper."""

    def conv(name, signal, dilation=1):
        weight = weights[f"{name}.weight"]
        reach = dilation * (weight.shape[2] // 2)
        return F.conv1d(F.pad(signal, (reach, reach)), weight, weights[f"{name}.bias"], dilation=dilation)

    def rectify(signal, slope=0.1):
        return torch.where(signal > 0, signal, slope * signal)

    signal = conv("conv_pre", log_mel)
    for step, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernels, strict=True)):
        n_samples = signal.shape[2] * rate
        up = F.conv_transpose1d(
            rectify(signal), weights[f"ups.{step}.weight"], weights[f"ups.{step}.bias"], stride=rate
        )
        up = up[..., (kernel - rate) // 2 :][..., :n_samples]
        total = torch.zeros_like(up)
        for number, dilations in enumerate(config.block_dilations):
            block, name = up, f"resblocks.{step * len(config.block_kernels) + number}"
            for place, dilation in enumerate(dilations):
                if config.block_kind == 1:
                    change = conv(f"{name}.convs1.{place}", rectify(block), dilation)
                    block = block + conv(f"{name}.convs2.{place}", rectify(change))
                else:
                    block = block + conv(f"{name}.convs.{place}", rectify(block), dilation)
            total = total + block
        signal = total / len(config.block_kernels)
    return torch.tanh(conv("conv_post", rectify(signal, 0.01)))[:, 0]


@pytest.mark.parametrize("config", [PAIRS, SINGLES])
def test_it_computes_what_the_paper_describes_on_the_natural_logarithm(config):
    module, mel = small(config), mels(2, 9)
    log_mel = (50.0 * mel - 30.0) / 8.685889638
    torch.testing.assert_close(mel_to_log(mel, MelConfig()), log_mel)
    expected = literal(module.state_dict(), config, log_mel)
    assert expected.std() > 0.01
    assert (expected.abs() < 0.99).float().mean() > 0.5  # a saturated output would hide a difference
    torch.testing.assert_close(module(mel), expected, rtol=1e-3, atol=1e-4)


def test_a_clip_in_a_batch_sounds_as_alone():
    module, mel = small(), mels(3, 6)
    torch.testing.assert_close(module(mel)[1:2], module(mel[1:2]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Hifigan(HifiganConfig(upsample_rates=(8, 8), upsample_kernels=(16, 16)), MelConfig()),
            r"product of upsample_rates must be hop_length = 256, got 64",
        ),
        (lambda: small()(torch.zeros(1, 64, 4)), "mel must have 80 bins, got 64"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upsample_rates": ()}, "upsample_rates must have at least one entry, got none"),
        ({"upsample_kernels": (16, 16)}, "upsample_kernels must be as many as upsample_rates"),
        ({"upsample_kernels": (16, 15, 4, 4)}, "its rate plus an even number >= 0, got 15 for 8"),
        ({"channels": 24}, "channels must be a positive multiple of 16, got 24"),
        ({"block_kind": 3}, r"block_kind must lie in \[1, 2\], got 3"),
        ({"block_kernels": (3, 4, 5)}, "block_kernels must be odd positive numbers"),
        ({"block_dilations": ((1, 3),)}, "block_dilations must be one tuple .* for each block kernel"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ParameterError, match=message):
        HifiganConfig(**change)


def test_every_vocoder_of_the_table_renders_one_hop_for_each_frame():
    small_configs = {
        "light": {"width": 8, "depth": 1},
        "hifigan": {"channels": 16},
        "bigvgan": {"channels": 16},
        "griffin_lim": {"n_iterations": 1},
    }
    assert set(VOCODERS) == set(small_configs)
    for name, (config_class, module_class) in VOCODERS.items():
        module = module_class(config_class(**small_configs[name]), MelConfig())
        assert module(mels(2, 5)).shape == (2, 5 * 256)
        assert module.mel_config == MelConfig()


@pytest.mark.parametrize(
    "config",
    [V3, BigvganConfig(end="clamp", last_bias=False), GriffinLimConfig(n_iterations=8)],
)
def test_the_settings_of_a_vocoder_survive_json(config):
    assert from_dict(type(config), json.loads(json.dumps(to_dict(config)))) == config
