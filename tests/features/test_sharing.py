"""Encoders that are saved, loaded and told apart; and recordings that are too long to be held."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

import masktools
from masktools.core.errors import BundleError, ParameterError
from masktools.features import Encoder, Source
from masktools.pipeline import Pipeline
from tests.tiny import SAMPLE_RATE, noise, tiny_pipeline


def test_a_saved_encoder_is_loaded_as_it_was(tmp_path):
    encoder = Encoder(tiny_pipeline())
    folder = encoder.save_pretrained(tmp_path / "mine")
    loaded = Encoder.from_pretrained(folder, threads=1, batch_size=2)
    assert (loaded.name, loaded.identity, loaded.threads) == ("tiny", encoder.identity, 1)
    assert loaded.pipeline.batch_size == 2
    assert "22050 Hz, has 3 layers of\n32 numbers" in (folder / "MODEL_CARD.md").read_text()
    again = Encoder.from_pretrained(loaded.save_pretrained(tmp_path / "again", card="My card."))
    wave = noise(1)[0]
    np.testing.assert_array_equal(again.encode(wave, SAMPLE_RATE).clip, loaded.encode(wave, SAMPLE_RATE).clip)
    assert (tmp_path / "again" / "MODEL_CARD.md").read_text().endswith("---\nMy card.\n")
    assert masktools.load(folder).encoder.identity == encoder.identity
    with pytest.raises(ParameterError, match="the bundle's folder must not exist yet"):
        encoder.save_pretrained(folder)


def test_the_identity_is_that_of_what_embeddings_depend_on():
    pipeline = tiny_pipeline()
    identity = Encoder(pipeline).identity
    assert len(identity) == 64
    assert Encoder(tiny_pipeline(name="other", batch_size=3)).identity == identity
    parts = (pipeline.tokenizer, pipeline.transformer, tiny_pipeline(seed=1).vocoder, pipeline.conditioner)
    assert Encoder(Pipeline(pipeline.mel, *parts)).identity == identity
    assert Encoder(tiny_pipeline(seed=1)).identity != identity
    assert Encoder(tiny_pipeline(conditioner=False)).identity != identity
    for part, name in ((pipeline.transformer, "position"), (pipeline.tokenizer, "codebook.weight")):
        weight = part.get_parameter(name)
        with torch.no_grad():
            weight.flatten()[-1] += 0.1
        assert Encoder(pipeline).identity != identity
        identity = Encoder(pipeline).identity
    pipeline.mel = replace(pipeline.mel, floor=1e-4)
    assert Encoder(pipeline).identity != identity


def test_the_identity_of_the_bundled_model_is_known():
    assert Encoder.from_pretrained().identity.startswith("95fde93ce56534a7")


def test_what_cannot_be_loaded_is_refused():
    with pytest.raises(ParameterError, match="batch_size must be a whole number of at least 1, got 0"):
        Encoder.from_pretrained(batch_size=0)
    with pytest.raises(ParameterError, match="threads must be at least 1, got 0"):
        Encoder.from_pretrained(threads=0)
    with pytest.raises(BundleError, match="no model 'maxi': available are mini"):
        Encoder.from_pretrained("maxi")


def test_memory_does_not_grow_with_the_recording():
    encoder = Encoder(tiny_pipeline(n_cols=53))
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return np.zeros((2, stop - start), np.float32)

    def peak_bytes(minutes):
        source = Source(read, minutes * 60 * 44_100, 44_100)
        tracemalloc.start()
        encoder.encode(source, frames=False, layer=0, prefix="condition")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(4) < 1.2 * peak_bytes(1) + 1e6
    assert max(stop - start for start, stop in asked) <= 1 << 17
