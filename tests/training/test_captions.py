"""What a caption says of a recording."""

import pytest
import torch

from masktools.training.captioned_mels import Phrase, asserted_tags, collect_phrases, tag_words, truth_table

DOG, RAIN = frozenset({"dog", "animal"}), frozenset({"rain", "nature"})


@pytest.mark.parametrize(
    ("caption", "tags", "asserted"),
    [
        ("A dog barking.", {"dog", "animal"}, {"dog"}),
        ("A slow pop rock song", {"pop_rock", "slow", "vocals"}, {"pop_rock", "slow"}),
        ("A train ride.", {"rain", "train"}, {"train"}),
        ('A voice says "yes sir".', {"speech", "english"}, {"speech", "english"}),
        ("The SEA-WAVES!", {"sea_waves", "nature"}, {"sea_waves"}),
    ],
)
def test_a_caption_asserts_the_tags_whose_words_it_holds_or_else_all(caption, tags, asserted):
    assert asserted_tags(caption, tags) == asserted


def test_every_caption_and_every_prompt_comes_once():
    phrases = collect_phrases([("A dog.", DOG), ("A dog.", DOG), ("", RAIN)], {"dog": ["woof"], "cat": ["meow"]})
    texts = [phrase.text for phrase in phrases]
    assert len(set(phrases)) == len(phrases)
    assert texts.count("A dog.") == 1
    assert {"woof", "dog", "the sound of dog", "rain"} <= set(texts)
    assert "meow" not in texts
    assert Phrase("woof", frozenset({"dog"})) in phrases


def test_a_phrase_is_true_of_every_recording_with_its_tags():
    phrases = [Phrase("dog", frozenset({"dog"})), Phrase("a wet dog", frozenset({"dog", "rain"}))]
    table = truth_table([DOG, RAIN, DOG | RAIN], phrases)
    assert torch.equal(table, torch.tensor([[True, False], [False, False], [True, True]]))


def test_a_truth_table_of_nothing_has_no_rows():
    assert truth_table([], [Phrase("dog", DOG)]).shape == (0, 1)


def test_tags_are_read_as_words():
    assert tag_words("sea_waves") == "sea waves"
