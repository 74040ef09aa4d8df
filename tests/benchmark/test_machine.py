"""The machine, and who else uses it."""

import sys
import time
from dataclasses import replace

import pytest
import torch

from masktools.benchmark import measurements as machine
from masktools.benchmark.measurements import Neighbours, describe_machine

MACHINE = replace(describe_machine("cpu"), cores=4, load_average=0.5)


def test_the_machine_is_described_in_full():
    described = describe_machine("cpu", threads=3)
    assert described.cores >= 1
    assert described.threads == 3
    assert described.torch == torch.__version__
    assert described.gpu is None
    assert described.cpu


def test_a_busy_machine_is_warned_of():
    assert not MACHINE.warnings()
    assert "the machine is busy: a load of 3.0 on 4 cores" in replace(MACHINE, load_average=3.0).warnings()[0]


def shares(monkeypatch, seconds, busy, own):
    """Return what neighbours have taken between two moments, of which everything is given."""
    monkeypatch.setattr(machine.time, "perf_counter", iter(seconds).__next__)
    monkeypatch.setattr(machine, "_busy_s", iter(busy).__next__)
    monkeypatch.setattr(machine, "_own_s", iter(own).__next__)
    return Neighbours()


def test_our_own_work_is_not_taken_for_that_of_others(monkeypatch):
    neighbours = shares(monkeypatch, [0.0, 10.0], [100.0, 116.0], [5.0, 15.0])  # 10 of 16 s were ours, of two cores
    assert neighbours.share(2) == pytest.approx(0.3)


def test_others_that_take_much_are_warned_of(monkeypatch):
    assert shares(monkeypatch, [0.0, 10.0], [0.0, 1.0], [0.0, 0.5]).warnings(2) == []
    (warning,) = shares(monkeypatch, [0.0, 10.0], [0.0, 10.0], [0.0, 2.0]).warnings(2)
    assert warning.startswith("other programs took 40% of the cores")


def test_a_system_that_does_not_tell_is_not_doubted(monkeypatch):
    neighbours = shares(monkeypatch, [0.0, 10.0, 10.0], [None] * 3, [0.0] * 3)
    assert neighbours.share(2) is None
    assert neighbours.warnings(2) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_linux_tells_how_long_cores_were_busy():
    assert 0 < machine._busy_s() < time.time()
