"""Waves are made of mel spectrograms without weights, and brought closer to them."""

import math

import pytest
import torch
from scipy.signal import lfilter

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd, mel_to_log
from masktools.networks.vocoder import GriffinLim, GriffinLimConfig
from masktools.networks.vocoder.light import LightVocoder, LightVocoderConfig, MelConsistency

MEL = MelConfig()


def vocoder(**changes):
    return GriffinLim(GriffinLimConfig(**changes), MEL)


def chord(seconds=1.0):
    """Return a decaying chord over a little noise, (1, t)."""
    time = torch.arange(round(seconds * MEL.sample_rate) // 256 * 256) / MEL.sample_rate
    tones = sum(torch.sin(2.0 * torch.pi * hz * time) for hz in (220.0, 660.0, 1470.0, 3100.0))
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return (0.15 * tones * torch.exp(-2.0 * time) + 0.003 * noise)[None]


def mel_distance_db(wave, mel):
    return 50.0 * (MelFrontEnd(MEL)(wave) - mel).abs().mean().item()


@pytest.mark.parametrize("n_frames", [1, 2, 3, 20])
def test_each_frame_becomes_one_hop_of_samples(n_frames):
    wave = vocoder(n_iterations=2)(torch.zeros(2, 80, n_frames))
    assert wave.shape == (2, n_frames * 256)
    assert wave.isfinite().all()


def test_the_wave_has_nearly_the_mel_spectrogram_it_was_made_from():
    mel = MelFrontEnd(MEL)(chord())
    distance = mel_distance_db(vocoder()(mel), mel)
    assert distance < 1.5
    assert distance < 0.7 * mel_distance_db(vocoder(n_iterations=0)(mel), mel)


def test_momentum_gets_nearer_in_as_many_iterations():
    mel = MelFrontEnd(MEL)(chord())
    assert mel_distance_db(vocoder()(mel), mel) < mel_distance_db(vocoder(momentum=0.0)(mel), mel)


def test_a_tone_keeps_its_frequency_and_its_level():
    tone = 0.5 * torch.sin(2.0 * torch.pi * 1000.0 / MEL.sample_rate * torch.arange(86 * 256))[None]
    wave = vocoder()(MelFrontEnd(MEL)(tone))
    spectrum = torch.fft.rfft(wave[0] * torch.hann_window(wave.shape[1])).abs()
    peak_hz = spectrum.argmax().item() * MEL.sample_rate / wave.shape[1]
    assert peak_hz == pytest.approx(1000.0, abs=25.0)  # half the width of a bin of its spectrum
    level_db = 20.0 * math.log10(wave.square().mean().sqrt() / tone.square().mean().sqrt())
    assert abs(level_db) < 2.0


def test_silence_stays_below_70_db_under_full_scale():
    wave = vocoder()(torch.full((1, 80, 40), -1.0))
    assert 20.0 * math.log10(wave.square().mean().sqrt()) < -70.0


def test_it_is_the_same_every_time_and_leaves_the_global_generator_alone():
    mel = MelFrontEnd(MEL)(chord(0.3))
    state = torch.get_rng_state()
    first = vocoder(n_iterations=4)(mel)
    torch.manual_seed(7)
    assert torch.equal(vocoder(n_iterations=4)(mel), first)
    torch.set_rng_state(state)
    vocoder(n_iterations=4)(mel)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(vocoder(n_iterations=4, seed=1)(mel), first)


def test_a_clip_in_a_batch_sounds_as_alone():
    mel = torch.cat([MelFrontEnd(MEL)(chord(0.3)), torch.zeros(1, 80, 25), -torch.ones(1, 80, 25)])
    module = vocoder(n_iterations=8)
    together = module(mel)
    for clip in range(3):
        torch.testing.assert_close(together[clip : clip + 1], module(mel[clip : clip + 1]), rtol=1e-3, atol=1e-4)


def test_the_spectrum_is_not_negative_and_has_the_mel_magnitude():
    mel_magnitude = mel_to_log(MelFrontEnd(MEL)(chord(0.5)), MEL).exp()

    def error(n_iterations):
        module = vocoder(n_mel_iterations=n_iterations)
        spectrum = module.magnitude(mel_magnitude)
        assert spectrum.min() >= 0.0
        return ((module.filterbank @ spectrum).log() - mel_magnitude.log()).abs().mean().item()

    assert error(16) < 0.02
    assert error(16) < 0.1 * error(0)


def test_other_framings_work_too():
    config = MelConfig(n_fft=512, hop_length=128, win_length=400, n_mels=32, f_max=11_025.0)
    module = GriffinLim(GriffinLimConfig(), config)
    front_end = MelFrontEnd(config)
    wave = chord(0.5)[:, : 80 * 128]
    mel = front_end(wave)
    assert module(mel).shape == wave.shape
    assert (front_end(module(mel)) - mel).abs().mean() < 0.05


def test_it_has_no_weights_to_save():
    assert vocoder().state_dict() == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_iterations": -1}, "n_iterations must be at least 0, got -1"),
        ({"n_mel_iterations": -2}, "n_mel_iterations must be at least 0, got -2"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ParameterError, match=message):
        GriffinLimConfig(**change)


def test_from_the_phases_of_the_wave_itself_it_is_found_in_fewer_rounds():
    wave = chord()
    mel = MelFrontEnd(MEL)(wave)
    few = vocoder(n_iterations=4)
    assert mel_distance_db(few.refine(wave, mel), mel) < 0.7 * mel_distance_db(few(mel), mel)


def test_without_iterations_a_wave_comes_back_as_it_is():
    wave = chord()
    assert torch.equal(vocoder(n_iterations=0).refine(wave, MelFrontEnd(MEL)(wave)), wave)


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vocoder()(torch.zeros(1, 64, 4)), "mel must have 80 bins, got 64"),
        (lambda: LightVocoderConfig(n_corrections=-1), "n_corrections must be at least 0, got -1"),
        (lambda: LightVocoderConfig(n_phase_rounds=-2), "n_phase_rounds must be at least 0, got -2"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
