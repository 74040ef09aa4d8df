"""BigVGAN's generator has its published sizes, and its activations do not alias."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import freqz

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, mel_to_log
from masktools.networks.vocoder import Bigvgan, BigvganConfig
from masktools.networks.vocoder.hifigan import SmoothActivation, Snake, kaiser_sinc_filter

SMALL = {"channels": 16, "block_kernels": (3, 5), "block_dilations": ((1, 3), (1, 2))}
VARIANTS = [
    BigvganConfig(**SMALL),
    BigvganConfig(**SMALL, activation="snake", log_scale=False),
    BigvganConfig(**SMALL, block_kind=2, end="clamp", last_bias=False),
]


def small(config=VARIANTS[0], seed=0):
    torch.manual_seed(seed)
    module = Bigvgan(config, MelConfig()).eval()
    with torch.no_grad():
        for weight in module.parameters():  # large enough that every layer is heard
            if weight.ndim == 3:
                weight.normal_(0.0, weight[0].numel() ** -0.5)
            else:
                weight.add_(0.1 * torch.randn_like(weight))
        module.conv_post.weight.mul_(0.3)
    return module


def mels(n_clips, n_frames, seed=1):
    return 2.0 * torch.rand(n_clips, 80, n_frames, generator=torch.Generator().manual_seed(seed)) - 1.0


LARGE = BigvganConfig(channels=1536, upsample_rates=(4, 4, 2, 2, 2, 2), upsample_kernels=(8, 8, 4, 4, 4, 4))
LARGE_V2 = replace(LARGE, end="clamp", last_bias=False)


@pytest.mark.parametrize(
    ("config", "n_parameters", "millions"),
    [
        (BigvganConfig(), 13_943_361, 13.94),
        (LARGE, 112_199_473, 112.2),
        (LARGE_V2, 112_199_472, 112.2),
    ],
)
def test_the_published_models_have_the_published_sizes(config, n_parameters, millions):
    with torch.device("meta"):
        module = Bigvgan(config, MelConfig())
    got = sum(weight.numel() for weight in module.parameters())
    assert got == n_parameters
    assert got / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_names_are_those_of_upstream_without_filters():
    names = set(small().state_dict())
    assert {"ups.0.0.weight", "ups.3.0.bias", "conv_pre.weight", "conv_post.bias"} <= names
    assert {"resblocks.0.activations.3.act.alpha", "resblocks.7.activations.0.act.beta"} <= names
    assert {"resblocks.0.convs1.1.weight", "resblocks.0.convs2.1.bias", "activation_post.act.beta"} <= names
    assert not any("filter" in name for name in names)
    assert "activation_post.act.beta" not in small(VARIANTS[1]).state_dict()


@pytest.mark.parametrize("config", VARIANTS)
def test_each_frame_becomes_one_hop_of_samples_within_full_scale(config):
    for n_frames in (1, 5):
        wave = small(config)(mels(2, n_frames))
        assert wave.shape == (2, n_frames * 256)
        assert wave.abs().max() <= 1.0


def test_the_filter_passes_what_is_below_half_the_band():
    taps = kaiser_sinc_filter(0.25, 0.3, 12).double()
    assert taps.sum().item() == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(taps, taps.flip(0))
    # Kaiser's own formulas: 55 dB for this length and this transition, hence beta = 4.66.
    beta = 0.1102 * (2.285 * 5 * np.pi * 1.2 + 7.95 - 8.7)
    time = np.arange(12) - 5.5
    expected = np.kaiser(12, beta) * np.sinc(0.5 * time)
    np.testing.assert_allclose(taps, expected / expected.sum(), atol=1e-6)
    frequency, response = freqz(taps, fs=1.0)
    assert np.abs(response[frequency < 0.1]).min() > 0.95
    assert np.abs(response[frequency > 0.4]).max() < 0.02


def test_weaker_filters_use_the_other_branches_of_kaisers_formula():
    for half_width in (0.01, 0.12):  # attenuation of 9 dB and of 25 dB
        taps = kaiser_sinc_filter(0.25, half_width, 12)
        attenuation_db = 2.285 * 5 * np.pi * 4.0 * half_width + 7.95
        above = max(attenuation_db - 21.0, 0.0)
        beta = 0.5842 * above**0.4 + 0.07886 * above
        expected = np.kaiser(12, beta) * np.sinc(0.5 * (np.arange(12) - 5.5))
        np.testing.assert_allclose(taps, expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("log_scale", [True, False])
@pytest.mark.parametrize("activation", ["snake", "snakebeta"])
def test_snake_adds_a_squared_sine(activation, log_scale):
    act = Snake(2, BigvganConfig(activation=activation, log_scale=log_scale))
    assert act(torch.full((1, 2, 1), 0.5)).flatten().tolist() == pytest.approx([0.5 + np.sin(0.5) ** 2] * 2)
    with torch.no_grad():
        act.alpha.copy_(torch.tensor([0.3, 0.8]))
        if activation == "snakebeta":
            act.beta.copy_(torch.tensor([1.2, 0.4]))
    signal = torch.linspace(-3.0, 3.0, 10).repeat(1, 2, 1)
    constants = [weight.exp() if log_scale else weight for weight in act.parameters()]
    alpha, beta = constants[0][:, None], constants[-1][:, None]
    torch.testing.assert_close(act(signal), signal + torch.sin(alpha * signal) ** 2 / beta)


def test_overtones_of_a_high_tone_do_not_fold_back():
    # The square of a tone at 0.35 of the rate has an overtone at 0.7, which would fold back to 0.3.
    n_samples = 400
    tone = torch.sin(2.0 * torch.pi * 0.35 * torch.arange(n_samples) + 0.3)[None, None]
    smooth = SmoothActivation(1, BigvganConfig(activation="snake"))
    window = torch.hann_window(n_samples)

    def folded(signal):
        spectrum = torch.fft.rfft(signal.flatten() * window).abs()
        return spectrum[round(0.3 * n_samples)]

    assert folded(smooth(tone)) < 0.25 * folded(smooth.act(tone))


def literal_activation(weights, name, config, signal):
    """Double the rate by zeros and a filter, activate, filter, and keep every other sample."""
    alpha = weights[f"{name}.act.alpha"][:, None]
    beta = weights.get(f"{name}.act.beta", weights[f"{name}.act.alpha"])[:, None]
    if config.log_scale:
        alpha, beta = alpha.exp(), beta.exp()
    taps = kaiser_sinc_filter(0.25, 0.3, 12)[None, None]
    n_clips, n_channels, n_samples = signal.shape
    held = F.pad(signal, (8, 8), mode="replicate")
    sparse = torch.stack((held, torch.zeros_like(held)), dim=-1).flatten(2)  # zeros between the samples
    doubled = 2.0 * F.conv1d(sparse.reshape(-1, 1, sparse.shape[-1]), taps, padding=11)
    start = 2 * 8 + 5  # the first sample's place, delayed by the filter and half a sample
    doubled = doubled[..., start : start + 2 * n_samples].view(n_clips, n_channels, -1)
    active = doubled + torch.sin(doubled * alpha) ** 2 / beta
    held = F.pad(active, (5, 6), mode="replicate").reshape(n_clips * n_channels, 1, -1)
    return F.conv1d(held, taps)[..., ::2].view(n_clips, n_channels, n_samples)


def literal(weights, config, log_mel):
    """BigVGAN's generator as a function over its weights."""

    def conv(name, signal, dilation=1):
        weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
        reach = dilation * (weight.shape[2] // 2)
        return F.conv1d(F.pad(signal, (reach, reach)), weight, bias, dilation=dilation)

    def act(name, signal):
        return literal_activation(weights, name, config, signal)

    signal = conv("conv_pre", log_mel)
    for step, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernels, strict=True)):
        n_samples = signal.shape[2] * rate
        name = f"ups.{step}.0"
        up = F.conv_transpose1d(signal, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=rate)
        up = up[..., (kernel - rate) // 2 :][..., :n_samples]
        made = []
        for number, dilations in enumerate(config.block_dilations):
            block, name = up, f"resblocks.{step * len(config.block_kernels) + number}"
            for place, dilation in enumerate(dilations):
                if config.block_kind == 1:
                    change = conv(f"{name}.convs1.{place}", act(f"{name}.activations.{2 * place}", block), dilation)
                    change = act(f"{name}.activations.{2 * place + 1}", change)
                    block = block + conv(f"{name}.convs2.{place}", change)
                else:
                    block = block + conv(f"{name}.convs.{place}", act(f"{name}.activations.{place}", block), dilation)
            made.append(block)
        signal = torch.stack(made).mean(dim=0)
    wave = conv("conv_post", act("activation_post", signal))[:, 0]
    return torch.tanh(wave) if config.end == "tanh" else wave.clip(-1.0, 1.0)


@pytest.mark.parametrize("config", VARIANTS)
def test_it_computes_what_upstream_describes(config):
    module, mel = small(config), mels(2, 6)
    expected = literal(module.state_dict(), config, mel_to_log(mel, MelConfig()))
    assert expected.std() > 0.01
    assert (expected.abs() < 0.99).float().mean() > 0.5  # a saturated output would hide a difference
    torch.testing.assert_close(module(mel), expected, rtol=1e-3, atol=1e-4)


def test_a_clip_in_a_batch_sounds_as_alone():
    module, mel = small(), mels(3, 6)
    torch.testing.assert_close(module(mel)[1:2], module(mel[1:2]), rtol=1e-3, atol=1e-4)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ParameterError, match="unknown activation 'snakebetta': .*did you mean 'snakebeta'"):
        BigvganConfig(activation="snakebetta")
    with pytest.raises(ParameterError, match="unknown end 'clip': choose from tanh, clamp"):
        BigvganConfig(end="clip")
    with pytest.raises(ParameterError, match="product of upsample_rates must be hop_length = 512, got 256"):
        Bigvgan(BigvganConfig(), MelConfig(hop_length=512))
    with pytest.raises(ParameterError, match="mel must have 80 bins, got 100"):
        small()(torch.zeros(1, 100, 4))
