"""Predictors small enough to know everything about, and random problems for the solver."""

from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st

from masktools.solver import POLICIES, SCHEDULES, SolverConfig, column_groups, span_groups

N_CONTEXTS = 7


@dataclass
class Toy:
    """A table of logits per item, rows chosen by all visible tokens: a predictor exact on any batch."""

    names: list  # which table each item of the batch owns
    n: int
    k: int
    dtype: torch.dtype = torch.float32
    scale: float = 2.0
    calls: list = field(default_factory=list)  # (items, conditional, tokens, mask)

    def __post_init__(self):
        self.tables = {name: self._table(name) for name in set(self.names)}

    def _table(self, name):
        draw = torch.Generator().manual_seed(1000 + name)
        return (self.scale * torch.randn(2, N_CONTEXTS, self.n, self.k, generator=draw)).to(self.dtype)

    def __call__(self, tokens, mask, items, conditional):
        self.calls.append((items.tolist(), conditional, tokens.clone(), mask.clone()))
        weight = torch.arange(self.n) * 13 + 5
        context = ((tokens + 1) * weight * ~mask).sum(dim=1) % N_CONTEXTS
        rows = [
            self.tables[self.names[item]][int(conditional), at]
            for item, at in zip(items.tolist(), context.tolist(), strict=True)
        ]
        return torch.stack(rows)


@dataclass
class Problem:
    """A batch of token grids with a mask, a seed and a table of its own for each item."""

    tokens: torch.Tensor
    mask: torch.Tensor
    seeds: list
    settings: dict  # of the solver; made into a config outside the strategy, where type checks may draw
    groups: torch.Tensor | None
    k: int

    @property
    def config(self):
        return SolverConfig(**self.settings)

    @property
    def b(self):
        return len(self.tokens)

    @property
    def n(self):
        return self.tokens[0].numel()

    def toy(self, names=None, **kwargs):
        return Toy(list(range(self.b)) if names is None else names, self.n, self.k, **kwargs)

    @property
    def n_unknown(self):
        return self.mask.flatten(1).sum(dim=1).tolist()


@st.composite
def problems(draw, policies=tuple(POLICIES), with_groups=True, revocations=(0.0, 0.0, 0.2, 0.6)):
    """Draw a problem: masks from empty to full in one batch, any policy, more or fewer steps than tokens."""
    b, r, w, k = (draw(st.integers(1, high)) for high in (3, 4, 6, 9))
    noise = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    share = torch.tensor(draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), min_size=b, max_size=b)))
    mask = torch.rand(b, r, w, generator=noise) < share[:, None, None]
    tokens = torch.randint(0, k, (b, r, w), generator=noise)
    settings = dict(
        n_steps=draw(st.sampled_from([1, 2, 3, 5, 8, 30])),
        schedule=draw(st.sampled_from(sorted(SCHEDULES))),
        temperature=draw(st.sampled_from([0.0, 1.5, 6.0])),
        guidance_schedule=draw(st.sampled_from(["linear_up", "constant", "cosine", "linear_down", "share_down"])),
        policy=draw(st.sampled_from(sorted(policies))),
        revocation=draw(st.sampled_from(revocations)),
        top_k=draw(st.sampled_from([None, 1, 3])),
        top_p=draw(st.sampled_from([None, 0.8])),
        token_temperature=draw(st.sampled_from([1.0, 0.7])),
        token_annealing=draw(st.sampled_from(["none", "over_steps", "to_zero"])),
        confidence=draw(st.sampled_from(["drawn", "whole"])),
    )
    groups = None
    if with_groups:
        groups = draw(st.sampled_from([None, None, column_groups(r, w), span_groups(r, w, 2)]))
    seeds = draw(st.lists(st.integers(-(2**63), 2**64), min_size=b, max_size=b))
    return Problem(tokens, mask, seeds, settings, groups, k)


def only(n_codes, *codes):
    """Return a logit bias under which only these codes are drawn."""
    bias = torch.full((n_codes,), -torch.inf)
    bias[list(codes)] = 0.0
    return bias
