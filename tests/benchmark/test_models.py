"""Models of published sizes with random weights."""

import pytest
import torch

from masktools.benchmark.models import SIZES, random_condition, random_pipeline, write_random_bundle
from masktools.core.configs import to_dict
from masktools.core.errors import ParameterError
from masktools.pipeline import hub
from masktools.pipeline.hub import build_part
from masktools.restoration.generation import generate


def test_the_paper_has_its_published_sizes():
    size = SIZES["paper"]
    millions = {}
    with torch.device("meta"):
        for part, kind, config in (
            ("transformer", "masked", size.transformer),
            ("tokenizer", *size.tokenizer),
            ("vocoder", "hifigan", size.vocoders["hifigan"]),
            ("vocoder", "light", size.vocoders["light"]),
        ):
            module = build_part(part, kind, to_dict(config), size.mel)
            millions[f"{part} {kind}"] = sum(weight.numel() for weight in module.parameters()) / 1e6
    assert millions["transformer masked"] == pytest.approx(172.1, abs=0.1)
    assert millions["tokenizer specvqgan"] == pytest.approx(72.1, abs=0.1)
    assert millions["vocoder hifigan"] == pytest.approx(13.93, abs=0.01)
    assert millions["vocoder light"] == pytest.approx(13.5, abs=0.1)


def test_mini_has_the_sizes_of_the_bundled_model():
    bundled = hub.load_bundle("mini", "cpu", "fp32")
    size = SIZES["mini"]
    assert bundled.mel == size.mel
    assert bundled.transformer.config == size.transformer
    assert bundled.tokenizer.config == size.tokenizer[1]
    assert bundled.vocoder.config == size.vocoders["light"]


def test_a_random_model_generates_finite_sound(pipeline):
    made = generate(pipeline, random_condition(pipeline, 2), seed=0)
    assert made.samples.shape == (2, pipeline.window_samples)
    assert abs(made.samples).max() > 0


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (random_pipeline("tiny", device="cpu", precision="fp32", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [pipeline.transformer.token_embedding.weight for pipeline in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_bundle_of_random_weights_is_the_same_model(bundle, pipeline):
    loaded = hub.load_bundle(bundle, "cpu", "fp32")
    ours, theirs = loaded.transformer.position, pipeline.transformer.position
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)  # fp16 in the file
    assert loaded.name == pipeline.name


def test_conditions_are_unit_vectors(pipeline):
    vectors = random_condition(pipeline, 3)
    assert vectors.shape == (3, pipeline.transformer.config.condition_dim)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("make", [random_pipeline, lambda size, vocoder: write_random_bundle(size, "x", vocoder)])
def test_unknown_names_are_refused(make):
    with pytest.raises(ParameterError, match="unknown size 'papr'.*did you mean 'paper'"):
        make("papr", vocoder="light")
    with pytest.raises(ParameterError, match="unknown vocoder 'wavenet': choose from light"):
        make("tiny", vocoder="wavenet")


def test_int8_is_not_compiled():
    with pytest.raises(ParameterError, match="a model must be either in int8 or compiled, got both"):
        random_pipeline("tiny", device="cpu", precision="int8", compile=True)
