"""The model as its users hold it: arrays like soundfile's in and out."""

import json

import numpy as np
import pytest

import masktools
from masktools.core.errors import AudioError, BundleError, ParameterError
from masktools.model import Encoded, Model, load
from masktools.pipeline.hub import save_bundle
from masktools.solver import SolverConfig
from tests.tiny import COLUMN, SAMPLE_RATE, noise, tiny_pipeline

MODEL = Model(tiny_pipeline())
GAPS = [(0.5, 0.7)]
JOBS = {
    "inpaint": lambda x, rate: MODEL.inpaint(x, rate, GAPS, n_steps=2),
    "bwe": lambda x, rate: MODEL.bwe(x, rate, 4000, n_steps=2),
    "embed": lambda x, rate: MODEL.embed(x, rate),
    "encode": lambda x, rate: MODEL.encode(x, rate),
}


def recording(seconds=1.5, rate=44_100, n_channels=2):
    return np.ascontiguousarray(noise(seconds, rate, n_channels).T)


@pytest.mark.parametrize("job", ["inpaint", "bwe"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_rate_and_type_come_back(job, dtype):
    for samples in (recording().astype(dtype), recording()[:, 0].astype(dtype), recording()[:, :1].astype(dtype)):
        result = JOBS[job](samples, 44_100)
        assert result.samples.shape == samples.shape
        assert result.samples.dtype == dtype
        assert result.sample_rate == 44_100
        assert json.loads(json.dumps(result.report))["job"] == job


def test_the_input_is_left_alone():
    samples = recording()
    before = samples.copy()
    for job in JOBS.values():
        job(samples, 44_100)
    np.testing.assert_array_equal(samples, before)


def test_known_samples_survive_through_the_face():
    samples = recording().astype(np.float64) * np.pi  # no float32 holds these
    filled = MODEL.inpaint(samples, 44_100, "0.5-0.7", n_steps=2).samples
    mask = np.ones(len(samples), bool)
    mask[22_050:30_870] = False
    np.testing.assert_array_equal(filled[mask], samples[mask])
    assert not np.array_equal(filled[~mask], samples[~mask])


def test_channels_lie_where_they_lay():
    samples = recording()
    samples[:, 1] = 0
    filled = MODEL.inpaint(samples, 44_100, GAPS, n_steps=2).samples
    assert not filled[:, 1].any()


def test_decoding_is_set_by_number_by_preset_or_in_full():
    run = MODEL.inpaint(recording(), 44_100, GAPS, n_steps=5).report
    assert run["n_steps"] == 5
    assert MODEL.inpaint(recording(), 44_100, GAPS, solver="fast8").report["n_steps"] == 8
    assert MODEL.inpaint(recording(), 44_100, GAPS, solver="fast8", n_steps=3).report["n_steps"] == 3
    made = MODEL.generate(solver=SolverConfig(n_steps=2), temperature=0.5)[0].report
    assert (made["n_steps"], made["temperature"]) == (2, 0.5)
    with pytest.raises(ParameterError, match="unknown preset 'papper': choose from .* .did you mean 'paper'"):
        MODEL.generate(solver="papper")
    with pytest.raises(ParameterError, match="n_steps must lie in .1, 1048576., got 0"):
        MODEL.generate(n_steps=0)


def test_generated_recordings_know_their_seeds():
    results = MODEL.generate(["rain", "dogs"], n=2, seconds=0.5, n_steps=2)
    assert [result.samples.shape for result in results] == [(11_025,)] * 4
    assert len({result.report["seeds"][0] for result in results}) == 4
    json.dumps([result.report for result in results])


def test_tokens_come_back_as_the_recording_they_are_of():
    for samples in (recording(), recording()[:, 0]):
        encoded = MODEL.encode(samples, 44_100)
        assert encoded.tokens.shape[-2:] == (5, -(-33_075 // COLUMN))
        decoded = MODEL.decode(encoded)
        assert decoded.samples.shape == samples.shape
        assert decoded.sample_rate == 44_100


def test_tokens_alone_are_decoded_at_the_model_s_rate():
    tokens = MODEL.encode(recording(), 44_100).tokens
    assert MODEL.decode(tokens[0]).samples.shape == (9 * COLUMN,)
    assert MODEL.decode(tokens).samples.shape == (9 * COLUMN, 2)
    assert MODEL.decode(tokens, n_samples=1000).samples.shape == (1000, 2)
    assert MODEL.decode(tokens.astype(np.int32), 48_000, 2000).samples.shape == (2000, 2)
    assert MODEL.decode(Encoded(tokens, 44_100, 66_150), sample_rate=22_050).samples.shape == (9 * COLUMN, 2)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.zeros((4, 3), int), r"tokens must be integers of shape \(5, columns\) .* got int64 of shape \(4, 3\)"),
        (np.zeros((5, 3)), "tokens must be integers .* got float64"),
        (np.zeros((5, 0), int), "tokens must be integers .* got int64"),
        (np.full((5, 3), 16), r"tokens must lie in \[0, 16\), got 16 to 16"),
        (np.full((5, 3), -1), r"tokens must lie in \[0, 16\), got -1 to -1"),
    ],
)
def test_tokens_of_another_model_are_refused(tokens, message):
    with pytest.raises(ParameterError, match=message):
        MODEL.decode(tokens)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (np.zeros((0, 2), np.float32), AudioError, "at least one sample, got shape"),
        (np.zeros(0, np.float32), AudioError, "at least one sample"),
        (np.zeros(10, np.int16), ParameterError, "float32 or float64, full scale 1, got int16"),
        (np.zeros((2, 3, 4)), ParameterError, r"must be of shape \(t,\) or \(t, channels\), got \(2, 3, 4\)"),
        (np.zeros((3, 44_100)), ParameterError, "at most 64 channels, got 44100: .* the other way round"),
    ],
)
def test_what_is_no_recording_is_refused(job, samples, error, message):
    with pytest.raises(error, match=message):
        JOBS[job](samples, 44_100)


@pytest.mark.parametrize("rate", [0, -44_100, 999, 2_000_000])
def test_rates_that_no_recording_has_are_refused(rate):
    with pytest.raises(
        ParameterError, match=rf"sample_rate must be a whole number of Hz in \[1000, 1000000\], got {rate}"
    ):
        MODEL.embed(recording(), rate)


def test_the_shortest_recordings_work():
    for n in (1, 2, 100, 1023):
        samples = noise(1)[0, :n]
        assert MODEL.embed(samples, SAMPLE_RATE).clip.shape == (32,)
        assert MODEL.bwe(samples, SAMPLE_RATE, 4000, n_steps=2).samples.shape == (n,)
        assert MODEL.decode(MODEL.encode(samples, SAMPLE_RATE)).samples.shape == (n,)
    assert MODEL.encode(noise(1)[0, :2], 1_000_000).tokens.shape == (5, 1)


def test_a_seed_is_a_whole_number():
    with pytest.raises(ParameterError, match="seed must be a whole number, got True"):
        MODEL.inpaint(recording(), 44_100, GAPS, seed=True)


def test_threads_are_given_back(tmp_path):
    import torch

    before = torch.get_num_threads()
    folder = save_bundle(tiny_pipeline(), tmp_path / "tiny", "A card.")
    model = load(folder, device="cpu", threads=1)
    seen = []
    model.generate(seconds=0.1, n_steps=1, progress=lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_load_is_the_face_of_the_package(tmp_path):
    folder = save_bundle(tiny_pipeline(), tmp_path / "small", "A card.")
    model = masktools.load(str(folder), device="cpu", batch_size=2)
    assert isinstance(model, masktools.Model)
    assert (model.name, model.sample_rate, model.pipeline.batch_size) == ("small", SAMPLE_RATE, 2)
    assert repr(model) == "Model('small', 22050 Hz, cpu)"
    with pytest.raises(BundleError, match="no model 'nothing'"):
        masktools.load("nothing")


@pytest.mark.parametrize("name", ["threads", "batch_size"])
def test_numbers_of_load_are_checked(name):
    with pytest.raises(ParameterError, match=f"{name} must be a whole number of at least 1, got 0"):
        load("mini", **{name: 0})


def test_a_models_own_settings_of_the_decoding_stand_unless_others_are_asked_for():
    model = Model(tiny_pipeline(decoding={"generate": SolverConfig(n_steps=3, temperature=4.0)}))
    own = model.generate("rain")[0].report
    assert (own["n_steps"], own["temperature"]) == (3, 4.0)
    asked = model.generate("rain", n_steps=2)[0].report
    assert (asked["n_steps"], asked["temperature"]) == (2, 4.0)
    assert model.generate("rain", solver="fast8")[0].report["n_steps"] == 8
    draft = model.solver("generate", "draft")
    assert (draft.n_steps, draft.temperature, draft.cache_every) == (3, 4.0, 4)  # a speed leaves the rest as it is


def test_what_is_lost_in_a_gap_may_be_anything_and_beside_it_must_be_finite():
    wave = np.random.default_rng(0).normal(0, 0.1, 30_000).astype(np.float32)
    damaged = wave.copy()
    damaged[10_000:11_000] = np.nan
    filled = MODEL.inpaint(damaged, 22_050, [(10_000 / 22_050, 11_000 / 22_050)])
    assert np.isfinite(filled.samples).all()
    assert np.array_equal(np.delete(filled.samples, range(10_000, 11_000)), np.delete(wave, range(10_000, 11_000)))
    with pytest.raises(AudioError, match="samples must be finite outside the gaps"):
        MODEL.inpaint(damaged, 22_050, [(0.2, 0.3)])
    with pytest.raises(AudioError, match=r"must be finite, but at 0\.4535 s \(sample 10000\)"):
        MODEL.embed(damaged, 22_050)


def test_gaps_and_cutoffs_are_found():
    wave = np.random.default_rng(0).normal(0, 0.1, (44_100, 2))
    wave[20_000:20_500] = 0.0
    found = MODEL.inpaint(wave, 44_100)
    assert [(gap["start_s"], gap["end_s"]) for gap in found.report["gaps"]] == [(20_000 / 44_100, 20_500 / 44_100)]
    whole = np.delete(wave, range(20_000, 20_500), axis=0)
    assert np.array_equal(MODEL.inpaint(whole, 44_100).samples, whole)
    untouched = MODEL.bwe(whole, 44_100)
    assert np.array_equal(untouched.samples, whole)
    assert untouched.report["status"] == "full_band"
