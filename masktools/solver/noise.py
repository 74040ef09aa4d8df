"""Randomness that is a function of (seed, step, stream, position), and of nothing else.

Each number is a hash of its coordinates, so a result depends neither on the device, nor on the batch an
item sits in, nor on what was drawn before, and no global generator is touched.
"""

from collections.abc import Sequence
from enum import IntEnum
from operator import index

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from masktools.errors import ParameterError

__all__ = ["Stream", "as_seeds", "derive_seed", "gumbel", "item_seeds", "uniform"]

_WORD = 1 << 64


def _signed(word: int) -> int:
    """Return a 64-bit word as the signed integer of the same bits."""
    return (word + _WORD // 2) % _WORD - _WORD // 2


# splitmix64: the odd number nearest to 2**64 / golden ratio, and the two multipliers of its finaliser
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_GOLDEN_S, _FIRST_S, _SECOND_S = _signed(_GOLDEN), _signed(_FIRST), _signed(_SECOND)


class Stream(IntEnum):
    """What a random number is for; streams are independent of each other."""

    TOKEN = 0
    CHOICE = 1
    REVOCATION = 2
    ROLL = 3


def as_seeds(seeds: Sequence[int] | Tensor) -> Int64[Tensor, "b"]:
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


def uniform(seeds: Int64[Tensor, "b"], step: int, stream: int, n: int) -> Float64[Tensor, "b n"]:
    """Return numbers strictly between 0 and 1, one per item and position.

    Differs: 52 bits of the hash are used. With 53, the highest word plus one half rounds to 1 in double
        precision, and its Gumbel noise would be infinite.
    """
    key = _mix(_mix(seeds) + _signed((len(Stream) * step + stream + 1) * _GOLDEN))
    counter = torch.arange(1, n + 1, dtype=torch.int64).mul_(_GOLDEN_S)
    word = _mix(key[:, None] + counter)
    return _shift(word, 12).double().add_(0.5).mul_(2.0**-52)


def gumbel(seeds: Int64[Tensor, "b"], step: int, stream: int, n: int) -> Float64[Tensor, "b n"]:
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
