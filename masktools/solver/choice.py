"""Random numbers and choices: counter-based noise, token sampling, and the positions that a step accepts or re-masks.

Each number is a hash of its coordinates, so that a result depends neither on the device, nor on the batch of an
item, nor on earlier draws, and no global generator is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from operator import index
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
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
    """Return seeds as 64-bit words on the CPU; integers of any size are taken modulo 2**64.

    Raises:
        ParameterError: a seed is not an integer.
    """
    values = seeds.tolist() if isinstance(seeds, Tensor) else seeds
    try:
        return torch.tensor([_signed(index(seed)) for seed in values], dtype=torch.int64)
    except TypeError:
        raise ParameterError(f"seeds must be a sequence of integers, got {seeds!r}") from None


def derive_seed(seed: int, *path: int) -> int:
    """Return a seed in [0, 2**63) for a path of indices below another seed.

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


def candidate_seeds(seed: int, n: int) -> list[int]:
    """Return the seeds of the n candidates of an item: its own, and others derived from it.

    >>> candidate_seeds(7, 3)[0], candidate_seeds(7, 3)[:2] == candidate_seeds(7, 2)
    (7, True)
    """
    return [seed, *(derive_seed(seed, number) for number in range(1, n))]


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
    """Shift to the right without sign extension."""
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
        MasktoolsError: the logits of a position hold NaN or plus infinity, or exclude every code.
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
        log_probs: log probabilities of the codes.
        top_k: number of codes to keep; ties go to the lower code.
        top_p: share of the probability of those codes; the fewest codes that reach it are kept.
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
    """Return one token per position by inversion of the cumulative distribution.

    A code of probability zero is never drawn, whatever the uniform number in (0, 1).

    >>> sample(torch.tensor([[0.25, 0.25, 0.5]]).log(), torch.tensor([0.49]))
    tensor([1])
    """
    precise = torch.float32 if log_probs.device.type == "mps" else torch.float64  # MPS has no doubles
    cumulative = log_probs.exp().cumsum(dim=1, dtype=precise)
    total = cumulative[:, -1]
    level = torch.minimum(uniforms.to(precise) * total, total * (1 - torch.finfo(precise).eps))
    return torch.searchsorted(cumulative, level[:, None], right=True)[:, 0]


_HUGE = 1e30
_MAX_SHARPNESS = 16.0  # of the moment policy; the cold limit is the greedy choice anyway


class Policy(NamedTuple):
    """Input of a policy, and the kind of noise that is added to its values."""

    reads: str  # "sample": the drawn tokens; "distribution": the probabilities; "order": neither
    noise: str  # "annealed": Gumbel times the step's temperature; "unit": Gumbel; "none"


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "confidence": Policy("sample", "annealed"),  # log probability of the drawn token; MaskGIT
        "moment": Policy("distribution", "unit"),  # choose first, then draw; Hayakawa et al. 2025
        "random": Policy("order", "unit"),  # uniform, without the bias of the others
        "halton": Policy("order", "none"),  # spread over the grid; Besnier et al. 2025
        "raster": Policy("order", "none"),  # from left to right, for streams
        "entropy": Policy("distribution", "annealed"),  # lowest entropy first
        "margin": Policy("distribution", "annealed"),  # largest margin between the two most likely codes first
    }
)


def choose(
    values: Float[Tensor, "b n"],
    eligible: Bool[Tensor, "b n"],
    count: Int64[Tensor, " b"],
    noise: Float[Tensor, "b n"] | None = None,
) -> Bool[Tensor, "b n"]:
    """Return the ``count`` best eligible positions of each item; ties go to the earlier position.

    Args:
        values: preference for each position; only eligible ones are read.
        eligible: positions to choose from, at least ``count`` of them.
        count: positions to take from each item.
        noise: added to the values.

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
) -> Int64[Tensor, " b"]:
    """Return how many of the best positions can be sampled independently at little loss.

    The mutual information of a set of tokens is at most the sum of their entropies less the largest. The count
    is the longest prefix, in the order of preference, that keeps this within the bound: one at least.

    Args:
        values: preference for each position; only eligible ones are read.
        eligible: positions to choose from.
        entropies: entropy of the prediction at each position, in nats.
        bound: bound in nats.
        noise: added to the values.

    Source: EB-Sampler, Ben-Hamu et al. (arXiv:2505.24857), with the order left to the policy.

    >>> few = torch.tensor([[0.1, 0.2, 3.0]])
    >>> bounded_count(-few, few > 0, few, bound=0.15)
    tensor([2])
    """
    score = finite(values if noise is None else values + noise).masked_fill(~eligible, -torch.inf)
    order = score.argsort(dim=1, descending=True, stable=True)
    ranked = entropies.masked_fill(~eligible, 0).gather(1, order).double()
    lost = ranked.cumsum(dim=1) - ranked.cummax(dim=1).values
    within = (lost <= bound + 1e-9).cumprod(dim=1).bool()  # tolerance for tokens that are certain
    return (within & eligible.gather(1, order)).sum(dim=1).clamp_min(1)


def finite(score: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return scores clamped to finite values, so that they rank above positions that are not eligible."""
    return score.clamp(-_HUGE, _HUGE)


def distribution_values(
    policy: str, log_probs: Float[Tensor, "m k"], sharpness: Float[Tensor, " m"]
) -> Float[Tensor, " m"]:
    """Return the preference of a policy that reads distributions, for each of m positions.

    Args:
        policy: ``moment``, ``entropy`` or ``margin``.
        log_probs: log probabilities of the codes.
        sharpness: exponent of the probabilities, read by ``moment`` only.

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


def moment_sharpness(temperature: Float[Tensor, " b"], is_last: Bool[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the exponent 1 + 1 / temperature, bounded; 1 where all remaining positions are taken."""
    sharpness = (1 + 1 / temperature.clamp_min(1e-6)).clamp_max(_MAX_SHARPNESS)
    return sharpness.masked_fill(is_last, 1.0)


GROUP_SCORES = ("mean", "max", "sum")


def column_groups(n_rows: int, n_cols: int) -> Int64[Tensor, "r w"]:
    """Return group labels that tie the rows of each column together.

    >>> column_groups(2, 3).tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    return torch.arange(n_cols).expand(n_rows, n_cols).clone()


def span_groups(n_rows: int, n_cols: int, n_span_cols: int = 3) -> Int64[Tensor, "r w"]:
    """Return group labels that tie spans of columns within each row together, as MAGNeT does with 3.

    >>> span_groups(2, 4, 3).tolist()
    [[0, 0, 0, 1], [2, 2, 2, 3]]
    """
    if n_span_cols < 1:
        raise ParameterError(f"a span needs at least one column, got {n_span_cols}")
    spans = torch.arange(n_cols) // n_span_cols
    per_row = -(-n_cols // n_span_cols)
    return torch.arange(n_rows)[:, None] * per_row + spans


@dataclass(frozen=True)
class Groups:
    """A partition of the positions of every item into groups, and the aggregation of their scores."""

    of_slot: Int64[Tensor, "b n"]
    n_groups: int
    score: str = "mean"

    def select(self, items: Int64[Tensor, " a"]) -> "Groups":
        """Return the partition of some of the items."""
        return Groups(self.of_slot[items], self.n_groups, self.score)

    def sizes(self, eligible: Bool[Tensor, "b n"]) -> Int64[Tensor, "b g"]:
        """Return the number of eligible positions in each group."""
        empty = self.of_slot.new_zeros(len(self.of_slot), self.n_groups)
        return empty.scatter_add(1, self.of_slot, eligible.long())

    def scores(
        self, values: Float[Tensor, "b n"], eligible: Bool[Tensor, "b n"], score: str | None = None
    ) -> Float[Tensor, "b g"]:
        """Return the score of each group over its eligible positions; 0, or below every score, where there are none."""
        score = score or self.score
        shape = (len(values), self.n_groups)
        if score == "max":
            values = finite(values).masked_fill(~eligible, -torch.inf)
            return values.new_full(shape, -torch.inf).scatter_reduce(1, self.of_slot, values, "amax")
        total = values.new_zeros(shape).scatter_add(1, self.of_slot, finite(values).masked_fill(~eligible, 0))
        return total if score == "sum" else total / self.sizes(eligible).clamp_min(1)

    def spread(self, chosen: Bool[Tensor, "b g"], eligible: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
        """Return the eligible positions of the chosen groups."""
        return chosen.gather(1, self.of_slot) & eligible


def nearest(
    scores: Float[Tensor, "b g"],
    sizes: Int64[Tensor, "b g"],
    count: Int64[Tensor, " b"],
    above: Int64[Tensor, " b"],
    n_later: Int64[Tensor, " b"],
) -> Bool[Tensor, "b g"]:
    """Return the best groups of each item whose total size is nearest to a count.

    Args:
        scores: preference for each group; empty groups are never taken.
        sizes: number of eligible positions in each group.
        count: number of positions wanted.
        above: lower bound (exclusive) on the number of positions, so that a step makes progress.
        n_later: number of groups to leave for later steps, one each, as far as ``above`` allows.
    """
    order, running = _ranked(scores, sizes)
    rank = torch.arange(sizes.shape[1], device=sizes.device)
    first = (running <= above[:, None]).sum(dim=1)
    last = torch.maximum(first, (sizes > 0).sum(dim=1) - 1 - n_later)
    allowed = (rank >= first[:, None]) & (rank <= last[:, None])
    distance = (running - count[:, None]).abs() * len(rank) + rank  # ties go to fewer groups
    stop = distance.masked_fill(~allowed, torch.iinfo(torch.int64).max).argmin(dim=1)
    return torch.zeros_like(sizes, dtype=torch.bool).scatter(1, order, rank <= stop[:, None])


def at_most(
    scores: Float[Tensor, "b g"], sizes: Int64[Tensor, "b g"], count: Int64[Tensor, " b"]
) -> Bool[Tensor, "b g"]:
    """Return the best groups of each item whose total size is at most ``count``."""
    order, running = _ranked(scores, sizes)
    return torch.zeros_like(sizes, dtype=torch.bool).scatter(1, order, running <= count[:, None])


def _ranked(
    scores: Float[Tensor, "b g"], sizes: Int64[Tensor, "b g"]
) -> tuple[Int64[Tensor, "b g"], Int64[Tensor, "b g"]]:
    """Return the groups from best to worst, empty ones last, and their sizes added up in that order."""
    scores = finite(scores).masked_fill(sizes == 0, -torch.inf)
    order = scores.argsort(dim=1, descending=True, stable=True)
    return order, sizes.gather(1, order).cumsum(dim=1)


_NEVER = 1e4  # log probability of a known column: no span of low confidence includes it


def keep_spans(
    values: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"], n_after: Int64[Tensor, " b"], span: int
) -> Bool[Tensor, "b n"]:
    """Return the masked columns that stay masked: a union of the spans of least confidence, near a count.

    The number of spans is found by bisection, and the last one tried is used, so that the count is met to
    within a span. Known columns are never masked again.

    Args:
        values: confidence of each column, such as a log probability; only masked ones are read.
        mask: True for masked columns.
        n_after: number of columns wanted; 0 leaves none, else at least one span stays.
        span: length of a span in columns, at least 1.

    Source: MAGNeT (arXiv:2401.04577), section 3.1, in the form of its later code ("stride1").
    """
    b, n = values.shape
    span = min(span, n)
    doubt = (-finite(values)).masked_fill(~mask, -_NEVER)
    order = doubt.unfold(1, span, 1).sum(dim=2).argsort(dim=1, descending=True, stable=True)
    kept = torch.zeros_like(mask)
    for item in range(b):
        wanted = int(n_after[item])
        if wanted:
            kept[item] = _union(order[item], max(wanted, span), span, n)
    return kept & mask


def _union(order: Int64[Tensor, " s"], wanted: int, span: int, n: int) -> Bool[Tensor, " n"]:
    """Return the union of the first spans, of as many as give about the wanted number of columns."""
    low, high = wanted // span, wanted - span + 1
    while True:
        tried = round((low + high) / 2)
        columns = _columns(order[:tried], span, n)
        if int(columns.sum()) > wanted:
            high = tried
        else:
            low = tried
        if not low < round((low + high) / 2) < high:
            return columns


def _columns(starts: Int64[Tensor, " u"], span: int, n: int) -> Bool[Tensor, " n"]:
    """Return the mask of the columns of spans with the given start columns."""
    offsets = torch.arange(span, device=starts.device)
    columns = torch.zeros(n, dtype=torch.bool, device=starts.device)
    columns[(starts[:, None] + offsets).flatten()] = True
    return columns


def _radical_inverse(number: int, base: int) -> float:
    """Return the digits of a number mirrored at the decimal point: 6 = 110 in base 2 becomes 0.011 = 0.375."""
    mirrored, weight = 0.0, 1.0
    while number:
        weight /= base
        number, digit = divmod(number, base)
        mirrored += digit * weight
    return mirrored


@lru_cache(maxsize=64)
def halton_order(n_rows: int, n_cols: int) -> tuple[int, ...]:
    """Return all flat positions of a grid in Halton order: base 2 over time, base 3 over frequency.

    Points in a cell that was visited before are skipped.

    Source: Besnier et al. (arXiv:2503.17076), on a grid that need not be square.

    >>> halton_order(1, 4)
    (2, 1, 3, 0)
    """
    if n_rows < 1 or n_cols < 1:
        raise ParameterError(f"a grid needs at least one row and one column, got {n_rows} x {n_cols}")
    order: dict[int, None] = {}
    point = 0
    while len(order) < n_rows * n_cols:
        point += 1
        row = int(_radical_inverse(point, 3) * n_rows)
        col = int(_radical_inverse(point, 2) * n_cols)
        order.setdefault(col * n_rows + row)
    return tuple(order)


def halton_ranks(n_rows: int, n_cols: int, seeds: Int64[Tensor, " b"]) -> Int64[Tensor, "b n"]:
    """Return the rank of each position in Halton order, rolled around the grid by each item's seed."""
    order = torch.tensor(halton_order(n_rows, n_cols))
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    draws = uniform(seeds, 0, Stream.ROLL, 2)
    col_roll, row_roll = (draws * torch.tensor([n_cols, n_rows])).long().unbind(1)
    cols = (torch.arange(n_cols) - col_roll[:, None]) % n_cols  # (b, w)
    rows = (torch.arange(n_rows) - row_roll[:, None]) % n_rows  # (b, r)
    return rank[(cols[:, :, None] * n_rows + rows[:, None, :]).flatten(1)]


def remaskable_count(
    share: float, accepted: Bool[Tensor, "b n"], masked: Bool[Tensor, "b n"], n_after: Int64[Tensor, " b"]
) -> Int64[Tensor, " b"]:
    """Return the number of accepted tokens of each item that may be re-masked so that its next count still holds.

    Args:
        share: share of the accepted tokens to re-mask, in [0, 1).
        accepted: positions that earlier steps filled.
        masked: positions that are masked now.
        n_after: masked positions wanted after the step; nothing is re-masked before the last one.
    """
    wanted = (accepted.sum(dim=1) * share + 1e-9).floor().long()
    return torch.minimum(torch.minimum(wanted, n_after), (masked.sum(dim=1) - 1).clamp_min(0))


def choose_remasked(
    log_p: Float[Tensor, "b n"],
    accepted: Bool[Tensor, "b n"],
    count: Int64[Tensor, " b"],
    noise: Float[Tensor, "b u"],
    groups: Groups | None = None,
) -> Bool[Tensor, "b n"]:
    """Return the accepted positions with the lowest log probability at the time of acceptance.

    Args:
        log_p: log probability of each token when it was accepted.
        accepted: positions that may be re-masked.
        count: number of positions to re-mask; with groups, the most.
        noise: added to the log probabilities of the positions, or to the scores of the groups.
        groups: partition whose groups are re-masked whole.

    Source: remasking by stored confidence, Wang et al. (arXiv:2503.00307), here with exact counts.
    """
    if groups is None:
        return choose(-(log_p + noise), accepted, count)
    worst = -(groups.scores(log_p, accepted) + noise)
    return groups.spread(at_most(worst, groups.sizes(accepted), count), accepted)
