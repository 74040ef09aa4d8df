"""Learning rates: a linear warm-up, then half a cosine."""

from math import cos, pi

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from masktools.errors import ParameterError

__all__ = ["warmup_cosine", "warmup_cosine_factor"]


def warmup_cosine_factor(step: int, n_warmup: int, n_steps: int, final: float = 0.0) -> float:
    """Return the factor on the base rate: 0 to 1 over the warm-up, then down to ``final`` by half a cosine.

    >>> [round(warmup_cosine_factor(step, 10, 110), 2) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < n_warmup:
        return step / n_warmup
    progress = min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + cos(pi * progress))


def warmup_cosine(optimizer: Optimizer, n_warmup: int, n_steps: int, final: float = 0.0) -> LambdaLR:
    """Return the scheduler, to be stepped once a training step."""
    if not 0 <= n_warmup < n_steps:
        raise ParameterError(f"n_warmup must lie in [0, {n_steps}), got {n_warmup}")
    return LambdaLR(optimizer, lambda step: warmup_cosine_factor(step, n_warmup, n_steps, final))
