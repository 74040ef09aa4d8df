"""The training of the conditioner is tested where training is installed."""

import pytest

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

from tests.training.conftest import cache_folder, manifest  # noqa: F401
