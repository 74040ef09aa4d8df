"""Decoding scale by scale: a session for the solver's stages, with a cache of keys and values of coarser scales.

The cache is in the session alone, so that decodings do not share state, and one that fails leaves
none behind.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.networks.scales.tokenizer import MultiScaleQuantiser
from masktools.networks.scales.transformer import KeysValues, ScaleTransformer
from masktools.solver import Predict, Rescore, SolverConfig, StagesResult, solve_stages, stage_plan

__all__ = ["ScaleSession", "check_steps", "draw_scales", "scale_plan"]


def scale_plan(
    n_scales: int,
    guidance: float | tuple[float, float] = 1.0,
    n_steps: int | Sequence[int] = 1,
    temperature: float | Sequence[float] = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    **settings: Any,
) -> tuple[SolverConfig, ...]:
    """Return the decoding settings of each scale.

    Args:
        n_scales: number of scales.
        guidance: scale of classifier-free guidance, 0 unconditional, 1 conditional; a pair is that of the first
            and of the last scale, linear in between. VAR's ``cfg`` is the pair (1, 1 + cfg).
        n_steps: steps within a scale, one number for all or one for each; above 1 the model must support refinement.
        temperature: divisor of the logits, one number for all or one for each scale.
        top_k: most likely codes that a token is drawn from; None takes all.
        top_p: share of probability that a token is drawn from; None takes all.
        **settings: further settings of ``SolverConfig``.

    Raises:
        ParameterError: a value out of its range, or lists of a length other than the number of scales.

    Source: VAR (arXiv:2404.02905), whose guidance (1 + t) c - t u is, with s = 1 + t, the one of SpecMaskGIT, Eq. 2.
    """
    first, last = guidance if isinstance(guidance, tuple) else (guidance, guidance)
    steps = _one_each("n_steps", n_steps, n_scales)
    temperatures = _one_each("temperature", temperature, n_scales)
    plan = []
    for scale, (own_steps, own_temperature) in enumerate(zip(steps, temperatures, strict=True)):
        progress = scale / max(1, n_scales - 1)
        plan.append(
            SolverConfig(
                n_steps=own_steps,
                guidance=first + (last - first) * progress,
                guidance_schedule="constant",
                token_temperature=own_temperature,
                top_k=top_k,
                top_p=top_p,
                **settings,
            )
        )
    return tuple(plan)


def _one_each(name: str, given: Any, n_scales: int) -> list[Any]:
    values = list(given) if isinstance(given, Sequence) else [given] * n_scales
    if len(values) != n_scales:
        raise ParameterError(f"{name} must be one number, or one for each of {n_scales} scales, got {len(values)}")
    return values


class _Memory:
    """Keys and values of the scales that a pass has computed, for each item."""

    def __init__(self, n_items: int) -> None:
        self.scales: list[list[list[KeysValues]]] = [[] for _ in range(n_items)]  # item, scale, block

    def n_scales(self, item: int) -> int:
        return len(self.scales[item])

    def past(self, items: Sequence[int], n_scales: int) -> list[KeysValues] | None:
        """Return keys and values of the first scales, for each block, for a batch of items."""
        if not n_scales:
            return None
        n_blocks = len(self.scales[items[0]][0])
        return [
            (
                torch.cat([self._of(item, block, n_scales, 0) for item in items]),
                torch.cat([self._of(item, block, n_scales, 1) for item in items]),
            )
            for block in range(n_blocks)
        ]

    def _of(self, item: int, block: int, n_scales: int, which: int) -> Tensor:
        return torch.cat([scale[block][which] for scale in self.scales[item][:n_scales]], dim=2)

    def add(self, items: Sequence[int], computed: Sequence[KeysValues]) -> None:
        for row, item in enumerate(items):
            self.scales[item].append([(keys[row : row + 1], values[row : row + 1]) for keys, values in computed])


class ScaleSession:
    """One decoding of one batch, for ``solve_stages``: each scale is a stage.

    Args:
        transformer: the predictor.
        quantiser: quantiser of the tokenizer; makes the network's inputs from decided tokens.
        condition: (b, condition_dim); None for unconditional decoding.
        one_by_one: whether items are computed one after the other, so that a batch gives bit for bit the same results
            as its items alone.
        on_call: called after every prediction.
    """

    def __init__(
        self,
        transformer: ScaleTransformer,
        quantiser: MultiScaleQuantiser,
        condition: Tensor | None = None,
        one_by_one: bool = True,
        on_call: Callable[[], object] | None = None,
    ) -> None:
        if transformer.pyramid != quantiser.pyramid:
            raise ParameterError(
                f"the scales of the tokenizer ({quantiser.pyramid}) and of the transformer ({transformer.pyramid}) "
                "must be the same"
            )
        self.transformer, self.quantiser, self.condition = transformer, quantiser, condition
        self.one_by_one, self.on_call = one_by_one, on_call
        self._memories: dict[bool, _Memory] = {}
        self._inputs: list[Tensor] = []  # (b, n_k, d) of each scale after the first

    def rescorer(self, stage: int, decided: Sequence[Tensor]) -> Rescore | None:
        """Return None: there is no external model."""
        return None

    def predictor(self, stage: int, decided: Sequence[Tensor]) -> Predict:
        """Return the predictor of a scale, given the tokens (b, h, w) of all coarser ones."""
        if decided:
            parts = [[grid[item : item + 1] for grid in decided] for item in range(len(decided[0]))]
            made = [self.quantiser.inputs(part) for part in (parts if self.one_by_one else [decided])]
            self._inputs = [torch.cat(rows) for rows in zip(*made, strict=True)]

        def predict(tokens: Tensor, mask: Tensor, items: Tensor, conditional: bool) -> Tensor:
            n_items = len(decided[0]) if decided else self._n_items(items)
            memory = self._memories.setdefault(conditional, _Memory(n_items))
            numbers, logits = items.tolist(), list[Tensor]()
            rows = [[row] for row in range(len(numbers))] if self.one_by_one else [list(range(len(numbers)))]
            for part in rows:
                own = [numbers[row] for row in part]
                for scale in range(min(memory.n_scales(item) for item in own), stage):
                    late = [item for item in own if memory.n_scales(item) == scale]
                    self._compute(memory, scale, late, conditional)  # scales that were known and never predicted
                logits.append(self._compute(memory, stage, own, conditional, tokens[part], mask[part]))
            if self.on_call is not None:
                self.on_call()
            return torch.cat(logits)

        return predict

    def _n_items(self, items: Tensor) -> int:
        return len(self.condition) if self.condition is not None else int(items.max()) + 1

    def _compute(
        self,
        memory: _Memory,
        scale: int,
        items: list[int],
        conditional: bool,
        tokens: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of a scale for some items, and cache keys and values of positions without tokens."""
        net = self.transformer
        condition = None if self.condition is None or not conditional else self.condition[items]
        embedded = net.embed(condition, None, len(items))
        shown = net.config.refines and mask is not None and not bool(mask.all())
        vectors = self._inputs[scale - 1][items] if scale else None
        slots = net.slots(scale, vectors, embedded, *((tokens, mask) if shown else (None, None)))
        computed = list[KeysValues]()
        logits = net.compute(slots, embedded, None, memory.past(items, scale), computed.append)
        new = [row for row, item in enumerate(items) if memory.n_scales(item) == scale]
        if not shown and new:
            memory.add([items[row] for row in new], [(keys[new], values[new]) for keys, values in computed])
        return logits


def check_steps(transformer: ScaleTransformer, plan: Sequence[SolverConfig]) -> None:
    """Raise where a plan has more steps within a scale than the transformer was trained for.

    Raises:
        ParameterError: the transformer draws all tokens of a scale at once.
    """
    if not transformer.config.refines and any(config.n_steps > 1 for config in plan):
        raise ParameterError(
            f"this model draws all tokens of a scale at once, got n_steps {[config.n_steps for config in plan]}: "
            "ask for one step, or train a model with refines for more"
        )


@torch.inference_mode()
def draw_scales(
    transformer: ScaleTransformer,
    quantiser: MultiScaleQuantiser,
    seeds: Sequence[int],
    condition: Tensor | None = None,
    plan: SolverConfig | Sequence[SolverConfig] | None = None,
    given: Sequence[Tensor] = (),
    one_by_one: bool = True,
    on_call: Callable[[], object] | None = None,
) -> StagesResult:
    """Draw the tokens of all scales of a batch, from coarse to fine.

    Args:
        transformer: the predictor.
        quantiser: quantiser of the tokenizer.
        seeds: one seed for each item.
        condition: (b, condition_dim); None for unconditional decoding.
        plan: settings, as from ``scale_plan``; None samples from the unmodified logits, one pass per scale.
        given: tokens (b, h, w) of the first scales, which are kept, for variations of the detail.
        one_by_one: see ``ScaleSession``.
        on_call: see ``ScaleSession``.

    Raises:
        ParameterError: arguments that do not fit each other.
    """
    pyramid, n_items = transformer.pyramid, len(seeds)
    for name, value in (("conditions", condition), *(("tokens of given scales", grid) for grid in given)):
        if value is not None and len(value) != n_items:
            raise ParameterError(f"{name} must be one for each of {n_items} seeds, got {len(value)}")
    if given:
        pyramid.check(given)
    configs = stage_plan(scale_plan(len(pyramid)) if plan is None else plan, len(pyramid))
    check_steps(transformer, configs)
    device = transformer.positions.device
    grids = [grid.to(device) for grid in given]
    grids += [torch.zeros(n_items, *scale, dtype=torch.long, device=device) for scale in pyramid.scales[len(given) :]]
    masks = [torch.full_like(grid, number >= len(given), dtype=torch.bool) for number, grid in enumerate(grids)]
    session = ScaleSession(
        transformer, quantiser, None if condition is None else condition.to(device), one_by_one, on_call
    )
    use_condition = [condition is not None] * n_items
    return solve_stages(session, grids, masks, seeds, configs, use_condition)
