import pytest

from masktools.features import Encoder
from tests.probes.mtat_miniature import PUBLISHED, write_mtat
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    """Return the folder of a small MagnaTagATune, and its lines."""
    root = tmp_path_factory.mktemp("mtat") / "small"
    return root, write_mtat(root)


@pytest.fixture(scope="session")
def annotations(tmp_path_factory):
    """Return the folder of a MagnaTagATune of the true size without audio, and its lines."""
    root = tmp_path_factory.mktemp("mtat") / "full"
    return root, write_mtat(root, PUBLISHED, audio=False)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """Return the folder of a tiny model."""
    return Encoder(tiny_pipeline()).save_pretrained(tmp_path_factory.mktemp("models") / "tiny")
