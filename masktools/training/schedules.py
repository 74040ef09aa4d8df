"""Learning rates: a linear warm-up, then half a cosine; or an exponential decay in steps."""

from math import cos, pi

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from masktools.arguments import check_within
from masktools.errors import ParameterError


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
    check_within(f"[0, {n_steps})", n_warmup=n_warmup)
    return LambdaLR(optimizer, lambda step: warmup_cosine_factor(step, n_warmup, n_steps, final))


def exponential_factor(step: int, decay: float, n_decay: int, n_warmup: int = 0) -> float:
    """Return the factor on the base rate: 0 to 1 over the warm-up, then ``decay`` times less every ``n_decay`` steps.

    >>> [exponential_factor(step, 0.5, 100) for step in (0, 99, 100, 200)]
    [1.0, 1.0, 0.5, 0.25]
    """
    if step < n_warmup:
        return step / n_warmup
    return decay ** ((step - n_warmup) // n_decay)


def exponential(optimizer: Optimizer, decay: float, n_decay: int, n_warmup: int = 0) -> LambdaLR:
    """Return the scheduler, to be stepped once a training step.

    Raises:
        ParameterError: a decay outside (0, 1], or numbers of steps that are not positive.
    """
    check_within("(0, 1]", decay=decay)
    if n_decay < 1 or n_warmup < 0:
        raise ParameterError(f"n_decay must be at least 1 and n_warmup at least 0, got {n_decay} and {n_warmup}")
    return LambdaLR(optimizer, lambda step: exponential_factor(step, decay, n_decay, n_warmup))
