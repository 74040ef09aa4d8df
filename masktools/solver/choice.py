"""Choice of the positions that a step accepts or re-masks: policies, groups, overlapping spans, Halton order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.solver.noise import Stream, uniform

_HUGE = 1e30
_MAX_SHARPNESS = 16.0  # of the moment policy; the cold limit is the greedy choice anyway


class Policy(NamedTuple):
    """Inputs of a policy, and the noise that is added to its values."""

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
    count: Int64[Tensor, " b"],
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
) -> Int64[Tensor, " b"]:
    """Return how many of the best positions can be taken at once, so that little is lost by taking them apart.

    What the tokens of a set tell about each other is at most the sum of their entropies less the largest. So
    many positions, in the order of preference, are counted as keep this within the bound: one at least.

    Args:
        values: Preference for each position; only eligible ones are read.
        eligible: Positions to choose from.
        entropies: Entropy of the prediction at each position, in nats.
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
    policy: str, log_probs: Float[Tensor, "m k"], sharpness: Float[Tensor, " m"]
) -> Float[Tensor, " m"]:
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


def moment_sharpness(temperature: Float[Tensor, " b"], is_last: Bool[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the exponent 1 + 1 / temperature, bounded; 1 where all that is left is taken."""
    sharpness = (1 + 1 / temperature.clamp_min(1e-6)).clamp_max(_MAX_SHARPNESS)
    return sharpness.masked_fill(is_last, 1.0)


GROUP_SCORES = ("mean", "max", "sum")


def column_groups(n_rows: int, n_cols: int) -> Int64[Tensor, "r w"]:
    """Return labels that tie together the rows of each column.

    >>> column_groups(2, 3).tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    return torch.arange(n_cols).expand(n_rows, n_cols).clone()


def span_groups(n_rows: int, n_cols: int, n_span_cols: int = 3) -> Int64[Tensor, "r w"]:
    """Return labels that tie together spans of columns within each row, as MAGNeT does with 3.

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
    """A partition of the slots of every item, and how the slots of a group vote."""

    of_slot: Int64[Tensor, "b n"]
    n_groups: int
    score: str = "mean"

    def select(self, items: Int64[Tensor, " a"]) -> "Groups":
        """Return the partition of some of the items."""
        return Groups(self.of_slot[items], self.n_groups, self.score)

    def sizes(self, eligible: Bool[Tensor, "b n"]) -> Int64[Tensor, "b g"]:
        """Return how many eligible slots each group has."""
        empty = self.of_slot.new_zeros(len(self.of_slot), self.n_groups)
        return empty.scatter_add(1, self.of_slot, eligible.long())

    def scores(
        self, values: Float[Tensor, "b n"], eligible: Bool[Tensor, "b n"], score: str | None = None
    ) -> Float[Tensor, "b g"]:
        """Return the score of each group over its eligible slots; 0 or less than any where there are none."""
        score = score or self.score
        shape = (len(values), self.n_groups)
        if score == "max":
            values = finite(values).masked_fill(~eligible, -torch.inf)
            return values.new_full(shape, -torch.inf).scatter_reduce(1, self.of_slot, values, "amax")
        total = values.new_zeros(shape).scatter_add(1, self.of_slot, finite(values).masked_fill(~eligible, 0))
        return total if score == "sum" else total / self.sizes(eligible).clamp_min(1)

    def spread(self, chosen: Bool[Tensor, "b g"], eligible: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
        """Return the eligible slots of the chosen groups."""
        return chosen.gather(1, self.of_slot) & eligible


def nearest(
    scores: Float[Tensor, "b g"],
    sizes: Int64[Tensor, "b g"],
    count: Int64[Tensor, " b"],
    above: Int64[Tensor, " b"],
    n_later: Int64[Tensor, " b"],
) -> Bool[Tensor, "b g"]:
    """Return the best groups of each item whose slots come nearest to a count.

    Args:
        scores: Preference for each group; empty groups are never taken.
        sizes: Eligible slots in each group.
        count: Slots wanted.
        above: More slots than this are taken, so that a step makes progress.
        n_later: Groups to leave for the steps to come, one each, as far as ``above`` allows.
    """
    order, running = _ranked(scores, sizes)
    rank = torch.arange(sizes.shape[1], device=sizes.device)
    first = (running <= above[:, None]).sum(dim=1)
    last = torch.maximum(first, (sizes > 0).sum(dim=1) - 1 - n_later)
    allowed = (rank >= first[:, None]) & (rank <= last[:, None])
    distance = (running - count[:, None]).abs() * len(rank) + rank  # of two as near, the fewer groups
    stop = distance.masked_fill(~allowed, torch.iinfo(torch.int64).max).argmin(dim=1)
    return torch.zeros_like(sizes, dtype=torch.bool).scatter(1, order, rank <= stop[:, None])


def at_most(
    scores: Float[Tensor, "b g"], sizes: Int64[Tensor, "b g"], count: Int64[Tensor, " b"]
) -> Bool[Tensor, "b g"]:
    """Return the best groups of each item that hold no more than ``count`` slots together."""
    order, running = _ranked(scores, sizes)
    return torch.zeros_like(sizes, dtype=torch.bool).scatter(1, order, running <= count[:, None])


def _ranked(
    scores: Float[Tensor, "b g"], sizes: Int64[Tensor, "b g"]
) -> tuple[Int64[Tensor, "b g"], Int64[Tensor, "b g"]]:
    """Return the groups from best to worst, empty ones last, and their sizes added up in that order."""
    scores = finite(scores).masked_fill(sizes == 0, -torch.inf)
    order = scores.argsort(dim=1, descending=True, stable=True)
    return order, sizes.gather(1, order).cumsum(dim=1)


_NEVER = 1e4  # log probability of a column that is known: no span of less confidence holds it


def keep_spans(
    values: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"], n_after: Int64[Tensor, " b"], span: int
) -> Bool[Tensor, "b n"]:
    """Return the masked columns that stay masked: a union of the spans of least confidence, near a count.

    The number of spans is found by halving, and the last one that was tried is taken, so that the count is met to
    within a span. Known columns are never masked again.

    Args:
        values: Confidence of each column, such as a log probability; only masked ones are read.
        mask: Masked columns.
        n_after: Columns wanted; 0 leaves none, else a span at least stays.
        span: Columns of a span, at least 1.

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
    """Return the columns of the first few spans, of so many that they are about as many as wanted."""
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
    """Return True in the columns of the spans that begin at the given ones."""
    offsets = torch.arange(span, device=starts.device)
    columns = torch.zeros(n, dtype=torch.bool, device=starts.device)
    columns[(starts[:, None] + offsets).flatten()] = True
    return columns


def _radical_inverse(number: int, base: int) -> float:
    """Return the digits of a number mirrored at the point: 6 = 110 in base 2 becomes 0.011 = 0.375."""
    mirrored, weight = 0.0, 1.0
    while number:
        weight /= base
        number, digit = divmod(number, base)
        mirrored += digit * weight
    return mirrored


@lru_cache(maxsize=64)
def halton_order(n_rows: int, n_cols: int) -> tuple[int, ...]:
    """Return all flat positions of a grid in Halton order: base 2 over time, base 3 over frequency.

    Points that fall into a cell seen before are passed over.

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
    """Return the place of each position in Halton's order, rolled around the grid by each item's seed."""
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
    """Return how many accepted tokens each item may take back so that its next count still holds.

    Args:
        share: Share of the accepted tokens to take back, in [0, 1).
        accepted: Positions that earlier steps filled.
        masked: Positions that are masked now.
        n_after: Masked positions wanted after the step; none are taken back before the last one.
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
