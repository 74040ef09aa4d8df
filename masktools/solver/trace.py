"""What a decoding gives back: the tokens, and a record of every step."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Callback", "SolveResult", "StepTrace"]


@dataclass(frozen=True)
class StepTrace:
    """The record of one step; tuples hold one entry per item that was still being decoded.

    Attributes:
        step: Number of the step, from 0.
        items: Index of the items in the batch.
        n_before: Masked tokens of each item before the step.
        n_after: Masked tokens of each item after it.
        n_revoked: Accepted tokens that were taken back.
        guidance: Guidance scale; 0 for an item without a condition.
        temperature: Scale of the Gumbel noise.
        mean_log_p: Mean log probability of the tokens accepted in this step.
        min_log_p: Least log probability among them.
        forwards: Calls of the predictor.
        seconds: Time that the step took.
        filled: Whether the step filled all that was left because a callback had asked to stop.
        slots: Slots that the predictor computed for each item, in all passes; 0 where none were counted.
    """

    step: int
    items: tuple[int, ...]
    n_before: tuple[int, ...]
    n_after: tuple[int, ...]
    n_revoked: tuple[int, ...]
    guidance: tuple[float, ...]
    temperature: tuple[float, ...]
    mean_log_p: tuple[float, ...]
    min_log_p: tuple[float, ...]
    forwards: int
    seconds: float
    filled: bool = False
    slots: tuple[int, ...] = ()


@dataclass(frozen=True)
class SolveResult:
    """The outcome of a decoding.

    Attributes:
        tokens: Complete tokens (b, r, w), of the type and on the device of the given ones.
        trace: One record per step.
    """

    tokens: Tensor
    trace: tuple[StepTrace, ...]

    @property
    def n_forwards(self) -> int:
        """Calls of the predictor in all steps."""
        return sum(record.forwards for record in self.trace)

    @property
    def work(self) -> float:
        """Slots computed for an item over the slots that it has, on average: full forwards that one item cost."""
        n_items, n_slots = len(self.tokens), self.tokens[0].numel() if len(self.tokens) else 0
        return sum(sum(record.slots) for record in self.trace) / (n_items * n_slots) if n_items else 0.0

    @property
    def stopped(self) -> bool:
        """Whether a callback cut the decoding short."""
        return any(record.filled for record in self.trace)


Callback = Callable[[int, int, Tensor, Tensor, StepTrace], object]
"""Called after each step with (step, total steps, tokens (b, r, w), mask (b, r, w), record).

The tensors are copies; tokens under the mask are 0. A return value of ``False``, and no other, asks the
solver to fill what is left in one more step.
"""
