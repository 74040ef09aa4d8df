"""Packed models go to other processes, as workers of a DataLoader get them."""

import multiprocessing

import numpy as np
import pytest
import torch

from masktools.features import Encoder
from masktools.model import Model
from masktools.pipeline.hub import load_bundle, save_bundle
from tests.tiny import noise, tiny_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("models") / "tiny", "A card.")


def test_an_encoder_and_a_model_reach_a_spawned_process(folder):
    pipeline = load_bundle(folder, "cpu", "fp32")
    process = multiprocessing.get_context("spawn").Process(target=repr, args=((Encoder(pipeline), Model(pipeline)),))
    process.start()
    process.join()
    assert process.exitcode == 0


def test_a_default_number_type_changes_nothing(folder):
    wave = noise(0.5)[0]

    def heard_and_made():
        model = Model(load_bundle(folder, "cpu", "fp32"))
        gap = model.inpaint(wave, 22_050, [(0.1, 0.4)], method="model", n_steps=1).samples
        return [model.embed(wave, 22_050).clip, gap, model.bwe(wave, 22_050, 4000, n_steps=1).samples]

    right = heard_and_made()
    torch.set_default_dtype(torch.float64)
    try:
        found = heard_and_made()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(right, found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, atol=1e-5)
