"""Policies choose positions in exact number: the best, a random few, or the next in an order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.solver import SolverConfig, item_seeds, solve
from masktools.solver.choice import POLICIES, choose, halton_order, halton_ranks, moment_sharpness
from masktools.solver.noise import as_seeds
from tests.solver.toys import Toy


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


def test_a_grid_without_cells_has_no_order():
    with pytest.raises(ParameterError, match="at least one row and one column, got 0 x 3"):
        halton_order(0, 3)
