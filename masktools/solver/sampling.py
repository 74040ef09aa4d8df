"""Drawing tokens from logits: one uniform number per slot, exact in the tails."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from masktools.errors import MasktoolsError, ParameterError

__all__ = ["allow_codes", "ban_codes", "keep_likely", "sample", "to_log_probs"]


def to_log_probs(
    logits: Float[Tensor, "m k"],
    token_temperature: Float[Tensor, "m 1"] | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "m k"]:
    """Return log probabilities in single precision, after temperature, then top-k, then top-p.

    Raises:
        MasktoolsError: If a slot's logits hold NaN or plus infinity, or leave no code at all.
    """
    logits = logits.float()
    if token_temperature is not None:
        logits = logits / token_temperature
    log_probs = logits.log_softmax(dim=1)
    if top_k is not None or top_p is not None:
        log_probs = keep_likely(log_probs, top_k, top_p).log_softmax(dim=1)
    if log_probs[:, :1].isnan().any():  # one NaN makes the whole row NaN
        raise MasktoolsError(
            "predict must return logits without NaN or +inf and with at least one possible code per slot; "
            "it did not: use single precision if the network runs in half precision, or ban fewer codes"
        )
    return log_probs


def keep_likely(
    log_probs: Float[Tensor, "m k"], top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "m k"]:
    """Return log probabilities with minus infinity for all but the likeliest codes, not normalised again.

    Args:
        log_probs: Log probabilities of the codes.
        top_k: Exactly so many codes are kept; ties go to the lower code.
        top_p: The fewest codes are kept whose probabilities sum to this share of what top_k kept.
    """
    ranked, order = log_probs.sort(dim=1, descending=True, stable=True)
    rank = torch.arange(ranked.shape[1], device=ranked.device)
    keep = rank < (len(rank) if top_k is None else top_k)
    keep = keep.expand_as(ranked)
    if top_p is not None:
        probs = ranked.masked_fill(~keep, -torch.inf).softmax(dim=1)
        keep = keep & ((probs.cumsum(dim=1) - probs < top_p) | (rank == 0))
    kept = torch.zeros_like(keep).scatter(1, order, keep)
    return log_probs.masked_fill(~kept, -torch.inf)


def sample(log_probs: Float[Tensor, "m k"], uniforms: Float[Tensor, "m"]) -> Int64[Tensor, "m"]:
    """Return one token per slot by the inverse of its cumulative distribution.

    A code of probability zero is never drawn, whatever the uniform number in (0, 1).

    >>> sample(torch.tensor([[0.25, 0.25, 0.5]]).log(), torch.tensor([0.49]))
    tensor([1])
    """
    precise = torch.float32 if log_probs.device.type == "mps" else torch.float64  # MPS has no doubles
    cumulative = log_probs.exp().cumsum(dim=1, dtype=precise)
    total = cumulative[:, -1]
    level = torch.minimum(uniforms.to(precise) * total, total * (1 - torch.finfo(precise).eps))
    return torch.searchsorted(cumulative, level[:, None], right=True)[:, 0]


def ban_codes(n_codes: int, codes: Iterable[int]) -> Float[Tensor, "k"]:
    """Return a logit bias under which these codes, such as dead ones, are never drawn.

    >>> ban_codes(3, [1])
    tensor([0., -inf, 0.])
    """
    return _bias(n_codes, codes, inside=-torch.inf, outside=0.0)


def allow_codes(n_codes: int, codes: Iterable[int]) -> Float[Tensor, "k"]:
    """Return a logit bias under which only these codes are drawn.

    >>> allow_codes(3, [1])
    tensor([-inf, 0., -inf])
    """
    return _bias(n_codes, codes, inside=0.0, outside=-torch.inf)


def _bias(n_codes: int, codes: Iterable[int], inside: float, outside: float) -> Tensor:
    listed = sorted(set(codes))
    if listed and not 0 <= listed[0] <= listed[-1] < n_codes:
        raise ParameterError(f"codes must lie in [0, {n_codes - 1}], got {listed[0]} to {listed[-1]}")
    bias = torch.full((n_codes,), outside)
    bias[listed] = inside
    if bias.isneginf().all():
        raise ParameterError(f"at least one of the {n_codes} codes must stay allowed")
    return bias
