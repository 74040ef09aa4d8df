"""The masked transformer: tokens, a mask and a condition -> logits; the hidden states are the embeddings.

The sequence is one prefix vector and one slot per token. The prefix is the projected condition, or the learned
mask vector where there is none. A masked slot holds the same vector as the prefix (the paper's conditional
mask, "C") or always the learned one ("M"); values under the mask are never read.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from masktools.errors import ParameterError, unknown_name
from masktools.shapes import Condition, FlatMask, FlatTokens, Logits

__all__ = ["MASK_TOKENS", "MaskedTransformer", "TransformerConfig"]

MASK_TOKENS = ("conditional", "learned")


@dataclass(frozen=True)
class TransformerConfig:
    """Settings of the masked transformer; the defaults are the paper's 24 x 768.

    Source: SpecMaskGIT (arXiv:2406.17672), sections 3.2, 3.3 and 4.1.
    """

    n_codes: int = 1024
    n_rows: int = 5
    n_cols: int = 53
    width: int = 768
    depth: int = 24
    n_heads: int = 8
    mlp_ratio: float = 4.0
    condition_dim: int = 512
    mask_token: str = "conditional"  # noqa: S105 - the vector in masked slots, no password
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check every range."""
        for name in ("n_codes", "n_rows", "n_cols", "width", "depth", "n_heads", "condition_dim"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.n_heads:
            raise ParameterError(f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}")
        if self.mask_token not in MASK_TOKENS:
            raise unknown_name("mask_token", self.mask_token, MASK_TOKENS)
        if not 0 <= self.dropout < 1:
            raise ParameterError(f"dropout must lie in [0, 1), got {self.dropout:g}")

    @property
    def n_tokens(self) -> int:
        """Tokens of a full clip."""
        return self.n_rows * self.n_cols


class TokenHead(nn.Module):
    """Logits by the inner product with the token embeddings. ``forward``: (b, n, d) -> (b, n, k).

    Source: MAGE (arXiv:2211.09117), its masked-token head; tied and not detached.
    """

    def __init__(self, width: int, n_codes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.bias = nn.Parameter(torch.zeros(n_codes))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Return how well each slot fits each code."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), embeddings, self.bias)


class MaskedTransformer(nn.Module):
    """Predictor of masked tokens. ``logits``: (b, n), (b, n), (b, d) -> (b, n, k), n up to a full clip."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.token_embedding = nn.Embedding(config.n_codes, width)
        self.mask_vector = nn.Parameter(torch.zeros(width))
        self.position = nn.Parameter(torch.zeros(1 + config.n_tokens, width))
        self.condition = nn.Linear(config.condition_dim, width)
        self.enter_norm = nn.LayerNorm(width, eps=1e-6)
        self.enter_dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(width, config.n_heads, config.mlp_ratio, qkv_bias=True, proj_drop=config.dropout)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = TokenHead(width, config.n_codes)
        self.apply(_initialise)
        for vector in (self.mask_vector, self.position):
            nn.init.normal_(vector, std=0.02)

    def prefix(self, n_clips: int, condition: Condition | None, use_condition: Tensor | None) -> Tensor:
        """Return the vector (b, width) that stands before the tokens and, in kind "C", in every masked slot."""
        learned = self.mask_vector.expand(n_clips, -1)
        if condition is None:
            return learned
        projected = self.condition(condition)
        return projected if use_condition is None else torch.where(use_condition[:, None], projected, learned)

    def _check(self, tokens: Tensor, mask: Tensor, condition: Tensor | None) -> None:
        config = self.config
        if tokens.shape != mask.shape:
            raise ParameterError(f"mask must have the shape of tokens {tuple(tokens.shape)}, got {tuple(mask.shape)}")
        if not 0 < tokens.shape[1] <= config.n_tokens:
            raise ParameterError(f"a clip must have 1 to {config.n_tokens} tokens, got {tokens.shape[1]}")
        if condition is not None and condition.shape != (len(tokens), config.condition_dim):
            raise ParameterError(
                f"condition must have shape {(len(tokens), config.condition_dim)}, got {tuple(condition.shape)}"
            )

    def _enter(
        self, tokens: FlatTokens, mask: FlatMask, condition: Condition | None, use_condition: Tensor | None
    ) -> Tensor:
        self._check(tokens, mask, condition)
        prefix = self.prefix(len(tokens), condition, use_condition)
        filler = prefix if self.config.mask_token == "conditional" else self.mask_vector.expand(len(tokens), -1)  # noqa: S105
        known = self.token_embedding(tokens.masked_fill(mask, 0))
        slots = torch.where(mask[:, :, None], filler[:, None], known)
        sequence = torch.cat([prefix[:, None], slots], dim=1) + self.position[: 1 + tokens.shape[1]]
        return self.enter_dropout(self.enter_norm(sequence))

    def logits(
        self,
        tokens: FlatTokens,
        mask: FlatMask,
        condition: Condition | None = None,
        use_condition: Tensor | None = None,
    ) -> Logits:
        """Return the logits of every slot; only those of masked slots carry meaning.

        Args:
            tokens: Codes in [0, n_codes); values under the mask are not read.
            mask: True where a token is to be predicted.
            condition: Unit vectors of the conditioner, or None for the learned mask vector.
            use_condition: (b,) bool, False for clips that go without their condition.

        Raises:
            ParameterError: Shapes that do not fit each other or the configuration.
        """
        sequence = self._enter(tokens, mask, condition, use_condition)
        for block in self.blocks:
            sequence = block(sequence)
        return self.head(self.norm(sequence[:, 1:]), self.token_embedding.weight)

    forward = logits

    def hidden_states(
        self,
        tokens: FlatTokens,
        mask: FlatMask,
        condition: Condition | None = None,
        use_condition: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return depth + 1 tensors (b, 1 + n, width): the input of the first block, then the output of each.

        Raises:
            ParameterError: As ``logits``.
        """
        states = [self._enter(tokens, mask, condition, use_condition)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return tuple(states)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
