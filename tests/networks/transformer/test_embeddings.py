"""Embeddings that begin where the codebook is."""

import torch

from masktools.networks.transformer.model import EMBEDDING_STD, embeddings_from_codes


def test_codes_that_are_alike_begin_alike():
    codes = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    codes[1] = codes[0] + 0.01
    embeddings = embeddings_from_codes(codes, 6)
    distances, wanted = (torch.cdist(x.double(), x.double()) for x in (embeddings, codes))
    torch.testing.assert_close(distances / distances.max(), wanted / wanted.max(), rtol=0.0, atol=1e-4)
    assert distances[0].argsort()[1] == 1


def test_they_are_as_large_as_those_that_begin_at_random_in_any_width():
    codes = 3 * torch.randn(100, 8)
    for width in (4, 8, 20):
        embeddings = embeddings_from_codes(codes, width)
        assert embeddings.shape == (100, width)
        torch.testing.assert_close(embeddings.std(), torch.tensor(EMBEDDING_STD), rtol=1e-4, atol=0.0)


def test_the_same_seed_gives_the_same_embeddings():
    codes = torch.randn(30, 5)
    assert torch.equal(embeddings_from_codes(codes, 5, 1), embeddings_from_codes(codes, 5, 1))
    assert not torch.equal(embeddings_from_codes(codes, 5, 1), embeddings_from_codes(codes, 5, 2))
