"""Items are told apart by their keys, and settings by their fingerprint."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.extraction import ExtractionSettings, Item, items_hash, take_shard


@settings(max_examples=30, deadline=None)
@given(n_items=st.integers(0, 200), count=st.integers(1, 40))
def test_the_shards_one_after_the_other_are_the_whole_and_nearly_even(n_items, count):
    shards = [take_shard(range(n_items), index, count) for index in range(count)]
    assert [number for shard in shards for number in shard] == list(range(n_items))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 3), (0, 0)])
def test_a_shard_that_is_not_there_is_refused(index, count):
    with pytest.raises(ParameterError, match=rf"one of 0 to {count - 1} of {count} .*got {index}"):
        take_shard(["a"], index, count)


def test_the_hash_tells_other_recordings_other_times_and_another_order_apart_but_not_other_places():
    items = [Item("a", "/x/a.wav"), Item("b", "/x/b.wav", start_s=1.0)]
    assert items_hash(items) == items_hash([Item("a", "/y/a.wav"), Item("b", "/y/b.wav", start_s=1.0)])
    others = [items[:1], items[::-1], [items[0], Item("b", "/x/b.wav")], [*items, Item("c", "/x/c.wav")]]
    assert len({items_hash(one) for one in [items, *others]}) == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"key": ""}, "must have a key and a location, got '' and 'a.wav'"),
        ({"start_s": 2.0, "stop_s": 1.0}, "stop after its start, got 2 s to 1 s for 'a'"),
        ({"start_s": -1.0}, "must start at 0 s or later"),
        ({"start_s": float("nan")}, "must start at 0 s or later"),
        ({"first_byte": 3}, "given together, neither below 0, got 3 and None for 'a'"),
    ],
)
def test_an_item_that_cannot_be_is_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        Item(**{"key": "a", "location": "a.wav"} | values)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"layer": "top"}, "unknown layer 'top': choose from last, mean, all"),
        ({"layer": ()}, "layer must hold one finite number at least"),
        ({"prefix": (float("nan"),)}, "prefix must hold one finite number at least"),
        ({"hop_s": 0.0}, "hop_s must be above 0 s, got 0 s"),
        ({"dtype": "int8"}, "unknown dtype 'int8': choose from float32, float16"),
    ],
)
def test_what_no_model_has_is_refused(settings, reason):
    with pytest.raises(ParameterError, match=reason):
        ExtractionSettings(**settings)


def test_the_fingerprint_changes_with_the_model_and_every_setting():
    changes = [
        {},
        {"layer": 2},
        {"layer": (2,)},
        {"layer": (2.0,)},
        {"pool": "max"},
        {"hop_s": 1.0},
        {"frames": True},
        {"tokens": True},
        {"prefix": (1.0, 2.0)},
        {"dtype": "float16"},
    ]
    prints = {ExtractionSettings(**change).fingerprint("model") for change in changes}
    assert len(prints | {ExtractionSettings().fingerprint("other model")}) == len(changes) + 1


def test_the_fingerprint_is_the_same_tomorrow():
    expected = "ee543b41a6394968d7dd63cd0e33a3449f2034c2473893831354e9ed59ec5580"
    assert ExtractionSettings().fingerprint("model") == expected
