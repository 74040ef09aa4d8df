"""What a text asserts of a sound: captions and prompts as sets of tags, so that no true pair counts as a false one.

A recording has tags (its labels, and words measured from its signal); a phrase asserts tags. The phrase is true of
every recording that has them all: "a dog barking" is true of all dogs, whichever clip it was written for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Phrase", "asserted_tags", "collect_phrases", "tag_words", "truth_table"]

_TEMPLATES = ("{}", "the sound of {}", "a recording of {}")


@dataclass(frozen=True)
class Phrase:
    """A text and the tags that it asserts."""

    text: str
    tags: frozenset[str]


def tag_words(tag: str) -> str:
    """Return a tag as words: ``"sea_waves"`` as ``"sea waves"``."""
    return tag.replace("_", " ")


def asserted_tags(caption: str, tags: Iterable[str]) -> frozenset[str]:
    """Return those tags whose words stand in the caption; all of them if none does.

    >>> sorted(asserted_tags("A slow ambient piece.", {"ambient", "slow", "rain"}))
    ['ambient', 'slow']
    """
    every = frozenset(tags)
    said = f" {' '.join(re.findall(r'[a-z0-9]+', caption.lower()))} "
    return frozenset(tag for tag in every if f" {tag_words(tag).lower()} " in said) or every


def collect_phrases(
    captions: Sequence[tuple[str, frozenset[str]]], prompts: Mapping[str, Sequence[str]]
) -> list[Phrase]:
    """Return every phrase that is true of some recording, each once: captions, and prompts for single tags.

    Args:
        captions: the caption and the tags of each recording
        prompts: tag -> further texts for it; a tag without an entry gets its own words
    """
    found = {Phrase(text, asserted_tags(text, tags)): None for text, tags in captions if text}
    for tag in sorted({tag for _, tags in captions for tag in tags}):
        texts = [template.format(tag_words(tag)) for template in _TEMPLATES] + list(prompts.get(tag, ()))
        found |= {Phrase(text, frozenset({tag})): None for text in texts}
    return list(found)


def truth_table(recordings: Sequence[frozenset[str]], phrases: Sequence[Phrase]) -> Tensor:
    """Return which phrase is true of which recording: bool, (recordings, phrases)."""
    return torch.tensor([[phrase.tags <= tags for phrase in phrases] for tags in recordings], dtype=torch.bool).view(
        len(recordings), len(phrases)
    )
