"""A small share of what the fuzzer does, always the same: nothing is lost, left behind, or said in a traceback."""

import pytest

from tests.fuzz.run import fuzz, tiny_model

CASES = {"files": range(40), "command lines": range(70, 80)}  # by their seeds


@pytest.mark.filterwarnings("ignore")  # of what sounds are, as commands show them
@pytest.mark.parametrize("kind", CASES)
def test_fuzzed_input_is_worked_on_or_refused_and_nothing_is_lost(tmp_path, kind):
    said = []
    counts = fuzz(CASES[kind], tiny_model(tmp_path), said.append)
    assert sum(counts.values()) == len(CASES[kind]), "\n".join(said)
