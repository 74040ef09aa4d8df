"""The scale-wise transformer: coarser scales and a condition -> logits of all tokens of the next scale.

A token attends all of its own scale and of the coarser ones. The inputs of a scale are the sum of the coarser
scales, averaged over their cells; that of the first scale is the condition.

Source: Tian et al., VAR (arXiv:2404.02905), section 3; DiT (arXiv:2212.09748) for the adaptive normalisation. Masked
refinement inside a scale: Kumbong et al., HMAR (arXiv:2506.04421), section 3.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts
from masktools.core.errors import ParameterError
from masktools.networks.packing import KeepsLayers
from masktools.networks.scales.pyramid import ScalePyramid, keep_in_checkpoint
from masktools.networks.transformer.model import Attention, Perceptron

__all__ = ["KeysValues", "ScaleTransformer", "ScaleTransformerConfig"]

_EPSILON = 1e-6

KeysValues = tuple[Tensor, Tensor]
"""Keys and values (b, heads, n, d) of the tokens of one or more scales, in one block."""


@dataclass(frozen=True)
class ScaleTransformerConfig:
    """Settings of the scale-wise transformer.

    Attributes:
        scales: rows and columns of each scale, as in the tokenizer.
        n_codes: size of the codebooks.
        code_dim: dimensions of the codebooks' vectors.
        condition_dim: dimensions of a condition: 512 or 128 for the vectors of a text-audio encoder, or those of
            ``NoteWords``.
        width: dimensions of the hidden states.
        depth: number of blocks.
        n_heads: number of attention heads.
        mlp_ratio: hidden width of the perceptrons, in multiples of ``width``.
        dropout: share of values dropped in training.
        unit_queries: whether queries and keys have unit norm, with a learned scale for each head.
        shared_modulation: whether all blocks share one map from the condition to their normalisation.
        refines: whether the tokens of a scale may be drawn in several steps, with known ones as input.
    """

    scales: tuple[tuple[int, int], ...] = ((5, 1), (5, 3), (5, 6), (5, 13))
    n_codes: int = 512
    code_dim: int = 32
    condition_dim: int = 128
    width: int = 192
    depth: int = 6
    n_heads: int = 4
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    unit_queries: bool = False
    shared_modulation: bool = False
    refines: bool = False

    def __post_init__(self) -> None:
        """Check every range."""
        check_counts(self, "n_codes", "code_dim", "condition_dim", "width", "depth", "n_heads")
        if self.width % self.n_heads:
            raise ParameterError(f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}")
        if not 0 <= self.dropout < 1:
            raise ParameterError(f"dropout must lie in [0, 1), got {self.dropout:g}")
        ScalePyramid(self.scales)

    @property
    def pyramid(self) -> ScalePyramid:
        """The scales."""
        return ScalePyramid(self.scales)


class ScaleBlock(nn.Module):
    """Attention and a perceptron with adaptive normalisation by a condition (AdaLN). (b, n, d) -> the same."""

    def __init__(self, config: ScaleTransformerConfig) -> None:
        super().__init__()
        self.attn = Attention(config.width, config.n_heads, config.dropout)
        self.mlp = Perceptron(config.width, int(config.width * config.mlp_ratio), config.dropout)
        self.modulation = None if config.shared_modulation else _modulation(config.width, 6)
        # a shared map still has an offset for each block
        self.offset = nn.Parameter(torch.zeros(6 * config.width)) if config.shared_modulation else None
        self.temperature = nn.Parameter(torch.full((config.n_heads, 1, 1), 4.0).log()) if config.unit_queries else None

    def forward(
        self,
        slots: Tensor,
        condition: Tensor,
        mask: Tensor | None = None,
        past: KeysValues | None = None,
        keep: Callable[[KeysValues], None] | None = None,
    ) -> Tensor:
        """Return the output of the block.

        Args:
            slots: (b, n, d) hidden states.
            condition: (b, d), or (b, 6 d) after the map that all blocks share.
            mask: (n, n) attention mask; None for all.
            past: keys and values of coarser scales to attend.
            keep: called with the keys and values of these positions.
        """
        mapped = condition if self.modulation is None else self.modulation(condition)
        mapped = mapped if self.offset is None else mapped + self.offset
        gate1, gate2, scale1, scale2, shift1, shift2 = mapped[:, None].chunk(6, dim=2)

        def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            factor = None
            if self.temperature is not None:
                queries = F.normalize(queries, dim=-1) * self.temperature.clamp_max(4.605).exp()  # at most 100
                keys, factor = F.normalize(keys, dim=-1), 1.0
            if keep is not None:
                keep((keys, values))
            if past is not None:
                keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
            return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=factor)

        slots = slots + gate1 * self.attn(_normed(slots, scale1, shift1), attend)
        return slots + gate2 * self.mlp(_normed(slots, scale2, shift2))


class ScaleTransformer(KeepsLayers):
    """Predictor of the tokens of the next scale. ``forward``: inputs of all scales, condition -> (b, n, k)."""

    def __init__(self, config: ScaleTransformerConfig) -> None:
        super().__init__()
        self.config = config
        width, pyramid = config.width, config.pyramid
        self.pyramid = pyramid
        self.condition = nn.Linear(config.condition_dim, width)
        self.no_condition = nn.Parameter(torch.zeros(width))
        self.vectors = nn.Linear(config.code_dim, width)
        self.positions = nn.Parameter(torch.zeros(pyramid.total, width))
        self.levels = nn.Embedding(len(pyramid), width)
        self.known = nn.Embedding(config.n_codes, width) if config.refines else None
        self.shared = _modulation(width, 6) if config.shared_modulation else None
        self.blocks = nn.ModuleList(ScaleBlock(config) for _ in range(config.depth))
        self.last = _modulation(width, 2)
        self.head = nn.Linear(width, config.n_codes)
        keep_in_checkpoint(self, scales=pyramid.scales, codebook_size=(config.n_codes,))
        self._initialise()

    def _initialise(self) -> None:
        """Initialise with small Gaussians; zero maps of the condition make each block start as the identity."""
        deviation = (3 * self.config.width) ** -0.5
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=deviation)
                nn.init.zeros_(module.bias)
        for block in self.blocks:
            for layer in (block.attn.proj, block.mlp.fc2):  # pyright: ignore
                layer.weight.data.div_((2 * self.config.depth) ** 0.5)  # pyright: ignore
        mapped = [self.shared, self.last, *(block.modulation for block in self.blocks)]
        for modulation in mapped:
            if modulation is not None:
                nn.init.zeros_(cast(nn.Linear, cast(nn.Sequential, modulation)[1]).weight)
        nn.init.trunc_normal_(self.positions, std=deviation)
        nn.init.trunc_normal_(self.levels.weight, std=deviation)
        if self.known is not None:
            nn.init.trunc_normal_(self.known.weight, std=deviation)
        self.head.weight.data.mul_(0.02)

    def embed(self, condition: Tensor | None, use: Tensor | None = None, n_items: int = 1) -> Tensor:
        """Return conditions (b, condition_dim) embedded for the blocks, (b, width).

        Args:
            condition: the conditions; None for none.
            use: (b,) False for items without one; None for all.
            n_items: number of items, if there is no condition.

        Raises:
            ParameterError: conditions of another size.
        """
        if condition is None:
            return self.no_condition.expand(n_items, -1)
        if condition.ndim != 2 or condition.shape[1] != self.config.condition_dim:
            raise ParameterError(f"a condition must be (b, {self.config.condition_dim}), got {tuple(condition.shape)}")
        embedded = self.condition(condition.to(self.condition.weight.dtype))
        return embedded if use is None else torch.where(use[:, None], embedded, self.no_condition)

    def slots(
        self,
        scale: int,
        vectors: Tensor | None,
        embedded: Tensor,
        tokens: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the input (b, n_k, d) of the first block for a scale.

        Args:
            scale: number of the scale, from 0.
            vectors: input from coarser scales, (b, n_k, code_dim); None for the first one.
            embedded: conditions from ``embed``.
            tokens: tokens (b, n_k) of the scale, some of them known; None for none.
            mask: True for unknown tokens, (b, n_k).
        """
        place = self.pyramid.place(scale)
        given = embedded[:, None] if vectors is None else self.vectors(vectors.to(self.vectors.weight.dtype))
        slots = given + self.positions[place] + self.levels.weight[scale]
        if tokens is None or mask is None:
            return slots
        if self.known is None:
            raise ParameterError("this model draws all tokens of a scale at once: it was not trained to refine")
        return slots + self.known(tokens).masked_fill(mask[:, :, None], 0.0)

    def compute(
        self,
        slots: Tensor,
        embedded: Tensor,
        mask: Tensor | None = None,
        past: Sequence[KeysValues] | None = None,
        keep: Callable[[KeysValues], None] | None = None,
    ) -> Tensor:
        """Return the logits (b, n, k) of positions, in single precision.

        Args:
            slots: (b, n, d) inputs of the first block.
            embedded: conditions from ``embed``.
            mask: (n, n) attention mask; None for all.
            past: keys and values of coarser scales, for each block.
            keep: called with the keys and values of these positions, block after block.
        """
        condition = embedded if self.shared is None else self.shared(embedded)
        for number, block in enumerate(self.blocks):
            slots = block(slots, condition, mask, None if past is None else past[number], keep)
        scale, shift = self.last(embedded)[:, None].chunk(2, dim=2)
        return self.head(_normed(slots, scale, shift).to(self.head.weight.dtype)).float()

    def forward(
        self,
        inputs: Sequence[Tensor],
        condition: Tensor | None = None,
        use: Tensor | None = None,
        known: tuple[Tensor, Tensor] | None = None,
        n_items: int = 1,
    ) -> Tensor:
        """Return the logits (b, n, k) of the first scales, in one pass: for training.

        Args:
            inputs: inputs (b, n_k, code_dim) of each scale after the first; possibly of fewer scales.
            condition: see ``embed``, also for ``use``.
            use: (b,) False for items without a condition.
            known: tokens and mask (b, n_k) of the last of these scales, where some of its tokens are known.
            n_items: number of items, if there are neither inputs nor a condition.
        """
        n_items = len(inputs[0]) if inputs else n_items
        embedded = self.embed(condition, use, n_items)
        last = len(inputs)
        parts = [
            self.slots(scale, vectors, embedded, *(known if known is not None and scale == last else (None, None)))
            for scale, vectors in enumerate((None, *inputs))
        ]
        slots = torch.cat(parts, dim=1)
        mask = self.pyramid.attended(slots.device)[: slots.shape[1], : slots.shape[1]]
        return self.compute(slots, embedded, mask)


def _modulation(width: int, n_vectors: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Linear(width, n_vectors * width))


def _normed(slots: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(slots, slots.shape[-1:], eps=_EPSILON) * (1 + scale) + shift
