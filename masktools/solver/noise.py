"""Counter-based random numbers, a function of (seed, step, stream, position), and tokens drawn from logits with them.

Each number is a hash of its coordinates, so a result depends neither on the device, nor on the batch an
item sits in, nor on what was drawn before, and no global generator is touched.
"""

from collections.abc import Sequence
from enum import IntEnum
from operator import index

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from masktools.core.errors import MasktoolsError, ParameterError

_WORD = 1 << 64


def _signed(word: int) -> int:
    """Return a 64-bit word as the signed integer of the same bits."""
    return (word + _WORD // 2) % _WORD - _WORD // 2


# splitmix64: the odd number nearest to 2**64 / golden ratio, and the two multipliers of its finaliser
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_GOLDEN_S, _FIRST_S, _SECOND_S = _signed(_GOLDEN), _signed(_FIRST), _signed(_SECOND)


class Stream(IntEnum):
    """Purpose of a random number; streams are independent of each other."""

    TOKEN = 0
    CHOICE = 1
    REVOCATION = 2
    ROLL = 3


def as_seeds(seeds: Sequence[int] | Tensor) -> Int64[Tensor, " b"]:
    """Return seeds as 64-bit words on the CPU; integers of any size count modulo 2**64.

    Raises:
        ParameterError: If a seed is not an integer.
    """
    values = seeds.tolist() if isinstance(seeds, Tensor) else seeds
    try:
        return torch.tensor([_signed(index(seed)) for seed in values], dtype=torch.int64)
    except TypeError:
        raise ParameterError(f"seeds must be a sequence of integers, got {seeds!r}") from None


def derive_seed(seed: int, *path: int) -> int:
    """Return a seed in [0, 2**63) that belongs to a path of indices below another seed.

    >>> derive_seed(7, 0) == derive_seed(7, 0) != derive_seed(7, 1)
    True
    """
    word = _mix_int(index(seed) % _WORD)
    for part in path:
        word = _mix_int((word + (index(part) + 1) * _GOLDEN) % _WORD)
    return word >> 1


def item_seeds(base_seed: int, n: int) -> list[int]:
    """Return one seed per item of a batch of ``n``, all derived from one seed.

    >>> item_seeds(0, 3)[:2] == item_seeds(0, 2)
    True
    """
    return [derive_seed(base_seed, item) for item in range(n)]


def uniform(seeds: Int64[Tensor, " b"], step: int, stream: int, n: int) -> Float64[Tensor, "b n"]:
    """Return numbers strictly between 0 and 1, one per item and position.

    Differs: 52 bits of the hash are used. With 53, the highest word plus one half rounds to 1 in double
        precision, and its Gumbel noise would be infinite.
    """
    key = _mix(_mix(seeds) + _signed((len(Stream) * step + stream + 1) * _GOLDEN))
    counter = torch.arange(1, n + 1, dtype=torch.int64).mul_(_GOLDEN_S)
    word = _mix(key[:, None] + counter)
    return _shift(word, 12).double().add_(0.5).mul_(2.0**-52)


def gumbel(seeds: Int64[Tensor, " b"], step: int, stream: int, n: int) -> Float64[Tensor, "b n"]:
    """Return standard Gumbel noise, finite, one number per item and position."""
    return uniform(seeds, step, stream, n).log_().neg_().log_().neg_()


def _shift(word: Tensor, bits: int) -> Tensor:
    """Shift to the right as if the word had no sign."""
    return (word >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(word: Tensor) -> Tensor:
    word = (word ^ _shift(word, 30)).mul_(_FIRST_S)
    word = word.bitwise_xor_(_shift(word, 27)).mul_(_SECOND_S)
    return word.bitwise_xor_(_shift(word, 31))


def _mix_int(word: int) -> int:
    word = (word ^ (word >> 30)) * _FIRST % _WORD
    word = (word ^ (word >> 27)) * _SECOND % _WORD
    return word ^ (word >> 31)


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


def sample(log_probs: Float[Tensor, "m k"], uniforms: Float[Tensor, " m"]) -> Int64[Tensor, " m"]:
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
