"""What a benchmark found, and how it is written down."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.benchmark.measurements import FIGURES, FORMAT, Benchmark, Measurement, ratio_to, spread_of
from masktools.core.errors import ParameterError

MEASURED = Measurement.of_times(
    "jobs", "generate", {"batch": 2, "precision": "fp32"}, [3.0, 1.0, 2.0], {"audio_s": 5.0}
)
FOUND = Benchmark({"cpu": "x"}, {"name": "tiny"}, {"seed": 0}, (MEASURED,), ("busy",))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9))
def test_the_quartiles_surround_the_median(values):
    spread = spread_of(values)
    assert min(values) - 1e-9 <= spread.low <= spread.median + 1e-9
    assert spread.median - 1e-9 <= spread.high <= max(values) + 1e-9


def test_a_spread_of_nothing_is_refused():
    with pytest.raises(ParameterError, match="a spread must be of at least one value, got none"):
        spread_of([])


def test_a_ratio_is_of_medians_and_its_spread_of_rounds():
    ratio = ratio_to([2.0, 30.0, 4.0], [1.0, 10.0, 1.0])  # a slow second round slows both down
    assert ratio == {"ratio": 4.0, "ratio_low": 2.5, "ratio_high": 3.5}


def test_times_become_figures():
    assert MEASURED.figures["seconds"] == 2.0
    assert MEASURED.figures["seconds_best"] == 1.0
    assert MEASURED.samples_s == (3.0, 1.0, 2.0)
    assert set(MEASURED.figures) <= set(FIGURES)


def test_json_holds_everything_and_comes_back():
    assert Benchmark.from_json(FOUND.to_json()) == FOUND
    told = json.loads(FOUND.to_json())
    assert told["format"] == FORMAT == 1
    assert list(told) == ["format", "machine", "model", "settings", "measurements", "warnings"]
    assert list(told["measurements"][0]) == ["subject", "name", "case", "figures", "samples_s", "note"]


def test_measurements_are_found_by_what_was_set():
    assert FOUND.of("jobs", batch=2) == (MEASURED,)
    assert not FOUND.of("jobs", batch=1)
    assert not FOUND.of("jobs", "embed")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 2}', "must be of format 1, got 2"),
        ("[]", "must be JSON that `masktools bench` wrote"),
        ("{", "must be JSON that `masktools bench` wrote"),
    ],
)
def test_other_files_are_refused(content, message):
    with pytest.raises(ParameterError, match=message):
        Benchmark.from_json(content)


@pytest.mark.parametrize(
    ("subject", "figures", "message"),
    [
        ("jbos", {}, "unknown subject 'jbos'.*did you mean 'jobs'"),
        ("jobs", {"secs": 1.0}, "unknown figure 'secs'"),
        ("jobs", {"seconds": float("nan")}, "embed: seconds must be finite, got nan"),
    ],
)
def test_a_measurement_has_known_names_and_finite_figures(subject, figures, message):
    with pytest.raises(ParameterError, match=message):
        Measurement(subject, "embed", {}, figures)
