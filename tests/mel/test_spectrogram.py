"""The mel front end against librosa, against physics, and against its own inverse."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.mel import (
    MelConfig,
    MelFrontEnd,
    db_to_mel,
    differing_fields,
    log_to_mel,
    mel_edges_hz,
    mel_filterbank,
    mel_to_db,
    mel_to_log,
)


@pytest.mark.parametrize(("f_min", "f_max", "n_mels"), [(0.0, 8000.0, 80), (0.0, 11025.0, 80), (125.0, 7600.0, 64)])
def test_the_filterbank_is_librosas(f_min, f_max, n_mels):
    config = MelConfig(f_min=f_min, f_max=f_max, n_mels=n_mels)
    theirs = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=n_mels, fmin=f_min, fmax=f_max)
    np.testing.assert_allclose(mel_filterbank(config).numpy(), theirs, atol=1e-7)


def test_the_log_mel_of_real_looking_audio_is_librosas_within_1e_5():
    rng = np.random.default_rng(0)
    t = np.arange(44_100) / 22_050
    wave = 0.3 * np.sin(2 * np.pi * 440 * t * (1 + 0.1 * t)) + 0.05 * rng.standard_normal(len(t))
    padded = np.pad(wave, 384, mode="reflect")
    magnitude = np.abs(librosa.stft(padded, n_fft=1024, hop_length=256, window="hann", center=False))
    basis = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    theirs = np.log(np.maximum(basis @ magnitude, 1e-5))
    ours = MelFrontEnd(MelConfig()).double().log_mel(torch.from_numpy(wave)[None])[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    single = MelFrontEnd(MelConfig()).log_mel(torch.from_numpy(wave).float()[None])[0].numpy()
    np.testing.assert_allclose(single, theirs, atol=5e-5)


def test_the_clip_of_the_paper_gives_848_frames():
    assert MelFrontEnd(MelConfig())(torch.zeros(1, 217_088)).shape == (1, 80, 848)


@settings(max_examples=20, deadline=None)
@given(st.integers(385, 5000))
def test_frames_are_the_whole_hops_of_a_wave(n_samples):
    assert MelFrontEnd(MelConfig())(torch.zeros(1, n_samples)).shape[-1] == n_samples // 256


@pytest.mark.parametrize("frequency", [220.0, 1000.0, 3500.0, 6000.0])
def test_a_tone_peaks_in_its_own_band(frequency):
    config = MelConfig()
    wave = 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(22_050) / 22_050)
    loudest = int(MelFrontEnd(config)(wave[None])[0].mean(dim=1).argmax())
    edges = mel_edges_hz(config)
    assert edges[loudest] <= frequency <= edges[loudest + 2]


def test_silence_is_minus_one_and_full_scale_noise_stays_below_one():
    front_end = MelFrontEnd(MelConfig())
    assert front_end(torch.zeros(1, 4096)).max() == -1.0
    assert front_end(torch.empty(1, 8192).uniform_(-1, 1)).max() < 1.0
    assert front_end.silence == -1.0


def test_ten_decibels_more_are_a_fifth_of_a_unit_more():
    front_end = MelFrontEnd(MelConfig())
    quiet = 0.1 * torch.sin(2 * torch.pi * 1000 * torch.arange(8192) / 22_050)[None]
    difference = front_end(quiet * 10**0.5) - front_end(quiet)
    loud = front_end(quiet) > -0.5
    torch.testing.assert_close(difference[loud], torch.full_like(difference[loud], 0.2), atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, 1))
def test_every_unit_of_the_mel_has_its_way_back(value):
    config, mel = MelConfig(), torch.tensor([[[value]]])
    torch.testing.assert_close(db_to_mel(mel_to_db(mel, config), config), mel, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_to_mel(mel_to_log(mel, config), config), mel, atol=1e-6, rtol=0)


def test_the_decibel_limits_are_the_natural_logarithms_of_the_design():
    edges = mel_to_log(torch.tensor([-1.0, 1.0]), MelConfig())
    torch.testing.assert_close(edges, torch.tensor([-9.2103, 2.3026]), atol=1e-4, rtol=0)


def test_the_top_row_begins_at_4_3_khz_only_for_the_papers_range():
    assert mel_edges_hz(MelConfig())[65] == pytest.approx(4327, abs=1)
    assert mel_edges_hz(MelConfig(f_max=11_025.0))[65] == pytest.approx(5598, abs=1)


def test_a_batch_is_its_clips():
    waves = torch.randn(3, 4096)
    front_end = MelFrontEnd(MelConfig())
    torch.testing.assert_close(front_end(waves)[1:2], front_end(waves[1:2]))


def test_settings_that_differ_are_named():
    assert differing_fields(MelConfig(), MelConfig(f_max=11_025.0)) == {"f_max": (8000.0, 11025.0)}


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"f_max": 12_000.0}, r"f_max must lie in \(0, 11025\] Hz, got 12000 Hz"),
        ({"f_min": 9_000.0}, r"f_min must lie in \[0, 8000\) Hz, got 9000 Hz"),
        ({"n_mels": 0}, "n_mels must be at least 1, got 0"),
        ({"hop_length": 255}, "n_fft - hop_length must be even"),
        ({"win_length": 128}, "hop_length <= win_length <= n_fft must hold"),
        ({"db_min": 30.0}, "db_min must be below db_max"),
        ({"floor": 0.0}, "floor must be positive, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings_, message):
    with pytest.raises(ParameterError, match=message):
        MelConfig(**settings_)


def test_a_wave_too_short_to_frame_is_refused():
    with pytest.raises(ParameterError, match="longer than 384 samples to be framed, got 300"):
        MelFrontEnd(MelConfig())(torch.zeros(1, 300))
