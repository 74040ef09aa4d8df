"""Times of calls that are made in turn."""

import time

import pytest
import torch

from masktools.benchmark.measurements import interleaved, seconds_of, seconds_on_device
from masktools.core.errors import ParameterError

CPU = torch.device("cpu")


def test_variants_take_turns_and_the_warm_up_does_not_count():
    order, shown = [], []
    times = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        repeats=2,
        device=CPU,
        progress=lambda done, total: shown.append((done, total)),
    )
    assert "".join(order) == "ababab"
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}
    assert shown[-1] == (6, 6)


@pytest.mark.parametrize("clock", [seconds_of, seconds_on_device])
def test_a_call_takes_as_long_as_it_sleeps(clock):
    assert clock(lambda: time.sleep(0.02), CPU) >= 0.019


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("clock", [seconds_of, seconds_on_device])
def test_work_of_a_gpu_is_waited_for(clock):
    device = torch.device("cuda", 0)
    matrix = torch.randn(8192, 8192, device=device)

    def work():
        for _ in range(20):
            torch.mm(matrix, matrix)

    began = time.perf_counter()
    seconds = clock(work, device)
    assert 0.5 * (time.perf_counter() - began) <= seconds <= time.perf_counter() - began


@pytest.mark.parametrize(("variants", "repeats"), [({}, 1), ({"a": int}, 0)])
def test_something_must_be_timed(variants, repeats):
    with pytest.raises(ParameterError, match="something must be timed at least once"):
        interleaved(variants, repeats, CPU)
