"""The quantiser: nearest entries, two kinds of learning, and entries that do not die."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.networks.tokenizer.local import Codebook, codebook_usage, k_means


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_each_vector_gets_the_entry_of_least_squared_distance(seed):
    torch.manual_seed(seed)
    codebook, z = Codebook(16, 4), torch.randn(2, 4, 3, 5)
    distances = (z.movedim(1, -1).unsqueeze(-2) - codebook.weight).square().sum(-1)
    assert torch.equal(codebook.nearest(z), distances.argmin(-1))


def test_entries_are_their_own_tokens():
    codebook = Codebook(32, 8)
    tokens = torch.arange(32).view(1, 4, 8)
    assert torch.equal(codebook.nearest(codebook.lookup(tokens)), tokens)


def test_the_gradient_passes_straight_through_to_the_encoder():
    codebook, z = Codebook(16, 4).eval(), torch.randn(1, 4, 2, 2, requires_grad=True)
    codebook(z).vectors.sum().backward()
    torch.testing.assert_close(z.grad, torch.ones_like(z))


def test_an_ema_codebook_moves_to_the_mean_of_its_vectors():
    torch.manual_seed(0)
    codebook = Codebook(2, 2, decay=0.5)
    clusters = torch.tensor([[5.0, 5.0], [-5.0, -5.0]])
    codebook.place(clusters.repeat(10, 1))
    z = (clusters + 1.0).repeat(8, 1).T.reshape(1, 2, 4, 4)
    for _ in range(30):
        codebook(z)
    wanted = (clusters + 1.0).sort(dim=0).values
    torch.testing.assert_close(codebook.weight.detach().sort(dim=0).values, wanted, atol=1e-3, rtol=0)


def test_an_ema_codebook_rests_in_evaluation():
    codebook = Codebook(8, 2).eval()
    before = codebook.weight.clone()
    codebook(torch.randn(1, 2, 4, 4))
    assert torch.equal(codebook.weight, before)


def test_dead_entries_restart_on_vectors_of_the_batch():
    torch.manual_seed(0)
    codebook = Codebook(4, 2, decay=0.5)
    z = torch.randn(1, 2, 8, 8)
    codebook.place(torch.full((40, 2), 50.0) + torch.randn(40, 2))
    with torch.no_grad():
        codebook.weight[0] = 0.0
    for _ in range(12):
        codebook(z)
    assert codebook.restart(z) == 3
    vectors = z.movedim(1, -1).reshape(-1, 2)
    assert (torch.cdist(codebook.weight, vectors).min(dim=1).values[1:] < 1e-6).all()
    assert codebook.restart(z) == 0, "restarted entries get time to gather vectors of their own"


def test_restart_keeps_a_codebook_alive_where_the_plain_one_collapses():
    used = {}
    for restarting in (False, True):
        torch.manual_seed(0)
        codebook = Codebook(64, 4)
        for step in range(200):
            z = torch.randn(1, 4, 16, 16)
            tokens = codebook(z).tokens
            if restarting and step % 20 == 0:
                codebook.restart(z)
        used[restarting] = codebook_usage(tokens, 64).n_used
    assert used[True] > 55 > 2 * used[False] or used[True] > used[False] + 20


def test_only_a_gradient_codebook_learns_by_gradients():
    assert Codebook(8, 2, kind="gradient").weight.requires_grad
    assert not Codebook(8, 2).weight.requires_grad


def test_usage_of_an_even_histogram_is_the_whole_codebook():
    usage = codebook_usage(torch.arange(64).repeat(3), 64)
    assert usage.n_used == 64
    assert usage.perplexity == pytest.approx(64)
    assert codebook_usage(torch.zeros(10, dtype=torch.long), 64).perplexity == pytest.approx(1)


def test_k_means_finds_clusters_that_lie_apart():
    torch.manual_seed(0)
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = truth.repeat_interleave(50, 0) + 0.1 * torch.randn(150, 2)
    found = k_means(vectors, 3, n_iterations=20)
    assert torch.cdist(truth, found).min(dim=1).values.max() < 6.0
    assert (torch.cdist(vectors, found).min(dim=1).values.mean() < 4.0).item()


def test_wrong_use_is_refused():
    with pytest.raises(ParameterError, match="unknown codebook kind 'emma': choose from ema, gradient"):
        Codebook(8, 2, kind="emma")
    with pytest.raises(ParameterError, match="k-means needs at least 8 vectors, got 4"):
        Codebook(8, 2).place(torch.randn(4, 2))
    with pytest.raises(ParameterError, match="only an 'ema' codebook can restart"):
        Codebook(8, 2, kind="gradient").restart(torch.randn(1, 2, 4, 4))
