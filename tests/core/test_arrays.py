"""Recordings as arrays and as tensors: both are taken, and what comes back is what was given, in its own memory."""

import numpy as np
import pytest
import torch

from masktools.core.arrays import as_channels, as_recording
from masktools.core.errors import AudioError, ParameterError
from masktools.features import Encoder
from masktools.model import Model
from masktools.restoration import Region, bwe, continue_recording, inpaint, loop, repair
from tests.tiny import noise, tiny_pipeline

RATE = 22_050
PIPELINE = tiny_pipeline()
MODEL, ENCODER = Model(PIPELINE), Encoder(PIPELINE)
STEREO = np.ascontiguousarray(noise(0.5, RATE, 2).T)  # full band: there is nothing to extend
JOBS = {
    "inpaint": lambda x: MODEL.inpaint(x, RATE, [(0.2, 0.3)], n_steps=1),
    "inpaint, nothing to do": lambda x: MODEL.inpaint(x, RATE),
    "bwe": lambda x: MODEL.bwe(x, RATE, 4000, n_steps=1),
    "bwe, nothing to do": lambda x: MODEL.bwe(x, RATE),
}
RESTORATIONS = {
    "repair": lambda x: repair(None, x, RATE, [Region.rectangle(0.1, 0.2, 500, 900)], method="interpolate"),
    "inpaint": lambda x: inpaint(None, x, RATE, [(0.2, 0.21)], method="burg"),
    "bwe, nothing to do": lambda x: bwe(PIPELINE, x, RATE, "auto"),
    "extend": lambda x: continue_recording(PIPELINE, x, RATE, 0.1, fade_s=0.01),
    "loop": lambda x: loop(None, x, RATE, seam_s=0.1, method="burg"),
}


def memory(samples):
    """Return an array that lies where samples lie."""
    return samples.detach().view(torch.uint8).numpy() if isinstance(samples, torch.Tensor) else samples


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_tensor_comes_back_as_one_of_its_kind(job, dtype):
    given = torch.from_numpy(STEREO.T.copy()).to(dtype).requires_grad_()
    samples = JOBS[job](given).samples
    assert (samples.dtype, samples.device, samples.shape) == (dtype, given.device, given.shape)
    assert not samples.requires_grad
    alone = JOBS[job](given[0]).samples
    assert alone.shape == given[0].shape
    known = slice(0, 4000)
    if "inpaint" in job or "nothing" in job:
        assert torch.equal(samples[:, known], given.detach()[:, known])


@pytest.mark.parametrize("job", JOBS)
def test_a_tensor_and_an_array_sound_the_same(job):
    from_array, from_tensor = JOBS[job](STEREO).samples, JOBS[job](torch.from_numpy(STEREO.T.copy())).samples
    np.testing.assert_array_equal(from_tensor.numpy().T, from_array)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
@pytest.mark.parametrize("n_channels", [0, 1, 2])
def test_a_result_has_memory_of_its_own(job, as_given, n_channels):
    wave = STEREO[:, 0].copy() if not n_channels else STEREO[:, :n_channels].copy()
    given = as_given(np.ascontiguousarray(wave.T if as_given is torch.from_numpy else wave))
    assert not np.shares_memory(memory(JOBS[job](given).samples), memory(given))


@pytest.mark.parametrize("job", JOBS)
def test_stereo_as_librosa_has_it_comes_back_so(job):
    turned = JOBS[job](np.ascontiguousarray(STEREO.T)).samples
    np.testing.assert_array_equal(turned.T, JOBS[job](STEREO).samples)
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("job", RESTORATIONS)
def test_a_restoration_takes_both_and_keeps_neither(job):
    given = np.ascontiguousarray(STEREO.T)
    of_array, of_tensor = (RESTORATIONS[job](x).samples for x in (given, torch.from_numpy(given)))
    np.testing.assert_array_equal(of_tensor, of_array)
    assert not np.shares_memory(of_array, given)
    assert not np.shares_memory(of_tensor, given)


def test_a_resampled_result_is_single_precision():
    given = torch.from_numpy(noise(0.5, 8000)[0]).double()
    extended = MODEL.bwe(given, 8000, 3000, n_steps=1)
    assert (extended.sample_rate, extended.samples.dtype) == (RATE, torch.float32)
    assert MODEL.bwe(given.half(), 8000, 3000, n_steps=1).samples.dtype == torch.float32


def test_tokens_and_embeddings_share_nothing_and_are_the_same():
    given = torch.from_numpy(STEREO.T.copy())
    encoded = MODEL.encode(given, RATE)
    np.testing.assert_array_equal(encoded.tokens, MODEL.encode(STEREO, RATE).tokens)
    decoded = MODEL.decode(torch.from_numpy(encoded.tokens))
    np.testing.assert_array_equal(decoded.samples, MODEL.decode(encoded.tokens).samples)
    np.testing.assert_array_equal(MODEL.embed(given, RATE).clip, MODEL.embed(STEREO, RATE).clip)
    rates = torch.tensor([RATE, RATE])
    assert len(ENCODER.encode(given[:, None], rates)) == 2


@pytest.mark.parametrize(
    "odd",
    [
        lambda x: x[::-1],
        lambda x: x.astype(">f4"),
        lambda x: np.asfortranarray(x),
        lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
        lambda x: x.view(np.matrix),
    ],
    ids=["backwards", "other bytes", "by channels", "read only", "a matrix"],
)
def test_arrays_of_every_layout_are_taken(odd):
    samples = odd(STEREO)
    plain = np.array(samples, np.float32)
    assert np.array_equal(MODEL.encode(samples, RATE).tokens, MODEL.encode(plain, RATE).tokens)
    assert np.array_equal(MODEL.inpaint(samples, RATE, [(0.2, 0.21)], method="burg").samples[:4000], plain[:4000])


def test_what_holds_no_samples_is_refused():
    masked = np.ma.masked_array(STEREO, STEREO > 0)
    with pytest.raises(ParameterError, match="samples must not be masked"):
        as_recording(masked, RATE)
    with pytest.raises(ParameterError, match="a tensor that holds its numbers"):
        as_recording(torch.ones(5, device="meta"), RATE)
    with pytest.raises(ParameterError, match=r"samples must be of shape \(channels, t\), got \(5,\)"):
        as_channels(np.zeros(5, np.float32), RATE)
    with pytest.raises(AudioError, match=r"within full scale, 1, or not far beyond it, got 1e\+37: scale them"):
        MODEL.embed(np.full(500, 1e37, np.float32), RATE)
    with pytest.raises(AudioError, match=r"within full scale, 1, or not far beyond it, got 1e\+37"):
        MODEL.inpaint(np.full(22_050, 1e37, np.float32), RATE, [(0.2, 0.6)], n_steps=1)


@pytest.mark.gpu
def test_a_tensor_on_a_gpu_comes_back_there():
    given = torch.from_numpy(STEREO.T.copy()).cuda()
    for job in JOBS.values():
        assert job(given).samples.device == given.device
    assert MODEL.encode(given, RATE).tokens.shape[0] == 2
