"""The machine, and who else uses it."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from masktools.benchmark.machine import Neighbours, describe_machine

MACHINE = replace(describe_machine("cpu"), cores=4, load_average=0.5)


def test_the_machine_is_described_in_full():
    machine = describe_machine("cpu", threads=3)
    assert machine.cores >= 1
    assert machine.threads == 3
    assert machine.torch == torch.__version__
    assert machine.gpu is None
    assert machine.cpu


def test_a_busy_machine_is_warned_of():
    assert not MACHINE.warnings()
    assert "the machine is busy: a load of 3.0 on 4 cores" in replace(MACHINE, load_average=3.0).warnings()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_our_own_work_is_not_taken_for_that_of_others():
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    cores = describe_machine("cpu").cores

    def others_s(work):
        neighbours, began = Neighbours(), time.perf_counter()
        work()
        return neighbours.share(cores) * cores * (time.perf_counter() - began)

    def foreign():
        with subprocess.Popen([sys.executable, "-c", code]) as other:
            time.sleep(0.1)
            seconds.append(before.share(cores))
            other.wait()

    seconds, before = [], Neighbours()
    foreign()
    assert 0 <= seconds[0] <= 1
    assert others_s(lambda: subprocess.run([sys.executable, "-c", code], check=True)) >= 0


def test_a_share_of_others_is_a_share_or_unknown():
    share = Neighbours().share(1)
    assert share is None or 0 <= share <= 1
    assert isinstance(Neighbours().warnings(1), list)
