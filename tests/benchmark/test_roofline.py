"""What the machine can do at best."""

import pytest
import torch

from masktools.benchmark.roofline import Peaks, measure_peaks
from masktools.core.errors import ParameterError

CPU = torch.device("cpu")


def test_rates_are_those_of_the_best_calls():
    found = measure_peaks(CPU, ("fp32", "bf16", "int8"), seconds=0.0, sizes=(64, 96), copy_bytes=1 << 16)
    assert set(found.flop_per_s) <= {"fp32", "bf16", "int8"}
    products = [one for one in found.measurements if one.name == "matrix product" and one.case["precision"] == "fp32"]
    assert [one.case["size"] for one in products] == [64, 96]
    assert found.rate("fp32") == max(one.figures["flop_per_s"] for one in products)
    assert products[0].figures["flop"] == 2 * 64**3
    assert found.best == max(found.flop_per_s.values())


def test_a_copy_reads_and_writes():
    (copy,) = [
        one for one in measure_peaks(CPU, (), seconds=0.0, copy_bytes=1 << 16).measurements if one.name == "copy"
    ]
    assert copy.figures["bytes_per_s"] * copy.figures["seconds_best"] == pytest.approx(2 * copy.case["bytes"])


def test_threads_are_as_before_afterwards():
    before = torch.get_num_threads()
    found = measure_peaks(CPU, ("fp32",), threads=1, seconds=0.0, sizes=(32,), copy_bytes=1 << 16)
    assert found.measurements[0].case["threads"] == 1
    assert torch.get_num_threads() == before


def test_unknown_precisions_are_refused():
    with pytest.raises(ParameterError, match="unknown precision 'fp8'"):
        measure_peaks(CPU, ("fp8",))
    with pytest.raises(ParameterError, match="unknown precision 'int8': choose from fp32"):
        Peaks({"fp32": 1.0}, ()).rate("int8")
