"""What most checks of the benchmark share: a tiny model of random weights, and ceilings that are not measured."""

import pytest

from masktools.benchmark.models import random_pipeline, write_random_bundle
from masktools.benchmark.roofline import Peaks


@pytest.fixture(scope="package", autouse=True)
def _small_ceilings():
    """Have small matrices multiplied where nobody asks how fast the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("masktools.benchmark.roofline._SIZES", {"cpu": (64,)})
        patch.setattr("masktools.benchmark.roofline._COPY_BYTES", {"cpu": 1 << 16})
        yield


@pytest.fixture(scope="session")
def pipeline():
    return random_pipeline("tiny", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The folder of the same model as a bundle."""
    return str(write_random_bundle("tiny", tmp_path_factory.mktemp("random") / "tiny"))


@pytest.fixture
def peaks():
    """A machine of round numbers."""
    return Peaks({"fp32": 1e9, "bf16": 2e9, "int8": 4e9}, ())
