"""The static vectors of the text side, and the vocabulary inside them."""

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.networks.conditioning.joint import StaticText, pack_vocabulary, unpack_vocabulary
from masktools.networks.packing import quantise_rows

PIECES = ["dog", "rain", "##s", "ü"]


def static_text(pieces=PIECES, dim=6):
    packed = pack_vocabulary(pieces)
    module = StaticText(len(pieces), dim, len(packed))
    codes, scales = quantise_rows(torch.randn(len(pieces), dim, generator=torch.Generator().manual_seed(0)))
    module.load_state_dict({"codes": codes, "scales": scales, "vocabulary": packed})
    return module


def test_a_vocabulary_survives_its_packing():
    assert unpack_vocabulary(pack_vocabulary(PIECES)) == PIECES


@pytest.mark.parametrize("pieces", [["dog", ""], ["dog", "a\nb"]])
def test_a_piece_must_be_one_line_of_text(pieces):
    with pytest.raises(ParameterError, match="without line breaks"):
        pack_vocabulary(pieces)


def test_eight_bits_keep_the_direction_of_a_vector():
    vectors = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
    codes, scales = quantise_rows(vectors)
    restored = codes * scales.unsqueeze(1)
    assert torch.cosine_similarity(vectors, restored).min() > 0.9995


def test_a_text_is_the_direction_of_the_sum_of_its_pieces():
    module = static_text()
    rows = (module.codes * module.scales.unsqueeze(1))[[0, 2, 1]]
    expected = torch.nn.functional.normalize(rows.sum(0), dim=0)
    torch.testing.assert_close(module(["Dogs rain?"])[0], expected)


def test_a_text_embeds_as_it_does_alone():
    module = static_text()
    torch.testing.assert_close(module(["dog", "rain rain dogs"])[0], module(["dog"])[0])


def test_new_weights_bring_their_own_vocabulary():
    module = static_text()
    assert module.wordpiece.ids("rain") == [1]
    state = module.state_dict() | {"vocabulary": pack_vocabulary(["rain", "dog", "##s", "ü"])}
    module.load_state_dict(state)
    assert module.wordpiece.ids("rain") == [0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack_vocabulary(["dog", "dog"]), "got 1 repeated"),
        (lambda: StaticText(4, 6, 16)(["dog"]), "needs a vocabulary of 4 pieces, got 0"),
        (lambda: static_text()(["dog", "zzz"]), "none of 'zzz' can be spelt"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
