"""A sentence encoder becomes a table of vectors."""

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.training.text_distillation import distil_vectors, principal_components, rarity_weights, useful_pieces

PIECES = ["a", "the", "dog", "puppy", "violin", "rain", "##s"]


def teacher(ids):
    """Answer each token with its own row, the ends with zeros; dog and puppy are neighbours."""
    table = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    table[5] = table[4] + 0.1 * table[5]
    table[:2] = 0.0
    return table[ids]


def distilled():
    return distil_vectors(teacher, PIECES, range(2, 9), (0, 1), dim=6)


def test_words_that_the_teacher_holds_alike_stay_alike():
    vectors = torch.nn.functional.normalize(distilled(), dim=1)
    assert vectors.shape == (7, 6)
    assert vectors[2] @ vectors[3] > 0.9
    assert vectors[2] @ vectors[4] < 0.5


def test_the_size_of_the_batches_changes_nothing(monkeypatch):
    whole = distilled()
    monkeypatch.setattr("masktools.training.text_distillation._PIECES", 2)
    torch.testing.assert_close(distilled(), whole)


def test_frequent_pieces_and_single_letters_weigh_little():
    weights = rarity_weights(["x", "the", "dog", "##s", "aardvark"])
    assert weights[0] == weights[1] == weights[3] == weights.min()
    assert weights[1] < weights[2] < weights[4] < 1.0


def test_principal_components_keep_the_distances_that_fit_in():
    generator = torch.Generator().manual_seed(1)
    flat = torch.randn(30, 3, generator=generator) @ torch.randn(3, 10, generator=generator)
    reduced = principal_components(flat, 3)
    torch.testing.assert_close(torch.pdist(reduced), torch.pdist(flat), atol=1e-4, rtol=1e-4)
    assert (reduced.var(dim=0).diff() < 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distil_vectors(teacher, ["a"], [2, 3], (0, 1)), "of one length, got 1 and 2"),
        (lambda: rarity_weights(["dog"], smoothing=0.0), "smoothing must be positive, got 0"),
        (lambda: principal_components(torch.zeros(5, 3), 4), r"dim must lie in \[1, 3\], got 4"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_special_tokens_and_other_scripts_are_left_out():
    assert useful_pieces(["[PAD]", "[unused7]", "[", "dog", "##ing", "犬", "café", ""]) == [2, 3, 4]
