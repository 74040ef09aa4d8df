"""Grain: what it adds, where, and that it is always the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.networks.grain import Grain, GrainConfig, spread_loss

N_MELS = 16


def network(**changes):
    torch.manual_seed(0)
    made = Grain(GrainConfig(n_mels=N_MELS, width=4, **changes))
    torch.nn.init.normal_(made.last.weight, std=0.3)
    return made.eval().requires_grad_(False)


def mels(n=2, n_frames=60, seed=0):
    return torch.rand(n, N_MELS, n_frames, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 5000), st.integers(1, 60), st.integers(0, 40))
def test_a_frame_gets_the_same_grain_in_every_window(position, n_frames, start):
    silent = network()
    torch.nn.init.zeros_(silent.last.weight)  # the spread is the same everywhere
    whole = silent(torch.zeros(1, N_MELS, start + n_frames), position)
    part = silent(torch.zeros(1, N_MELS, n_frames), position + start)
    assert torch.equal(part, whole[..., start:])


def test_a_clip_of_a_batch_gets_the_grain_that_it_gets_alone():
    grain, mel = network(), mels()
    for number in range(len(mel)):
        assert torch.allclose(grain(mel)[number], grain(mel[number : number + 1])[0], atol=1e-6)


def test_the_reach_is_how_far_a_frame_changes_the_spread_of_others():
    grain, mel = network(), mels(1)
    other = mel.clone()
    other[..., 30] += 0.5
    changed = (grain.log_spread(other) != grain.log_spread(mel)).any(dim=1)[0].nonzero()[:, 0]
    assert (int(changed[0]), int(changed[-1])) == (30 - grain.reach, 30 + grain.reach)


def test_what_is_added_has_the_predicted_spread_times_the_strength():
    grain = network(strength=0.5)
    torch.nn.init.zeros_(grain.last.weight)
    mel = torch.zeros(1, N_MELS, 4000)
    wanted = 0.5 * grain.log_spread(mel).exp().mean()
    assert (grain(mel) - mel).std() == pytest.approx(float(wanted), rel=0.03)
    assert (grain(mel) - mel).mean().abs() < 0.05 * wanted


def test_without_strength_nothing_is_added_and_nothing_leaves_the_range():
    mel = mels()
    assert torch.equal(network(strength=0.0)(mel), mel)
    loud = network(strength=50.0)(mel)
    assert loud.min() == -1.0
    assert loud.max() == 1.0


def test_the_loss_is_least_for_the_true_spread():
    residual = 0.1 * torch.randn(100_000, generator=torch.Generator().manual_seed(1))
    losses = {
        spread: float(spread_loss(torch.tensor(spread).log().expand(100_000), residual)) for spread in (0.05, 0.1, 0.2)
    }
    assert min(losses, key=losses.__getitem__) == 0.1
    normal = torch.distributions.Normal(0.0, 0.1).log_prob(residual).mean()
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    assert losses[0.1] == pytest.approx(float(-normal - constant), abs=1e-5)
