"""A packed model makes what the model makes, and so do its copies."""

import copy
import pickle

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.core.runtime import threads
from masktools.networks.packing import can_compute_int8
from masktools.solver import SolverConfig
from tests.tiny import noise, tiny_pipeline

PIPELINE = tiny_pipeline()
FEW = SolverConfig(n_steps=4)
PACKED = [
    "float32",
    "bfloat16",
    pytest.param("int8", marks=pytest.mark.skipif(not can_compute_int8(), reason="no int8")),
]


def waves(seconds, n=1):
    return torch.from_numpy(noise(seconds, n_channels=n))


@pytest.mark.parametrize("precision", PACKED)
def test_a_packed_batch_is_filled_bit_for_bit_as_its_clips_are_alone(precision):
    pipeline = tiny_pipeline(precision=getattr(torch, precision))
    pipeline.pack()
    tokens = torch.zeros(3, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    condition = pipeline.condition(["rain", "dogs", "wind"])
    together = pipeline.fill(tokens, mask, [5, 6, 7], FEW, condition).tokens
    for item in range(3):
        one = slice(item, item + 1)
        alone = pipeline.fill(tokens[one], mask[one], [5 + item], FEW, condition[one]).tokens
        assert torch.equal(alone, together[one])


@pytest.mark.parametrize("precision", PACKED)
def test_a_packed_model_makes_the_tokens_of_audio_that_the_model_makes(precision):
    pipeline = tiny_pipeline(precision=getattr(torch, precision))
    pipeline.pack()
    wave = waves(3)
    assert torch.equal(pipeline.encode(wave), PIPELINE.encode(wave))


@pytest.mark.parametrize("precision", PACKED)
def test_a_packed_model_makes_the_sound_of_tokens_that_the_model_makes(precision):
    pipeline = tiny_pipeline(precision=getattr(torch, precision))
    pipeline.pack()
    tokens = PIPELINE.encode(waves(2.9, n=2))
    wanted, found = PIPELINE.decode(tokens), pipeline.decode(tokens)
    assert float((found - wanted).square().mean()) < 1e-6 * float(wanted.square().mean())


def test_a_packed_model_in_single_precision_fills_as_the_model_does():
    pipeline = tiny_pipeline()
    pipeline.pack()
    tokens = PIPELINE.encode(waves(2.9, n=2))
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[..., 4:12] = True
    assert torch.equal(pipeline.fill(tokens, mask, [3, 4], FEW).tokens, PIPELINE.fill(tokens, mask, [3, 4], FEW).tokens)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pipeline: pickle.loads(pickle.dumps(pipeline))])
@pytest.mark.parametrize("precision", PACKED)
def test_a_copy_of_a_packed_model_fills_as_the_model_does(precision, copied):
    pipeline = tiny_pipeline(precision=getattr(torch, precision))
    pipeline.pack()
    tokens = torch.zeros(2, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    wanted = pipeline.fill(tokens, mask, [5, 6], FEW).tokens
    assert torch.equal(copied(pipeline).fill(tokens, mask, [5, 6], FEW).tokens, wanted)


@pytest.mark.parametrize("precision", PACKED)
def test_a_packed_model_fills_alike_with_any_number_of_threads(precision):
    pipeline = tiny_pipeline(precision=getattr(torch, precision))
    tokens = torch.zeros(2, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    pipeline.pack()
    found = []
    for n_threads in (1, 2):
        with threads(n_threads):
            found.append(pipeline.fill(tokens, mask, [5, 6], FEW).tokens)
    assert torch.equal(*found)


def test_packing_twice_changes_nothing_and_a_compiled_model_is_not_packed(monkeypatch):
    pipeline, tokens = tiny_pipeline(), torch.zeros(1, 5, 16, dtype=torch.int64)
    pipeline.pack()
    wanted = pipeline.decode(tokens)
    pipeline.pack()
    assert torch.equal(pipeline.decode(tokens), wanted)
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    compiled = tiny_pipeline()
    compiled.compile()
    with pytest.raises(ParameterError, match="a compiled transformer must stay as it is: pack the model before"):
        compiled.pack()
