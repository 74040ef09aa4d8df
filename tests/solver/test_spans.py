"""MAGNeT's pace and spans, and what an external model has to say about what was drawn."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import MasktoolsError, ParameterError
from masktools.solver import SolverConfig, closed_counts, make_plan, preset, solve, span_groups
from masktools.solver.choice import keep_spans
from tests.solver.toys import Toy

SPANS = replace(preset("magnet"), overlap=3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.integers(1, 30))
def test_a_closed_pace_falls_to_nothing_and_every_step_accepts(n_units, n_steps):
    counts = closed_counts(n_units, n_steps)
    before = [n_units, *(after for _, after in counts)]
    assert all(after < earlier for earlier, after in pairwise(before))
    assert before[-1] == 0
    assert [number for number, _ in counts] == sorted({number for number, _ in counts})
    assert not counts or counts[-1][0] == n_steps - 1


def test_a_share_of_a_half_is_rounded_as_single_precision_has_it():
    assert dict(closed_counts(166, 10))[5] == 82, "not 83: the cosine of 60 degrees comes out just below a half"


def test_the_course_of_guidance_and_temperature_is_magnets():
    plan = make_plan(500, 500, preset("magnet"), 167)
    assert plan[0].guidance == 10.0
    assert plan[-1].guidance == pytest.approx(1.0)
    assert plan[0].token_temperature == pytest.approx(2.85)
    assert plan[-1].token_temperature == 0.01
    (only,) = make_plan(10, 10, replace(preset("magnet"), n_steps=1))
    assert (only.guidance, only.token_temperature) == (10.0, 0.01)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 5), st.sampled_from([0.3, 0.8, 1.0]))
def test_what_stays_masked_lies_near_the_count_and_was_masked(seed, n, span, share):
    draw = torch.Generator().manual_seed(seed)
    mask = torch.rand(2, n, generator=draw) < share
    values = -torch.rand(2, n, generator=draw)
    wanted = (mask.sum(dim=1) * torch.rand(2, generator=draw)).long()
    kept = keep_spans(values, mask, wanted, span)
    assert not (kept & ~mask).any()
    assert not kept[wanted == 0].any()
    whole = mask.all(dim=1) & (wanted >= span)
    assert ((kept.sum(dim=1) - wanted).abs()[whole] <= span).all()


def test_overlapping_spans_fill_any_row_and_never_take_back():
    mask = torch.ones(3, 1, 50, dtype=torch.bool)
    mask[1, :, :20] = False
    mask[2, :, 3:] = False
    tokens = torch.full((3, 1, 50), 4)
    seen = [mask]
    result = solve(
        Toy([0, 1, 2], 50, 6),
        tokens,
        mask,
        [0, 1, 2],
        SPANS,
        callback=lambda step, total, tokens, left, record: seen.append(left),
    )
    assert not any((after & ~before).any() for before, after in pairwise(seen))
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    assert result.trace[-1].n_after == (0,) * len(result.trace[-1].items)


def test_spans_and_groups_of_rows_are_refused_in_words():
    tokens, mask = torch.zeros(1, 2, 4, dtype=torch.int64), torch.ones(1, 2, 4, dtype=torch.bool)
    with pytest.raises(ParameterError, match="overlap needs grids of one row and no groups, got 2 rows"):
        solve(Toy([0], 8, 3), tokens, mask, [0], SPANS)
    with pytest.raises(ParameterError, match="overlap needs the policy 'confidence'"):
        SolverConfig(overlap=3, policy="random")
    with pytest.raises(ParameterError, match="pace 'closed' follows the schedule"):
        SolverConfig(pace="closed", counts=(3, 0))
    config = replace(preset("magnet"), revocation=0.2)
    with pytest.raises(ParameterError, match="got 0.2"):
        solve(Toy([0], 8, 3), tokens, mask, [0], config, groups=span_groups(2, 4))


@pytest.mark.parametrize("known", [slice(0, 8), slice(0, 7), slice(3, 8), slice(0, 0)])
@pytest.mark.parametrize("n_steps", [1, 2, 50])
@pytest.mark.parametrize("overlap", [0, 3])
def test_any_gap_is_filled_in_any_number_of_steps(known, n_steps, overlap):
    mask = torch.ones(1, 1, 8, dtype=torch.bool)
    mask[..., known] = False
    tokens = torch.full((1, 1, 8), 2)
    groups = None if overlap else span_groups(1, 8)
    config = replace(preset("magnet"), n_steps=n_steps, overlap=overlap)
    result = solve(Toy([0], 8, 5), tokens, mask, [3], config, groups=groups)
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    assert result.n_forwards == 0 if not mask.any() else result.trace[-1].n_after == (0,)


def test_leaving_out_idle_steps_changes_nothing():
    """A step of a closed pace that accepts nothing gives back its grid; in a row of one unit all but one are such."""
    tokens, mask = torch.zeros(1, 1, 3, dtype=torch.int64), torch.ones(1, 1, 3, dtype=torch.bool)
    config = replace(preset("magnet"), n_steps=20)
    result = solve(Toy([5], 3, 4), tokens, mask, [0], config, groups=span_groups(1, 3))
    (record,) = result.trace
    assert record.guidance == (pytest.approx(1.0),)
    assert make_plan(3, 3, config, 1)[0].token_temperature == 0.01


def test_extreme_logits_under_strong_guidance_stay_finite():
    def predict(tokens, mask, items, conditional):
        return (1e4 if conditional else -1e4) * torch.eye(6)[torch.arange(12) % 6].expand(len(tokens), -1, -1)

    tokens, mask = torch.zeros(2, 1, 12, dtype=torch.int64), torch.ones(2, 1, 12, dtype=torch.bool)
    for overlap in (0, 3):
        result = solve(predict, tokens, mask, [0, 1], replace(SPANS, guidance=20.0, overlap=overlap))
        assert torch.equal(result.tokens[0, 0], torch.arange(12) % 6)


def rescored(weight, rescore, config=SPANS):
    tokens, mask = torch.zeros(2, 1, 40, dtype=torch.int64), torch.ones(2, 1, 40, dtype=torch.bool)
    return solve(Toy([0, 1], 40, 8), tokens, mask, [0, 1], replace(config, rescore_weight=weight), rescore=rescore)


def table_of_preferences(tokens, mask, items):
    return -torch.arange(tokens.shape[1]).expand_as(tokens).float()


@pytest.mark.parametrize("config", [SPANS, SolverConfig(n_steps=8, temperature=0.0)])
def test_the_external_model_has_the_share_that_its_weight_says(config):
    without = rescored(0.7, None, config)
    assert torch.equal(rescored(0.0, table_of_preferences, config).tokens, without.tokens)
    assert not torch.equal(rescored(0.7, table_of_preferences, config).tokens, without.tokens)


def test_at_full_weight_the_external_model_alone_decides_the_order():
    config = SolverConfig(n_steps=5, temperature=0.0, guidance=1.0, guidance_schedule="constant", rescore_weight=1.0)
    tokens, mask = torch.zeros(1, 1, 10, dtype=torch.int64), torch.ones(1, 1, 10, dtype=torch.bool)
    left = []
    solve(
        Toy([0], 10, 8),
        tokens,
        mask,
        [0],
        config,
        rescore=table_of_preferences,
        callback=lambda step, total, tokens, after, record: left.append(after[0, 0]),
    )
    assert all((after.long().diff() >= 0).all() for after in left), "from left to right"


def test_the_external_model_sees_whole_candidates_and_is_spared_the_last_step():
    calls = []

    def rescore(tokens, mask, items):
        calls.append((tokens.clone(), mask.clone()))
        return torch.zeros(tokens.shape)

    result = rescored(0.5, rescore)
    assert len(calls) == len(result.trace) - 1
    assert calls[0][1].all()
    assert calls[0][0].unique().numel() > 1


def test_an_external_model_that_answers_with_nan_is_named():
    with pytest.raises(MasktoolsError, match="rescore must return log probabilities without NaN"):
        rescored(0.5, lambda tokens, mask, items: torch.full(tokens.shape, torch.nan))
    with pytest.raises(ParameterError, match=r"log probabilities of shape \(2, 40\), got \(3,\)"):
        rescored(0.5, lambda tokens, mask, items: torch.zeros(3))
    with pytest.raises(ParameterError, match="rescore needs the policy 'confidence'"):
        rescored(0.5, table_of_preferences, SolverConfig(policy="random"))
