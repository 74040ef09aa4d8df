"""What fresh processes need: time to start, and memory."""

import sys

import pytest

from masktools.benchmark import processes
from masktools.benchmark.models import RunSettings
from masktools.benchmark.processes import imports_by_package, measure_memory, measure_start_up, run_python
from masktools.core.errors import MasktoolsError


def test_a_fresh_python_knows_this_masktools(tmp_path):
    import masktools

    done = run_python(["-c", "import masktools; print(masktools.__file__)"], tmp_path)
    assert done.stdout.strip() == masktools.__file__


def test_a_failed_process_says_why():
    with pytest.raises(MasktoolsError, match="failed with code 1: ValueError: no such luck"):
        run_python(["-c", "raise ValueError('no such luck')"])


def test_imports_are_summed_by_package():
    told = "import time:   1000 |  9000 | torch\nimport time: 500 | 500 |   torch.nn\nother\nimport time: 7 | 7 | re\n"
    assert imports_by_package(told) == {"torch": 0.0015, "re": 0.000007}


@pytest.mark.slow
def test_a_job_in_a_fresh_process_needs_more_than_the_model(bundle):
    (found,) = measure_memory(bundle, RunSettings(("memory",), precisions=("fp32",), steps=(1,), device="cpu"))
    figures = found.figures
    assert 0 < figures["imported_bytes"] <= figures["loaded_bytes"] <= figures["peak_bytes"]
    assert figures["private_bytes"] <= figures["peak_bytes"]
    assert found.case == {"precision": "fp32", "batch": 1}


@pytest.mark.slow
def test_imports_are_a_part_of_what_a_command_takes(bundle):
    found = {one.name: one for one in measure_start_up(bundle, RunSettings(("start-up",), device="cpu", repeats=1))}
    assert "torch" in found["masktools inpaint, 10 s"].note
    assert "torch" not in found["masktools --help"].note
    for one in found.values():
        assert 0 < one.figures["import_share"] < 1
        assert one.figures["import_s"] < one.figures["seconds"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_a_peak_can_be_forgotten():
    large = bytearray(1 << 26)
    del large
    before = processes.peak_bytes()
    if processes.reset_peak():
        assert processes.peak_bytes() <= before
    assert 0 < processes.resident_bytes() <= before
