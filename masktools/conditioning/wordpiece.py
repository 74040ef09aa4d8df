"""Text -> word pieces: the uncased WordPiece splitting of BERT, in plain Python and without a library."""

import unicodedata
from collections.abc import Iterator, Sequence

__all__ = ["WordPiece", "split_words"]

_MAX_WORD = 100  # characters; a longer word is unknown
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


def _is_ideograph(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)


def _stands_alone(character: str) -> bool:
    """Whether a character is a word of its own: punctuation, ASCII symbols and ideographs."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character).startswith("P") or _is_ideograph(character)


def _cleaned(text: str) -> Iterator[str]:
    for character in text:
        if character.isspace():
            yield " "
        elif character != "\ufffd" and not unicodedata.category(character).startswith("C"):
            yield character


def split_words(text: str) -> list[str]:
    """Return the words of a text: lower case, without accents, each punctuation mark a word of its own.

    Source: BERT (arXiv:1810.04805), its uncased basic tokenisation.

    >>> split_words("A café, at NIGHT!")
    ['a', 'cafe', ',', 'at', 'night', '!']
    """
    plain = unicodedata.normalize("NFD", "".join(_cleaned(text)))
    letters = "".join(c for c in plain if unicodedata.category(c) != "Mn").lower()
    return "".join(f" {c} " if _stands_alone(c) else c for c in letters).split()


class WordPiece:
    """A vocabulary and its greedy longest-match splitting; pieces inside a word are written ``##piece``.

    >>> WordPiece(["dog", "bark", "##ing"]).pieces("Dog barking?")
    ['dog', 'bark', '##ing']
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        self._ids = {piece: i for i, piece in enumerate(self.vocabulary)}

    def __len__(self) -> int:
        return len(self.vocabulary)

    def ids(self, text: str) -> list[int]:
        """Return the indices of the known pieces of a text; a word that cannot be spelt by them is left out."""
        return [i for word in split_words(text) for i in self._word_ids(word)]

    def pieces(self, text: str) -> list[str]:
        """Return the known pieces of a text."""
        return [self.vocabulary[i] for i in self.ids(text)]

    def _word_ids(self, word: str) -> list[int]:
        if len(word) > _MAX_WORD:
            return []
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            matches = (stop for stop in range(len(word), start, -1) if prefix + word[start:stop] in self._ids)
            stop = next(matches, None)
            if stop is None:
                return []
            found.append(self._ids[prefix + word[start:stop]])
            start = stop
        return found
