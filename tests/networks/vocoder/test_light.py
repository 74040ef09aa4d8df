"""The light vocoder: exact lengths, an inverse transform that is one, and the ability to learn."""

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.vocoder.light import LightVocoder, LightVocoderConfig, overlap_add

SMALL = LightVocoderConfig(width=16, depth=2)


def test_m_frames_give_exactly_m_hops():
    vocoder = LightVocoder(SMALL, MelConfig())
    for n_frames in (1, 3, 848):
        assert vocoder(torch.zeros(2, 80, n_frames)).shape == (2, 256 * n_frames)


def test_overlap_add_inverts_the_analysis():
    config = MelConfig()
    wave = torch.randn(2, 8192)
    padded = torch.nn.functional.pad(wave, (config.margin, config.margin), mode="reflect")
    window = torch.hann_window(1024)
    spectrum = torch.stft(padded, 1024, 256, window=window, center=False, return_complex=True)
    back = overlap_add(torch.fft.irfft(spectrum, dim=1), window, 256, config.margin)
    torch.testing.assert_close(back, wave, atol=1e-4, rtol=0)


def test_the_bundled_size_is_3_58_million_parameters():
    assert sum(p.numel() for p in LightVocoder(LightVocoderConfig(), MelConfig()).parameters()) == 3_584_770


def test_a_batch_is_its_clips():
    torch.manual_seed(0)
    vocoder, mel = LightVocoder(SMALL, MelConfig()), torch.empty(3, 80, 20).uniform_(-1, 1)
    torch.testing.assert_close(vocoder(mel)[1:2], vocoder(mel[1:2]), atol=1e-5, rtol=1e-4)


def test_it_learns_the_mel_of_one_tone():
    torch.manual_seed(0)
    config = MelConfig()
    vocoder, front_end = LightVocoder(SMALL, config), MelFrontEnd(config)
    mel = front_end(0.3 * torch.sin(2 * torch.pi * 880 * torch.arange(4096) / 22_050)[None])
    optimizer = torch.optim.Adam(vocoder.parameters(), 3e-3)
    errors = []
    for _ in range(60):
        error = (front_end(vocoder(mel)) - mel).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]


def test_settings_out_of_range_are_refused():
    with pytest.raises(ParameterError, match="depth must be at least 1, got 0"):
        LightVocoderConfig(depth=0)


@pytest.mark.parametrize("hop", [256, 300])
def test_overlap_add_sums_frames_where_they_stand(hop):
    frames, window = torch.randn(2, 1024, 5), torch.hann_window(1024)
    shape = {"output_size": (1, 4 * hop + 1024), "kernel_size": (1, 1024), "stride": (1, hop)}
    summed = torch.nn.functional.fold(frames * window[:, None], **shape)[:, 0, 0]
    weight = torch.nn.functional.fold(window.square()[None, :, None].expand(1, -1, 5), **shape)[0, 0, 0]
    wanted = (summed / weight.clamp_min(1e-8))[:, 100:-100]
    torch.testing.assert_close(overlap_add(frames, window, hop, 100), wanted, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_packed_it_makes_the_same_wave_whatever_the_precision():
    torch.manual_seed(0)
    vocoder, mel = LightVocoder(SMALL, MelConfig()).eval(), torch.empty(2, 80, 20).uniform_(-1, 1)
    wanted = vocoder(mel)
    vocoder.pack(torch.int8)
    assert vocoder.packed
    torch.testing.assert_close(vocoder(mel), wanted, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_packed_vocoder_stays_as_it_is_and_refuses_weights():
    vocoder, mel = LightVocoder(SMALL, MelConfig()).eval(), torch.empty(1, 80, 20).uniform_(-1, 1)
    state = vocoder.state_dict()
    vocoder.pack(torch.float32)
    wanted = vocoder(mel)
    vocoder.pack(torch.float32, state)
    assert torch.equal(vocoder(mel), wanted)
    with pytest.raises(ParameterError, match="a packed part must keep its weights"):
        vocoder.load_state_dict(state)
