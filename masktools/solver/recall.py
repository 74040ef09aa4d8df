"""What a predictor that remembers still knows: which slots of which items must be computed anew."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from masktools.errors import ParameterError

__all__ = ["Memory", "Recall", "RecallingPredict", "check_remembers"]


@runtime_checkable
class RecallingPredict(Protocol):
    """A predictor that can compute some slots and recall the others, as ``cache_every`` above 1 asks for.

    A call computes all slots of its items and remembers what of them other slots read. ``recall`` computes the
    slots that it is given, reads the others as they were remembered, and remembers the new ones in their place.
    Each item has a memory for either pass, conditional or not, and the last call is what counts.
    """

    def __call__(self, tokens: Tensor, mask: Tensor, items: Tensor, conditional: bool) -> Tensor:
        """Return logits (a, n, k) of all slots, and remember."""
        ...

    def recall(self, tokens: Tensor, mask: Tensor, items: Tensor, conditional: bool, slots: Tensor) -> Tensor:
        """Return logits (a, n, k) that hold for ``slots`` (a, n), True where they must."""
        ...


def check_remembers(predict: object, cache_every: int) -> None:
    """Refuse a predictor that does not remember where the steps rely on it.

    Raises:
        ParameterError: It has no ``recall``, and cache_every is above 1.
    """
    if cache_every > 1 and not isinstance(predict, RecallingPredict):
        raise ParameterError(
            f"cache_every={cache_every} needs a predictor with a method recall, got {type(predict).__name__}: "
            "use cache_every=1, or a predictor that remembers"
        )


class Memory:
    """Which slots have changed since each pass computed them, for the items of a batch."""

    def __init__(self, mask: Bool[Tensor, "b n"]) -> None:
        self.stale = torch.zeros(2, *mask.shape, dtype=torch.bool, device=mask.device)  # unconditional, conditional
        self.chosen = torch.zeros_like(mask)  # what the last full step has chosen for the steps after it
        self._met: tuple[set[int], set[int]] = (set(), set())

    def has_met(self, which: int, item: int) -> bool:
        """Return whether a pass remembers an item."""
        return item in self._met[which]

    def take(self, which: int, items: Int64[Tensor, "a"], wanted: Bool[Tensor, "a n"]) -> Bool[Tensor, "a n"]:
        """Return what a pass must compute of items that it remembers, and count it as computed."""
        slots = wanted | self.stale[which, items]
        self.stale[which, items] = False
        return slots

    def meet(self, which: int, items: Int64[Tensor, "a"]) -> None:
        """Count all slots of items as computed by a pass."""
        self.stale[which, items] = False
        self._met[which].update(items.tolist())

    def change(self, items: Int64[Tensor, "a"], slots: Bool[Tensor, "a n"]) -> None:
        """Note slots that no longer hold what either pass has read there."""
        self.stale[:, items] |= slots


class Recall(NamedTuple):
    """What one step asks of the memory."""

    memory: Memory
    wanted: Bool[Tensor, "a n"]  # slots of the step's items whose logits are read
    full: bool  # whether all slots are computed whatever is remembered

    def parts(self, which: int, rows: Sequence[int], items: Sequence[int]) -> list[tuple[list[int], bool]]:
        """Return the rows that a pass computes whole, and those that it may recall; none of them empty."""
        recalled = [row for row in rows if not self.full and self.memory.has_met(which, items[row])]
        whole = [row for row in rows if row not in set(recalled)]
        return [(part, kind) for part, kind in ((whole, False), (recalled, True)) if part]
