"""Splitting of texts into word pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.networks.conditioning.joint import WordPiece, split_words

ALPHABET = "abcdeéÜñß019 .,!?'\"-#$~_\t\n\u200d\x00\u3000\u0660\u03b1犬和Ж€…—¿"
PIECES = [
    "[UNK]",
    "a",
    "b",
    "ab",
    "##a",
    "##b",
    "##bc",
    "##c",
    "c",
    "cab",
    ".",
    ",",
    "-",
    "e",
    "##e",
    "u",
    "n",
    "犬",
    "1",
    "##0",
]


def longest_match(word: str, pieces: set[str]) -> list[str] | None:
    """Split one word by trying every first piece, longest first, without looking back."""
    parts, prefix = [], ""
    while word:
        heads = [word[:n] for n in range(len(word), 0, -1) if prefix + word[:n] in pieces]
        if not heads:
            return None
        parts.append(prefix + heads[0])
        word, prefix = word[len(heads[0]) :], "##"
    return parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog barks.", ["a", "dog", "barks", "."]),
        ("Café au lait, déjà-vu", ["cafe", "au", "lait", ",", "deja", "-", "vu"]),
        ("tab\tand\nbreak\u00a0here", ["tab", "and", "break", "here"]),
        ("8-bit music (1990s)", ["8", "-", "bit", "music", "(", "1990s", ")"]),
        ("犬の声", ["犬", "の", "声"]),
        ("nul\x00 and zero\u200bwidth", ["nul", "and", "zerowidth"]),
        ("", []),
        ("   ", []),
    ],
)
def test_words_are_lower_case_without_accents_and_punctuation_stands_alone(text, words):
    assert split_words(text) == words


def test_the_longest_piece_wins_from_the_left():
    splitting = WordPiece(["bark", "##ing", "##i", "##n", "##g", "barki"])
    assert splitting.pieces("barking") == ["barki", "##n", "##g"]


def test_a_word_that_cannot_be_spelt_is_left_out_whole():
    assert WordPiece(["dog", "##s"]).pieces("dogs dogma") == ["dog", "##s"]


def test_a_word_of_more_than_a_hundred_letters_is_left_out():
    splitting = WordPiece(["a", "##a"])
    assert len(splitting.ids("a" * 100)) == 100
    assert splitting.ids("a" * 101) == []


def test_indices_point_into_the_vocabulary():
    splitting = WordPiece(["dog", "bark", "##ing"])
    assert splitting.ids("barking dog") == [1, 2, 0]
    assert len(splitting) == 3


@settings(max_examples=50, deadline=None)
@given(st.text(ALPHABET, max_size=30))
def test_pieces_equal_those_of_a_plain_longest_match(text):
    expected = [part for word in split_words(text) for part in longest_match(word, set(PIECES[1:])) or []]
    assert WordPiece(PIECES[1:]).pieces(text) == expected


@settings(max_examples=50, deadline=None)
@given(st.text(ALPHABET, max_size=30))
def test_pieces_equal_those_of_the_tokenizers_library(text):
    library = pytest.importorskip("tokenizers", reason="parity needs the package tokenizers")
    theirs = library.Tokenizer(
        library.models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    theirs.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    theirs.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    known = [piece for piece in theirs.encode(text).tokens if piece != "[UNK]"]
    assert WordPiece(PIECES[1:]).pieces(text) == known
