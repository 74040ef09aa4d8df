"""Baselines share what they can with the pretrained row, and know nothing that it has learned."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from masktools import io
from masktools.core.errors import ParameterError
from masktools.features import Encoder
from probes.baselines import BASELINES, TITLES, mfcc
from probes.baselines.codes import code_histogram
from probes.baselines.conditioner import conditioner_vector
from probes.baselines.mel import mel_mean, mel_statistics
from probes.baselines.mfcc import mfcc_statistics
from probes.baselines.random_weights import untrained
from probes.data import Clip, TaggedData
from probes.features import EncoderExtractor, vectors_of
from tests.tiny import SAMPLE_RATE, noise, tiny_pipeline, tone

SHORTEST_S, LONG_S = 0.01, 4.0  # the tiny model reads 2.97 s at once


@pytest.fixture(scope="module")
def encoder():
    return Encoder(tiny_pipeline())


def describers(encoder):
    """Return every function from a wave to a vector, and how long its vectors are."""
    return {
        "mel": (mel_mean(encoder.pipeline), 80),
        "mel-stats": (mel_statistics(encoder.pipeline), 320),
        "mfcc": (mfcc_statistics, 120),
        "codes": (code_histogram(encoder), 16),
        "codes-rows": (code_histogram(encoder, by_row=True), 80),
        "conditioner": (conditioner_vector(encoder.pipeline), 8),
    }


@pytest.mark.parametrize("name", ["mel", "mel-stats", "mfcc", "codes", "codes-rows", "conditioner"])
def test_any_recording_has_a_finite_vector_of_one_length(encoder, name):
    describe, width = describers(encoder)[name]
    for wave in (noise(SHORTEST_S)[0], noise(LONG_S)[0], np.zeros(SAMPLE_RATE, np.float32)):
        vector = describe(wave, SAMPLE_RATE)
        assert vector.shape == (width,)
        assert np.isfinite(vector).all()


@pytest.mark.parametrize("name", ["mel", "mel-stats", "mfcc", "codes", "codes-rows", "conditioner"])
def test_sounds_that_differ_have_vectors_that_differ(encoder, name):
    describe, _ = describers(encoder)[name]
    low, high = (describe(tone(hertz, 2.0)[0], SAMPLE_RATE) for hertz in (200, 4000))
    assert np.abs(low - high).max() > 1e-3


def test_the_mean_mel_says_where_a_tone_lies_and_how_loud_it_is(encoder):
    describe = mel_mean(encoder.pipeline)
    low, high, quiet = (
        describe(tone(hertz, 1.0, level=level)[0], SAMPLE_RATE)
        for hertz, level in ((300, 0.3), (5000, 0.3), (5000, 0.003))
    )
    assert low.argmax() < high.argmax()
    assert high.max() - quiet.max() == pytest.approx(0.8, abs=0.02)  # 40 dB of 100 dB, which are 2


def test_mel_statistics_tell_a_beat_from_the_same_sound_held(encoder):
    describe = mel_statistics(encoder.pipeline)
    held = noise(2.0)[0]
    beating = held * (np.sin(2 * np.pi * 4 * np.arange(len(held)) / SAMPLE_RATE) > 0)
    assert describe(beating, SAMPLE_RATE)[80:160].mean() > 3 * describe(held, SAMPLE_RATE)[80:160].mean()


def test_shares_of_codes_are_those_of_the_tokens(encoder):
    wave = noise(2.0)[0]
    tokens = np.asarray(encoder.encode(wave, SAMPLE_RATE, tokens=True).tokens)
    found = code_histogram(encoder)(wave, SAMPLE_RATE)
    assert np.allclose(found**2, np.bincount(tokens.ravel(), minlength=16) / tokens.size, atol=1e-6)
    by_row = code_histogram(encoder, by_row=True)(wave, SAMPLE_RATE).reshape(5, 16)
    assert np.allclose((by_row**2).mean(axis=0), found**2, atol=1e-6)


def test_the_conditioner_hears_windows_as_long_as_the_transformers(encoder):
    pipeline = encoder.pipeline
    wave = torch.from_numpy(noise(2 * pipeline.window_samples / SAMPLE_RATE))
    halves = [pipeline.conditioner.embed_audio(half, SAMPLE_RATE)[0] for half in wave.chunk(2, dim=1)]
    expected = torch.stack(halves).mean(dim=0).numpy()
    assert np.allclose(conditioner_vector(pipeline)(wave[0].numpy(), SAMPLE_RATE), expected, atol=1e-5)


def test_a_model_without_a_conditioner_has_no_such_baseline():
    with pytest.raises(ParameterError, match="needs a model with a conditioner, 'tiny' has none"):
        conditioner_vector(tiny_pipeline(conditioner=False))


@pytest.mark.parametrize("from_codes", [False, True])
def test_random_weights_share_tokenizer_and_architecture_and_nothing_else(encoder, from_codes):
    other = untrained(encoder, seed=1, from_codes=from_codes)
    wave = noise(2.0)[0]
    ours, theirs = (one.encode(wave, SAMPLE_RATE, layer="all", tokens=True) for one in (encoder, other))
    assert np.array_equal(ours.tokens, theirs.tokens)
    assert ours.clip.shape == theirs.clip.shape
    assert encoder.pipeline.transformer.config == other.pipeline.transformer.config
    drawn = dict(other.pipeline.transformer.named_parameters())
    for name, weight in encoder.pipeline.transformer.named_parameters():
        constant = weight.unique().numel() == 1  # biases of 0 and gains of 1, as all begin
        assert constant or not torch.equal(weight, drawn[name]), name


def test_random_weights_depend_on_the_seed_alone(encoder):
    state = torch.get_rng_state()
    weights = [untrained(encoder, seed).pipeline.transformer.state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["position"], weights[2]["position"])
    assert untrained(encoder).identity == untrained(encoder).identity != encoder.identity


def test_codes_that_sound_alike_begin_alike_where_embeddings_are_those_of_codes(encoder):
    codebook = encoder.pipeline.tokenizer.codebook.weight
    begun = untrained(encoder).pipeline.transformer.token_embedding.weight
    apart = torch.cdist(codebook, codebook).flatten()
    assert torch.corrcoef(torch.stack([apart, torch.cdist(begun, begun).flatten()]))[0, 1] > 0.9


def test_every_baseline_is_a_row_of_vectors(encoder, tmp_path):
    path = tmp_path / "a.wav"
    io.write(path, noise(1.0, 44_100, n_channels=2), 44_100)
    data = TaggedData("one", (Clip("a", str(path), "train", None, (0,)),), ("x",), True)
    like = EncoderExtractor.of(encoder, pool="rows")
    for name, make in BASELINES.items():
        vectors = vectors_of(data, make(like), tmp_path / "cache")
        assert vectors.name == TITLES[name]
        assert not vectors.left_out
        layered = name in ("random", "untrained")
        assert vectors.n_layers == (encoder.n_layers if layered else 1)
        assert not layered or vectors.read(0).shape == (1, encoder.dim("rows"))
    assert len(list((tmp_path / "cache").iterdir())) == len(BASELINES)


def test_without_librosa_the_rows_say_what_to_install(encoder, monkeypatch):
    monkeypatch.setattr(mfcc.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="MFCC are computed by librosa: pip install librosa"):
        BASELINES["mfcc"](EncoderExtractor.of(encoder))


def test_importing_the_baselines_loads_neither_librosa_nor_lightning():
    code = "import sys, probes.baselines; print(sorted({'librosa', 'lightning', 'torchaudio'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
