"""One small model for all restoration tests."""

import pytest

from tests.tiny import tiny_pipeline


@pytest.fixture(scope="package")
def pipeline():
    return tiny_pipeline()
