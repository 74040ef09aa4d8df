"""The linear front end of MARS: bins of the short-time spectrum, and Griffin-Lim back to a wave."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

from masktools.core.configs import from_dict, to_dict
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd, mel_to_db
from masktools.networks.scales import LINEAR
from masktools.networks.vocoder import GriffinLim, GriffinLimConfig


def chord(seconds, rate=16_000):
    time_s = np.arange(round(seconds * rate)) / rate
    parts = [np.sin(2 * np.pi * hertz * time_s) * np.exp(-2 * time_s) for hertz in (220.0, 277.2, 329.6, 1760.0)]
    return torch.from_numpy((0.2 * np.sum(parts, axis=0)).astype(np.float32))[None]


def test_eight_seconds_are_512_rows_of_some_500_frames():
    assert MelFrontEnd(LINEAR)(chord(8.0)).shape == (1, 512, 500)


def test_rows_are_the_magnitudes_of_the_spectrum_in_decibels():
    wave = chord(1.0)
    found = mel_to_db(MelFrontEnd(LINEAR)(wave), LINEAR)[0].numpy()
    padded = np.pad(wave[0].numpy(), LINEAR.margin, mode="reflect")
    magnitude = np.abs(librosa.stft(padded, n_fft=1024, hop_length=256, window="hann", center=False))[:512]
    wanted = np.clip(20 * np.log10(np.maximum(magnitude, 1e-5)), -52, 48)
    loud = wanted > -40  # below, the front end's own floor shows
    np.testing.assert_allclose(found[loud], wanted[loud], atol=0.02)
    assert abs(found[:, 30].argmax() - 220 * 1024 / 16_000) <= 1


def test_griffin_lim_brings_a_wave_with_the_same_spectrum_as_near_as_librosas():
    wave = chord(1.0)
    front_end = MelFrontEnd(LINEAR)
    spectrogram = front_end(wave)
    back = GriffinLim(GriffinLimConfig(), LINEAR)(spectrogram)
    magnitude = front_end.magnitude(wave)[0].numpy()
    theirs = librosa.griffinlim(magnitude, n_iter=32, hop_length=256, center=False, random_state=0)
    error, their_error = (
        np.linalg.norm(front_end.magnitude(torch.as_tensor(np.asarray(x))[None, :15_000])[0].numpy() - part)
        / np.linalg.norm(part)
        for x, part in ((back[0], magnitude[:, :58]), (theirs[LINEAR.margin :], magnitude[:, :58]))
    )
    assert error < 1.1 * their_error


def test_settings_of_before_stay_as_they_were_written():
    assert "linear" not in to_dict(MelConfig())
    assert from_dict(MelConfig, to_dict(LINEAR)) == LINEAR


def test_another_number_of_rows_is_refused():
    with pytest.raises(ParameterError, match="n_mels 512"):
        replace(LINEAR, n_mels=80)
