"""Settings are checked before anything is computed, and tell vectors of one kind from those of another."""

import pytest

from masktools.errors import ParameterError
from masktools.extraction import ExtractionSettings


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
