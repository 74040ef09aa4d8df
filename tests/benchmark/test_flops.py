"""Arithmetic by formula and by torch's count."""

import pytest
import torch

from masktools.benchmark.models import SIZES, random_condition, random_pipeline
from masktools.benchmark.roofline import (
    bound_figures,
    counted,
    model_costs,
    part_precision,
    precision_name,
    rate_figures,
    transformer_flop,
)
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.pipeline import Pipeline
from masktools.restoration.generation import generate
from masktools.solver import SolverConfig
from tests.tiny import states_of


def _transformer(config):
    return MaskedTransformer(config).eval().requires_grad_(False)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_formula_counts_what_torch_counts(batch):
    config = TransformerConfig(n_codes=32, n_cols=8, width=48, depth=3, n_heads=4, condition_dim=12)
    transformer = _transformer(config)
    tokens = torch.zeros(batch, config.n_tokens, dtype=torch.int64)
    n_slots = 1 + config.n_tokens
    by_torch = counted(lambda: transformer.logits(tokens, tokens == 0))
    assert by_torch == batch * transformer_flop(config, n_slots)
    condition = torch.randn(batch, 12)
    with_condition = counted(lambda: transformer.logits(tokens, tokens == 0, condition))
    assert with_condition - by_torch == batch * 2 * 12 * 48
    hidden = counted(lambda: states_of(transformer, tokens, tokens == 0))
    assert hidden == batch * transformer_flop(config, n_slots, head=False)


def test_a_pass_at_the_paper_s_size_takes_97_gflop():
    config = SIZES["paper"].transformer
    assert transformer_flop(config, 1 + config.n_tokens) / 1e9 == pytest.approx(96.3, abs=0.1)


def test_fewer_slots_in_a_full_context_cost_their_share_of_all_but_the_prefix():
    config = SIZES["mini"].transformer
    full, half = (transformer_flop(config, n, 266, head=False) for n in (266, 133))
    assert half == full / 2


def test_counting_a_model_computes_nothing(pipeline):
    costs = model_costs(pipeline)
    tokenizer = type(pipeline.tokenizer)(pipeline.tokenizer.config).eval().requires_grad_(False)
    tokens = torch.zeros(1, pipeline.grid.n_rows, pipeline.window_cols, dtype=torch.int64)
    assert costs.decode == counted(lambda: tokenizer.decode(tokens))
    assert costs.parameters["transformer"] == 30_096
    assert costs.vocoder > 0
    assert costs.encode > 0


def test_the_passes_of_guidance_are_counted_as_the_solver_makes_them(pipeline):
    costs, config = model_costs(pipeline), SolverConfig(n_steps=16)
    made = generate(pipeline, random_condition(pipeline, 1), solver=config)
    assert made.report["n_forwards"] == 30
    assert costs.solving(config, True) == 30 * costs.one_pass() + 15 * costs.condition
    assert costs.solving(config, False) == 16 * costs.one_pass()


def test_a_floor_is_the_arithmetic_over_the_rates(peaks):
    figures = bound_figures({"fp32": 1e9, "int8": 4e9}, seconds=8.0, audio_s=4.0, peaks=peaks)
    assert figures["real_time_factor"] == 2.0
    assert figures["floor_real_time_factor"] == 0.5  # 1 s and 1 s
    assert figures["lowest_real_time_factor"] == 0.3125
    assert figures["flop_per_s"] == 0.625e9
    assert "floor_real_time_factor" not in bound_figures({"fp16": 1e9}, 8.0, 4.0, peaks)


def test_a_rate_is_told_beside_the_best(peaks):
    assert rate_figures(1e9, 2.0, "bf16", peaks) == {"flop": 1e9, "flop_per_s": 5e8, "of_ceiling": 0.25}
    assert rate_figures(0.0, 2.0, "bf16", peaks) == {}


def test_parts_tell_the_precision_that_they_compute_in():
    for precision in ("fp32", "bf16"):
        pipeline = random_pipeline("tiny", device="cpu", precision=precision)
        assert precision_name(pipeline) == precision
        assert part_precision(pipeline, "vocoder") in ("fp32", precision)
        assert part_precision(pipeline, "decoder") in ("fp32", precision)


def test_a_part_that_is_not_packed_computes_in_the_model_s_precision(pipeline):
    plain = Pipeline(
        pipeline.mel,
        *(type(part)(part.config) for part in (pipeline.tokenizer, pipeline.transformer)),
        type(pipeline.vocoder)(pipeline.vocoder.config, pipeline.mel),
        precision=torch.bfloat16,
    )
    assert part_precision(plain, "vocoder") == part_precision(plain, "decoder") == "bf16"
