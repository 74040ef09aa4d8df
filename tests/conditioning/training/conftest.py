"""The training of the conditioner is tested where training is installed."""

import pytest

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")
