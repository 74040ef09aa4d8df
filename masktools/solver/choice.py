"""Which of the masked positions a step accepts: policies give scores, the best are taken in exact number."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["POLICIES", "Policy", "bounded_count", "choose", "distribution_values", "finite", "moment_sharpness"]

_HUGE = 1e30
_MAX_SHARPNESS = 16.0  # of the moment policy; the cold limit is the greedy choice anyway


class Policy(NamedTuple):
    """What a policy reads, and the noise that is added to its values."""

    reads: str  # "sample": the drawn tokens; "distribution": the probabilities; "order": neither
    noise: str  # "annealed": Gumbel times the step's temperature; "unit": Gumbel; "none"


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "confidence": Policy("sample", "annealed"),  # log probability of the drawn token; MaskGIT
        "moment": Policy("distribution", "unit"),  # choose first, then draw; Hayakawa et al. 2025
        "random": Policy("order", "unit"),  # uniform: free of the bias of the others
        "halton": Policy("order", "none"),  # spread over the grid; Besnier et al. 2025
        "raster": Policy("order", "none"),  # from left to right, for streams
        "entropy": Policy("distribution", "annealed"),  # least entropy first
        "margin": Policy("distribution", "annealed"),  # clearest lead of the best code over the second first
    }
)


def choose(
    values: Float[Tensor, "b n"],
    eligible: Bool[Tensor, "b n"],
    count: Int64[Tensor, "b"],
    noise: Float[Tensor, "b n"] | None = None,
) -> Bool[Tensor, "b n"]:
    """Return the ``count`` best of the eligible positions of each item; ties go to the earlier position.

    Args:
        values: Preference for each position; only eligible ones are read.
        eligible: Positions to choose from, at least ``count`` of them.
        count: Positions to take from each item.
        noise: Added to the values.

    Source: SpecMaskGIT (arXiv:2406.17672), Eq. 3.

    >>> choose(torch.tensor([[0.1, 0.7, 0.7]]), torch.tensor([[True, True, True]]), torch.tensor([1]))
    tensor([[False,  True, False]])
    """
    score = values if noise is None else values + noise  # Eq. 3
    score = finite(score).masked_fill(~eligible, -torch.inf)
    order = score.argsort(dim=1, descending=True, stable=True)
    taken = torch.arange(score.shape[1], device=score.device) < count[:, None]
    return torch.zeros_like(eligible).scatter(1, order, taken)


def bounded_count(
    values: Float[Tensor, "b n"],
    eligible: Bool[Tensor, "b n"],
    entropies: Float[Tensor, "b n"],
    bound: float,
    noise: Float[Tensor, "b n"] | None = None,
) -> Int64[Tensor, "b"]:
    """Return how many of the best positions can be taken at once, so that little is lost by taking them apart.

    What the tokens of a set tell about each other is at most the sum of their entropies less the largest. So
    many positions, in the order of preference, are counted as keep this within the bound: one at least.

    Args:
        values: Preference for each position; only eligible ones are read.
        eligible: Positions to choose from.
        entropies: Of what is predicted at each position, in nats.
        bound: Nats.
        noise: Added to the values.

    Source: EB-Sampler, Ben-Hamu et al. (arXiv:2505.24857), with the order left to the policy.

    >>> few = torch.tensor([[0.1, 0.2, 3.0]])
    >>> bounded_count(-few, few > 0, few, bound=0.15)
    tensor([2])
    """
    score = finite(values if noise is None else values + noise).masked_fill(~eligible, -torch.inf)
    order = score.argsort(dim=1, descending=True, stable=True)
    ranked = entropies.masked_fill(~eligible, 0).gather(1, order).double()
    lost = ranked.cumsum(dim=1) - ranked.cummax(dim=1).values
    within = (lost <= bound + 1e-9).cumprod(dim=1).bool()  # tokens that are certain stand 1e-9 apart at most
    return (within & eligible.gather(1, order)).sum(dim=1).clamp_min(1)


def finite(score: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return scores that rank above what is not eligible, however small they are."""
    return score.clamp(-_HUGE, _HUGE)


def distribution_values(
    policy: str, log_probs: Float[Tensor, "m k"], sharpness: Float[Tensor, "m"]
) -> Float[Tensor, "m"]:
    """Return the preference of a policy that reads distributions, for each of m slots.

    Args:
        policy: ``moment``, ``entropy`` or ``margin``.
        log_probs: Log probabilities of the codes.
        sharpness: Exponent of the probabilities, read by ``moment`` only.

    Source: for ``moment``, Hayakawa et al. (arXiv:2510.04525): the log of sum_x p(x)^sharpness.
    """
    if policy == "moment":
        return (log_probs * sharpness[:, None]).logsumexp(dim=1)
    if policy == "entropy":
        return -torch.special.entr(log_probs.exp()).sum(dim=1)
    if log_probs.shape[1] == 1:
        return torch.zeros_like(sharpness)
    best = log_probs.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def moment_sharpness(temperature: Float[Tensor, "b"], is_last: Bool[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Return the exponent 1 + 1 / temperature, bounded; 1 where all that is left is taken."""
    sharpness = (1 + 1 / temperature.clamp_min(1e-6)).clamp_max(_MAX_SHARPNESS)
    return sharpness.masked_fill(is_last, 1.0)
