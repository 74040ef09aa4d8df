"""Taking back what was accepted with little confidence, in exchange for as many others."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from masktools.solver.choice import choose
from masktools.solver.groups import Groups, at_most

__all__ = ["choose_revoked", "revocable_count"]


def revocable_count(
    share: float, accepted: Bool[Tensor, "b n"], masked: Bool[Tensor, "b n"], n_after: Int64[Tensor, "b"]
) -> Int64[Tensor, "b"]:
    """Return how many accepted tokens each item may take back so that its next count still holds.

    Args:
        share: Share of the accepted tokens to take back, in [0, 1).
        accepted: Positions that earlier steps filled.
        masked: Positions that are masked now.
        n_after: Masked positions wanted after the step; none are taken back before the last one.
    """
    wanted = (accepted.sum(dim=1) * share + 1e-9).floor().long()
    return torch.minimum(torch.minimum(wanted, n_after), (masked.sum(dim=1) - 1).clamp_min(0))


def choose_revoked(
    log_p: Float[Tensor, "b n"],
    accepted: Bool[Tensor, "b n"],
    count: Int64[Tensor, "b"],
    noise: Float[Tensor, "b u"],
    groups: Groups | None = None,
) -> Bool[Tensor, "b n"]:
    """Return the accepted positions whose log probability, when they were accepted, was worst.

    Args:
        log_p: Log probability of each token when it was accepted.
        accepted: Positions that may be taken back.
        count: Positions to take back; with groups, the most.
        noise: Added to the log probabilities of the slots, or to the scores of the groups.
        groups: A partition whose groups are taken back whole.

    Source: remasking by stored confidence, Wang et al. (arXiv:2503.00307), here with exact counts.
    """
    if groups is None:
        return choose(-(log_p + noise), accepted, count)
    worst = -(groups.scores(log_p, accepted) + noise)
    return groups.spread(at_most(worst, groups.sizes(accepted), count), accepted)
