"""What a step accepts and re-masks: by policies, in groups, in overlapping spans, in exact number."""

import dataclasses
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import MasktoolsError, ParameterError
from masktools.solver import (
    POLICIES,
    SolverConfig,
    closed_counts,
    column_groups,
    item_seeds,
    make_plan,
    preset,
    solve,
    span_groups,
)
from masktools.solver.choice import (
    Groups,
    as_seeds,
    at_most,
    choose,
    choose_remasked,
    halton_order,
    halton_ranks,
    keep_spans,
    moment_sharpness,
    nearest,
    remaskable_count,
)
from tests.solver.toys import Toy, problems


def accepted_first(predict, mask, config, seeds=None, **kwargs):
    """Return the flat, time-major positions (b, n) that the first step accepts."""
    seen = []

    def stop(step, total, tokens, left, info):
        seen.append(mask & ~left)
        return False

    tokens = torch.zeros(mask.shape, dtype=torch.int64)
    seeds = item_seeds(0, len(mask)) if seeds is None else seeds
    solve(predict, tokens, mask, seeds, config, callback=stop, **kwargs)
    return seen[0].transpose(1, 2).flatten(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 10_000))
def test_exactly_the_wanted_number_of_eligible_positions_is_chosen(b, n, seed):
    draw = torch.Generator().manual_seed(seed)
    values = torch.randint(-2, 2, (b, n), generator=draw).float()  # many ties
    values[torch.rand(b, n, generator=draw) < 0.1] = -torch.inf
    eligible = torch.rand(b, n, generator=draw) < 0.6
    count = (torch.rand(b, generator=draw) * (eligible.sum(dim=1) + 1)).long()
    chosen = choose(values, eligible, count)
    assert torch.equal(chosen.sum(dim=1), count)
    assert not (chosen & ~eligible).any()
    worst = values.masked_fill(~chosen, torch.inf).amin(dim=1)
    best_left = values.masked_fill(~eligible | chosen, -torch.inf).amax(dim=1)
    assert (worst >= best_left).all()


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_constant_logits_still_give_exact_counts(policy):
    mask = torch.ones(3, 5, 53, dtype=torch.bool)
    seen = []
    solve(
        lambda tokens, *_: torch.zeros(*tokens.shape, 4),
        torch.zeros(3, 5, 53, dtype=torch.int64),
        mask,
        [1, 2, 3],
        SolverConfig(n_steps=4, policy=policy, temperature=0.0),
        callback=lambda step, total, tokens, left, info: seen.append(info.n_after),
    )
    assert seen == [(244,) * 3, (187,) * 3, (101,) * 3, (0,) * 3]


@pytest.mark.parametrize("policy", ["margin", "entropy"])
def test_without_noise_the_clearest_distributions_are_taken(policy):
    lead = torch.linspace(-3, 2.9, 12)[torch.randperm(12, generator=torch.Generator().manual_seed(1))]
    logits = torch.stack([lead, torch.zeros(12)], dim=1).expand(1, 12, 2)
    config = SolverConfig(temperature=0.0, counts=(8, 0), policy=policy)
    got = accepted_first(lambda *_: logits, torch.ones(1, 3, 4, dtype=torch.bool), config)[0]
    assert set(got.nonzero().flatten().tolist()) == set(lead.abs().topk(4).indices.tolist())


def test_without_noise_confidence_takes_the_likeliest_drawn_tokens():
    toy = Toy([0], 20, 6)
    mask = torch.ones(1, 4, 5, dtype=torch.bool)
    config = SolverConfig(temperature=0.0, counts=(13, 0), guidance=0.0)
    first = accepted_first(toy, mask, config, seeds=[5])[0]
    everything = solve(
        toy,
        torch.zeros(1, 4, 5, dtype=torch.int64),
        mask,
        [5],
        SolverConfig(n_steps=1, guidance=0.0),  # draws the same tokens, and takes them all
    ).tokens
    drawn = everything.transpose(1, 2).flatten()
    log_p = toy.tables[0][0, 0].log_softmax(dim=1).gather(1, drawn[:, None])[:, 0]
    assert set(first.nonzero().flatten().tolist()) == set(log_p.topk(7).indices.tolist())


def test_infinite_noise_takes_every_position_equally_often():
    b, n, k = 4000, 20, 5
    table = 3 * torch.randn(1, n, 8, generator=torch.Generator().manual_seed(0))
    config = SolverConfig(temperature=1e7, counts=(n - k, 0), guidance=0.0)
    chosen = accepted_first(
        lambda tokens, *_: table.expand(len(tokens), -1, -1), torch.ones(b, 4, 5, dtype=torch.bool), config
    )
    wanted = b * k / n
    chi2 = ((chosen.sum(dim=0) - wanted) ** 2 / wanted).sum().item()
    assert chi2 < 43.8  # 0.999 quantile at 19 degrees of freedom; drawing without return lowers it further


def test_the_random_policy_takes_every_position_equally_often():
    b, n, k = 4000, 20, 5
    table = 3 * torch.randn(1, n, 8, generator=torch.Generator().manual_seed(0))
    config = SolverConfig(policy="random", counts=(n - k, 0))
    chosen = accepted_first(
        lambda tokens, *_: table.expand(len(tokens), -1, -1), torch.ones(b, 4, 5, dtype=torch.bool), config
    )
    wanted = b * k / n
    assert ((chosen.sum(dim=0) - wanted) ** 2 / wanted).sum().item() < 43.8


def test_raster_goes_from_left_to_right_and_from_low_to_high():
    mask = torch.ones(1, 2, 3, dtype=torch.bool)
    mask[0, 0, 0] = False
    config = SolverConfig(policy="raster", counts=(3, 1, 0))
    seen = []
    solve(
        Toy([0], 6, 4),
        torch.zeros(1, 2, 3, dtype=torch.int64),
        mask,
        [0],
        config,
        callback=lambda step, total, tokens, left, info: seen.append(left[0].int().tolist()),
    )
    assert seen == [[[0, 0, 1], [0, 1, 1]], [[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]]


def test_moment_and_confidence_accept_equally_likely_tokens_when_few_are_taken():
    # Choosing by log p + noise and choosing first with weights sum p^(1 + 1/temperature) share this limit.
    b, n, k = 2000, 100, 32
    table = 2 * torch.randn(1, n, k, generator=torch.Generator().manual_seed(0))
    means = {}
    for policy in ("confidence", "moment"):
        config = SolverConfig(policy=policy, temperature=2.82, counts=(n - 2, 0), guidance=0.0)
        records = []
        solve(
            lambda tokens, *_: table.expand(len(tokens), -1, -1),
            torch.zeros(b, 5, 20, dtype=torch.int64),
            torch.ones(b, 5, 20, dtype=torch.bool),
            item_seeds(3, b),
            config,
            callback=lambda *args, records=records: records.append(args[-1]),
        )
        assert records[0].temperature[0] == pytest.approx(1.41)
        means[policy] = torch.tensor(records[0].mean_log_p).mean().item()
    assert means["moment"] == pytest.approx(means["confidence"], abs=0.05)
    honest = -torch.special.entr(table.softmax(dim=-1)).sum(dim=-1).mean().item()
    assert means["confidence"] > honest + 0.3, "choosing by confidence seeks modes"


def test_the_sharpness_of_moment_is_bounded_and_one_at_the_end():
    sharpness = moment_sharpness(torch.tensor([1.0, 0.5, 0.0, 0.5]), torch.tensor([False, False, False, True]))
    assert sharpness.tolist() == [2.0, 3.0, 16.0, 1.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(1, 60))
def test_the_halton_order_visits_every_cell_once(n_rows, n_cols):
    assert sorted(halton_order(n_rows, n_cols)) == list(range(n_rows * n_cols))


def test_the_first_cells_of_the_halton_order_are_spread():
    order = torch.tensor(halton_order(5, 53))
    cols, rows = order // 5, order % 5
    assert cols[:16].unique().numel() == 16
    assert torch.bincount(rows[:16], minlength=5).tolist() == [3, 4, 4, 3, 2]
    for k in (4, 8, 16, 32, 64):
        places = cols[:k].unique()
        gaps = torch.cat([places, places[:1] + 53]).diff()
        assert gaps.max() <= 2 * 53 / k + 2, f"a hole of {gaps.max()} columns after {k} cells"


def test_the_halton_order_rolls_with_the_seed_and_keeps_its_order_within_a_mask():
    ranks = halton_ranks(5, 53, as_seeds(item_seeds(0, 20)))
    assert all(row.sort().values.tolist() == list(range(265)) for row in ranks)
    assert len({tuple(row.tolist()) for row in ranks}) > 15
    mask = torch.rand(20, 5, 53, generator=torch.Generator().manual_seed(0)) < 0.4
    mask[:, 0, 0] = True
    config = SolverConfig(policy="halton", counts=(30, 0))
    got = accepted_first(Toy(list(range(20)), 265, 4), mask, config, seeds=item_seeds(0, 20))
    for item in range(20):
        left = ranks[item].masked_fill(~mask[item].T.flatten(), 999)
        wanted = left.argsort()[: int(mask[item].sum()) - 30]
        assert set(got[item].nonzero().flatten().tolist()) == set(wanted.tolist())


def masks_of(toy, problem, groups, config):
    """Return the masks before the first and after every step, and the result."""
    seen = [problem.mask]
    result = solve(
        toy,
        problem.tokens,
        problem.mask,
        problem.seeds,
        config,
        groups=groups,
        callback=lambda step, total, tokens, mask, info: seen.append(mask),
    )
    return seen, result


@settings(max_examples=20, deadline=None)
@given(
    problems(with_groups=False),
    st.integers(1, 12),
    st.integers(0, 1000),
    st.sampled_from(["mean", "max", "sum"]),
)
def test_a_group_is_never_split(problem, n_labels, seed, score):
    labels = torch.randint(-3, n_labels, problem.mask.shape, generator=torch.Generator().manual_seed(seed))
    config = dataclasses.replace(problem.config, group_score=score)
    masks, result = masks_of(problem.toy(), problem, labels, config)
    assert not masks[-1].any()
    for mask in masks:
        for item in range(problem.b):
            for label in labels[item].unique():
                own = problem.mask[item] & (labels[item] == label)
                assert mask[item][own].unique().numel() <= 1
    for before, after in pairwise(masks):
        n_before, n_after = before.flatten(1).sum(dim=1), after.flatten(1).sum(dim=1)
        assert ((n_after < n_before) | (n_before == 0)).all()
    assert torch.equal(result.tokens[~problem.mask], problem.tokens[~problem.mask])


@settings(max_examples=20, deadline=None)
@given(problems(with_groups=False, revocations=(0.0,)))
def test_every_step_is_used_as_long_as_there_are_groups(problem):
    groups = column_groups(*problem.mask.shape[1:])
    masks, _ = masks_of(problem.toy(), problem, groups, problem.config)
    for item in range(problem.b):
        n_groups = int(problem.mask[item].any(dim=0).sum())
        steps = sum(bool(mask[item].any()) for mask in masks[:-1])
        assert steps == min(problem.config.n_steps, n_groups)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_groups_of_one_slot_change_nothing(policy):
    mask = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(0)) < 0.7
    tokens = torch.ones(2, 3, 8, dtype=torch.int64)
    single = torch.arange(24).view(8, 3).T  # time-major, as positions are numbered
    config = SolverConfig(n_steps=5, policy=policy, revocation=0.3)
    plain = solve(Toy([0, 1], 24, 6), tokens, mask, [3, 4], config)
    grouped = solve(Toy([0, 1], 24, 6), tokens, mask, [3, 4], config, groups=single)
    assert torch.equal(plain.tokens, grouped.tokens)
    assert [record.n_after for record in plain.trace] == [record.n_after for record in grouped.trace]


def test_columns_of_equal_size_follow_the_plan_to_the_nearest_column():
    mask = torch.ones(1, 5, 53, dtype=torch.bool)
    seen = []
    solve(
        Toy([0], 265, 4),
        torch.zeros(1, 5, 53, dtype=torch.int64),
        mask,
        [0],
        SolverConfig(),
        groups=column_groups(5, 53),
        callback=lambda step, total, tokens, left, info: seen.append(info.n_after[0]),
    )
    planned = (263, 259, 253, 244, 233, 220, 204, 187, 168, 147, 124, 101, 76, 51, 25, 0)
    assert all(left % 5 == 0 for left in seen)
    assert all(abs(left - wanted) <= 5 for left, wanted in zip(seen, planned, strict=True))


def test_the_nearest_count_is_taken_and_groups_are_left_for_later_steps():
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    sizes = torch.tensor([[4, 4, 4, 0]])

    def take(count, above=0, n_later=0):
        one = [torch.tensor([number]) for number in (count, above, n_later)]
        return nearest(scores, sizes, *one)[0].tolist()

    assert take(5) == [True, False, False, False]
    assert take(6) == [True, False, False, False], "of two as near, the fewer groups"
    assert take(7) == [True, True, False, False]
    assert take(1) == [True, False, False, False], "at least one group"
    assert take(12, n_later=2) == [True, False, False, False], "one group for each later step"
    assert take(1, above=4) == [True, True, False, False], "more than was taken back"
    assert at_most(scores, sizes, torch.tensor([9]))[0].tolist()[:3] == [True, True, False]


def test_groups_vote_by_mean_or_best_or_sum():
    groups = Groups(torch.tensor([[0, 0, 1, 2]]), 3)
    values, eligible = torch.tensor([[-1.0, -3.0, -2.5, -1.0]]), torch.tensor([[True, True, True, False]])
    assert groups.scores(values, eligible, "mean").tolist() == [[-2.0, -2.5, 0.0]]
    assert groups.scores(values, eligible, "sum").tolist() == [[-4.0, -2.5, 0.0]]
    assert groups.scores(values, eligible, "max").tolist() == [[-1.0, -2.5, -torch.inf]]
    assert groups.sizes(eligible).tolist() == [[2, 1, 0]]


def test_labels_of_the_wrong_shape_are_refused():
    tokens, mask = torch.zeros(1, 2, 3, dtype=torch.int64), torch.ones(1, 2, 3, dtype=torch.bool)
    with pytest.raises(ParameterError, match=r"groups must be integer labels of shape \(2, 3\) or \(1, 2, 3\)"):
        solve(Toy([0], 6, 3), tokens, mask, [0], groups=torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ParameterError, match="groups must be integer labels .* got torch.float32"):
        solve(Toy([0], 6, 3), tokens, mask, [0], groups=torch.zeros(2, 3))
    with pytest.raises(ParameterError, match="a span needs at least one column, got 0"):
        span_groups(2, 3, 0)


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: halton_order(0, 3), ParameterError, "at least one row and one column, got 0 x 3"),
        (
            lambda: rescored(0.5, lambda tokens, mask, items: torch.full(tokens.shape, torch.nan)),
            MasktoolsError,
            "rescore must return log probabilities without NaN",
        ),
        (
            lambda: rescored(0.5, lambda tokens, mask, items: torch.zeros(3)),
            ParameterError,
            r"log probabilities of shape \(2, 40\), got \(3,\)",
        ),
        (
            lambda: rescored(0.5, table_of_preferences, SolverConfig(policy="random")),
            ParameterError,
            "rescore needs the policy 'confidence'",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def masks_seen(problem, config, groups=None):
    seen = [problem.mask]

    def callback(step, total, tokens, mask, info):
        assert not tokens[mask].any(), "what was taken back is hidden again"
        seen.append(mask)

    result = solve(
        problem.toy(),
        problem.tokens,
        problem.mask,
        problem.seeds,
        config,
        groups=groups,
        callback=callback,
    )
    return seen, result


@settings(max_examples=20, deadline=None)
@given(problems(with_groups=False, revocations=(0.3, 0.9)))
def test_only_accepted_tokens_are_taken_back_and_as_many_as_the_trace_says(problem):
    masks, result = masks_seen(problem, problem.config)
    for record, before, after in zip(result.trace, masks, masks[1:], strict=False):
        back = after & ~before
        assert not (back & ~problem.mask).any(), "known tokens are never touched"
        assert back.flatten(1).sum(dim=1)[list(record.items)].tolist() == list(record.n_revoked)
    assert not any(result.trace[-1].n_revoked if result.trace else [])


def test_the_share_of_what_was_accepted_is_taken_back():
    mask, tokens = torch.ones(1, 5, 53, dtype=torch.bool), torch.zeros(1, 5, 53, dtype=torch.int64)
    result = solve(Toy([0], 265, 8), tokens, mask, [0], SolverConfig(revocation=0.1))
    for record in result.trace:
        accepted = 265 - record.n_before[0]
        assert record.n_revoked[0] == (min(int(0.1 * accepted), record.n_after[0]))
    assert sum(record.n_revoked[0] for record in result.trace) > 50


def test_every_policy_can_take_back():
    mask, tokens = torch.ones(2, 3, 8, dtype=torch.bool), torch.zeros(2, 3, 8, dtype=torch.int64)
    for policy in POLICIES:
        result = solve(Toy([0, 1], 24, 8), tokens, mask, [0, 1], SolverConfig(policy=policy, revocation=0.3))
        assert sum(map(sum, (record.n_revoked for record in result.trace))) > 0
        assert result.trace[-1].n_after == (0, 0)


def test_whole_groups_are_taken_back():
    mask, tokens = torch.ones(1, 3, 8, dtype=torch.bool), torch.zeros(1, 3, 8, dtype=torch.int64)
    config = SolverConfig(revocation=0.5)
    result = solve(Toy([0], 24, 8), tokens, mask, [0], config, groups=column_groups(3, 8))
    assert sum(record.n_revoked[0] for record in result.trace) > 0
    assert all(record.n_revoked[0] % 3 == 0 for record in result.trace)


def test_the_worst_tokens_are_taken_back_by_the_confidence_of_their_acceptance():
    log_p = torch.tensor([[-1.0, -5.0, -0.1, -3.0, -9.0]])
    accepted = torch.tensor([[True, True, True, True, False]])
    back = choose_remasked(log_p, accepted, torch.tensor([2]), torch.zeros(1, 5))
    assert back.tolist() == [[False, True, False, True, False]]


def test_no_more_is_taken_back_than_the_plan_can_mask_again():
    accepted, masked = torch.tensor([[True] * 8 + [False] * 4]), torch.tensor([[False] * 8 + [True] * 4])
    counts = [remaskable_count(0.9, accepted, masked, torch.tensor([n_after])).item() for n_after in (0, 1, 2, 9)]
    assert counts == [0, 1, 2, 3]
    assert remaskable_count(0.25, accepted, masked, torch.tensor([3])).item() == 2
