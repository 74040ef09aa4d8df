"""Random numbers of training that belong to a clip, or to a step, and not to the moment they are drawn.

Each is a function of (seed, index, purpose). How many processes share a run, how its batches are accumulated, and
whether it was stopped and resumed therefore changes nothing of what a clip is masked by.
"""

from collections.abc import Sequence
from enum import IntEnum

from torch import Tensor

from masktools.solver.noise import as_seeds, derive_seed, uniform

__all__ = ["ClipDraws", "Purpose", "step_draws"]

_OF_CLIPS, _OF_STEPS = 0, 1


class Purpose(IntEnum):
    """What a random number is for; the numbers of two purposes are independent."""

    RATIO = 0
    SLOTS = 1
    KIND = 2
    GAP = 3
    ROWS = 4
    DROP = 5
    TEXT = 6
    LENGTH = 7


class ClipDraws:
    """The random numbers of the clips of a batch."""

    def __init__(self, seed: int, indices: Sequence[int] | Tensor, family: int = _OF_CLIPS) -> None:
        numbers = indices.tolist() if isinstance(indices, Tensor) else indices
        self._seeds = as_seeds([derive_seed(seed, family, index) for index in numbers])

    def __len__(self) -> int:
        return len(self._seeds)

    def uniform(self, purpose: Purpose, n: int = 1) -> Tensor:
        """Return numbers (b, n) strictly between 0 and 1, float64, on the CPU."""
        return uniform(self._seeds, int(purpose), 0, n)


def step_draws(seed: int, step: int) -> ClipDraws:
    """Return the random numbers that all clips of a step share, as a batch of one."""
    return ClipDraws(seed, [step], _OF_STEPS)
