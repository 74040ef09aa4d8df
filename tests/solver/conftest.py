"""The toys of the solver's tests are too small to share between threads."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(two_threads):
    """Keep torch at one thread; the fixture asked for gives back what it was."""
    torch.set_num_threads(1)
