"""Mel consistency: a wave comes nearer to its mel, and one that fits is left alone."""

import pytest
import torch
from scipy.signal import lfilter

from masktools.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.vocoder.griffin_lim import MelConsistency
from masktools.vocoder.light import LightVocoder, LightVocoderConfig

CONFIG = MelConfig()


def noise_and_tone():
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(16_384) / 22_050
    return (0.05 * torch.randn(16_384, generator=generator) + 0.3 * torch.sin(2 * torch.pi * 700 * t))[None]


def test_each_round_brings_a_coloured_wave_nearer_to_the_mel_of_the_original():
    wave, front_end = noise_and_tone(), MelFrontEnd(CONFIG)
    coloured = torch.from_numpy(lfilter([1.0, 0.8], [1.0, -0.5], wave.numpy())).float()
    errors = [
        (front_end(MelConsistency(CONFIG, n)(coloured, front_end(wave))) - front_end(wave)).abs().mean().item()
        for n in (0, 1, 3)
    ]
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < errors[1]


def test_a_wave_that_fits_its_mel_is_left_alone():
    wave = noise_and_tone()
    again = MelConsistency(CONFIG, 2)(wave, MelFrontEnd(CONFIG)(wave))
    torch.testing.assert_close(again, wave, atol=2e-3, rtol=0)


def test_silence_stays_silent_and_finite():
    silent = MelConsistency(CONFIG, 3)(torch.zeros(1, 4096), torch.full((1, 80, 16), -1.0))
    assert silent.abs().max() < 1e-4


def test_a_wave_too_short_to_frame_comes_back_as_it_is():
    wave = torch.randn(1, 256)
    assert torch.equal(MelConsistency(CONFIG, 3)(wave, torch.zeros(1, 80, 1)), wave)


def test_a_vocoder_corrects_in_evaluation_and_not_in_training():
    torch.manual_seed(0)
    plain = LightVocoder(LightVocoderConfig(width=16, depth=1), CONFIG)
    corrected = LightVocoder(LightVocoderConfig(width=16, depth=1, n_corrections=2), CONFIG)
    corrected.load_state_dict(plain.state_dict())
    refined = LightVocoder(LightVocoderConfig(width=16, depth=1, n_phase_rounds=2), CONFIG)
    refined.load_state_dict(plain.state_dict())
    mel = torch.empty(1, 80, 32).uniform_(-1, 0)
    assert torch.equal(refined.train()(mel), plain(mel))
    assert not torch.allclose(refined.eval()(mel), plain(mel))
    assert torch.equal(corrected.train()(mel), plain(mel))
    assert not torch.allclose(corrected.eval()(mel), plain(mel))


def test_a_negative_number_of_rounds_is_refused():
    with pytest.raises(ParameterError, match="n_rounds must not be negative, got -1"):
        MelConsistency(CONFIG, -1)
    with pytest.raises(ParameterError, match="n_corrections must not be negative, got -1"):
        LightVocoderConfig(n_corrections=-1)
    with pytest.raises(ParameterError, match="n_phase_rounds must not be negative, got -2"):
        LightVocoderConfig(n_phase_rounds=-2)
