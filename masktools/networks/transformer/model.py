"""The masked transformer and its blocks: tokens, a mask, a condition -> logits; hidden states are embeddings.

The modules of a block have timm's names, so that weights of other vision transformers fit, and give the numbers of
timm's.

The sequence is one prefix vector and one position per token. The prefix is the projected condition, or the learned mask
vector without one. A masked position holds the same vector as the prefix (the paper's conditional mask, "C") or
always the learned one ("M"); values under the mask are never read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts, settle
from masktools.core.configs import ranged
from masktools.core.errors import DeviceError, ParameterError
from masktools.core.runtime import has_fast_bf16
from masktools.core.shapes import Condition, FlatMask, FlatTokens, Logits
from masktools.networks.packing import (
    Int8Linear,
    PackedLinear,
    can_compute_int8,
    fill_rest,
    refuse_weights,
    swap_linear,
)

_EPSILON = 1e-6

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention: function of queries, keys and values, each (b, h, n, d), to the weighted values (b, h, n, d)."""


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the attention of queries (b, h, q, d) over keys and values (b, h, n, d): (b, h, q, d).

    In bf16 on a CPU the two products are computed separately, which takes about half the time of torch's
    fused form where oneDNN supports bf16 and the other library does not.
    """
    if queries.device.type != "cpu" or queries.dtype != torch.bfloat16 or torch.is_grad_enabled():
        return F.scaled_dot_product_attention(queries, keys, values)
    flat = [part.flatten(0, 1) for part in (queries, keys, values)]
    likeness = torch.bmm(flat[0], flat[1].transpose(1, 2)).mul_(queries.shape[-1] ** -0.5)
    return torch.bmm(likeness.softmax(dim=-1), flat[2]).view_as(queries)


class Attention(nn.Module):
    """Multi-head attention over all positions, or over some. ``forward``: (b, n, d) -> the same."""

    def __init__(self, width: int, n_heads: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.head_dim = n_heads, width // n_heads
        self.qkv = nn.Linear(width, 3 * width, bias)
        self.proj = nn.Linear(width, width, bias)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, slots: Tensor, attend: Attend = attend) -> Tensor:
        """Return the output; ``attend`` computes the weighted values."""
        mixed = self.qkv(slots).unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        gathered = attend(*mixed.unbind(0))
        return self.proj_drop(self.proj(gathered.transpose(1, 2).flatten(2)))


class Perceptron(nn.Module):
    """Two layers with a GELU between them, on each position. ``forward``: (b, n, d) -> the same."""

    def __init__(self, width: int, hidden: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias)
        self.act: nn.Module = nn.GELU()
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, width, bias)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, slots: Tensor) -> Tensor:
        """Return the output of the two layers."""
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(slots)))))


class Block(nn.Module):
    """Transformer block: attention and a perceptron, both residual. ``forward``: (b, n, d) -> the same.

    Source: Dosovitskiy et al., An image is worth 16x16 words (arXiv:2010.11929), section 3.1.
    """

    def __init__(self, width: int, n_heads: int, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = Attention(width, n_heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = Perceptron(width, int(width * mlp_ratio), dropout)

    def forward(self, slots: Tensor) -> Tensor:
        """Return the output of the block."""
        slots = slots + self.attn(self.norm1(slots))
        return slots + self.mlp(self.norm2(slots))


class PacksBlocks(nn.Module):
    """A transformer whose ``blocks``, with perceptrons called ``mlp``, can be packed for inference."""

    blocks: nn.ModuleList
    norm: nn.LayerNorm
    linear = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # layers of each block
    packed = False  # whether ``pack`` has been called

    @property
    def one_by_one(self) -> bool:
        """Whether the clips of a batch are computed one by one."""
        return self.packed and self.norm.weight.device.type == "cpu"

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Replace the linear layers of the blocks by packed ones, for inference only, and fill the rest.

        On a CPU clips are then computed one by one, so that a batch gives bit for bit the same results as its clips
        alone. Heads stay in single precision, for sampling. A packed transformer is not packed again.

        Args:
            precision: precision of the products in the blocks: float32, bfloat16, float16 or int8.
            weights: weights by name, read on demand, for a transformer on the meta device; None for one that has its
                weights.
            device: device for weights that are read.

        Raises:
            DeviceError: int8 on a processor, or with a version of torch, that does not support it.
        """
        if self.packed:
            return
        place = next(self.parameters()).device if weights is None else torch.device(device)
        whole = precision == torch.int8
        if whole and place.type != "cpu":
            raise DeviceError(f"int8 needs a CPU, the device is {place}: use --precision bf16 or fp32")
        if whole and not can_compute_int8():
            raise DeviceError("this CPU does not compute in int8 (VNNI is missing): use --precision fp32 or bf16")
        between = torch.bfloat16 if whole and has_fast_bf16() else torch.float32  # number type of the attention

        def made(name: str, linear: nn.Linear) -> nn.Module:
            gelu = name == "mlp.fc1"
            if whole:
                return Int8Linear(linear, gelu, between if name in ("attn.qkv", "cross.q") else torch.float32)
            return PackedLinear(linear, precision, gelu)

        for number, block in enumerate(self.blocks):
            for name in self.linear:
                swap_linear(self, f"blocks.{number}.{name}", partial(made, name), weights, device)
            cast(Any, block).mlp.act = nn.Identity()
        if weights is not None:
            fill_rest(self, weights, device)
        self.packed = True
        self.pack_head()
        refuse_weights(self)

    def pack_head(self) -> None:
        """Replace what follows the blocks; by default nothing."""


_BLOCK = 32  # queries in a block, which share a range of keys
_WORTH = 4  # number of blocks from which on blocks are faster than a mask


def near_mask(n: int, context: int, device: torch.device | str | None = None) -> Tensor:
    """Return the mask (n, n), True where a query (row) may attend a key: at most ``context`` positions away.

    >>> near_mask(3, 1).int().tolist()
    [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    """
    slots = torch.arange(n, device=device)
    return (slots[:, None] - slots).abs() <= context


def attend_near(queries: Tensor, keys: Tensor, values: Tensor, context: int) -> Tensor:
    """Return the attention of queries (b, h, n, d) over keys at most ``context`` positions away: (b, h, n, d)."""
    n = queries.shape[2]
    if n < _WORTH * (_BLOCK + 2 * context):
        mask = near_mask(n, context, queries.device)
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return _by_blocks(queries, keys, values, context)


def _by_blocks(queries: Tensor, keys: Tensor, values: Tensor, context: int) -> Tensor:
    """Return the same by blocks of queries, each with the range of keys that any of them may attend."""
    b, h, n, d = queries.shape
    n_blocks = -(-n // _BLOCK)
    missing = n_blocks * _BLOCK - n
    asked = F.pad(queries, (0, 0, 0, missing)).view(b, h, n_blocks, _BLOCK, d)
    stretch = _BLOCK + 2 * context
    near_keys, near_values = (
        F.pad(part, (0, 0, context, context + missing)).unfold(2, stretch, _BLOCK).transpose(3, 4)
        for part in (keys, values)
    )
    slots = torch.arange(_BLOCK, device=queries.device)[:, None]
    places = torch.arange(stretch, device=queries.device) - context
    first = (torch.arange(n_blocks, device=queries.device) * _BLOCK)[:, None, None]
    within = ((places - slots).abs() <= context) & (first + places >= 0) & (first + places < n)
    own = first + slots >= n  # padding of the last block attends anything, and is cut off
    gathered = F.scaled_dot_product_attention(asked, near_keys, near_values, attn_mask=within | own)
    return gathered.reshape(b, h, n_blocks * _BLOCK, d)[:, :, :n]


def attend_causally(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the attention over keys at the same and earlier positions."""
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)


def attention_of(context: int | None, causal: bool = False) -> Attend:
    """Return attention over all positions (None), within a context, or causal."""
    if causal:
        return attend_causally
    return attend if context is None else partial(attend_near, context=context)


MASK_TOKENS = ("conditional", "learned")


EMBEDDING_STD = 0.02  # standard deviation of the embeddings


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
    mask_token: str = ranged("conditional", MASK_TOKENS)  # the vector at masked positions
    dropout: float = ranged(0.0, "[0, 1)")

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        check_counts(self, "n_codes", "n_rows", "n_cols", "width", "depth", "n_heads", "condition_dim")
        if self.width % self.n_heads:
            raise ParameterError(f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}")

    @property
    def n_tokens(self) -> int:
        """Number of tokens of a full clip."""
        return self.n_rows * self.n_cols


def embeddings_from_codes(vectors: Tensor, width: int, seed: int = 0) -> Tensor:
    """Return token embeddings (k, width) from the principal components of a codebook (k, d), randomly rotated.

    As many principal axes as fit, randomly rotated so that no dimension stands out. On small sets
    of training audio a transformer with this initialisation is after 125 steps where another is after about 500, and
    the
    lead is gone after some 1,500.

    Differs: SpecMaskGIT (arXiv:2406.17672) and MAGE (arXiv:2211.09117) use random initialisation.
    """
    values = vectors.detach().float().cpu()
    left, strengths, _ = torch.linalg.svd(values - values.mean(0), full_matrices=False)
    axes = (left * strengths)[:, :width]
    axes = torch.nn.functional.pad(axes, (0, width - axes.shape[1]))
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    turned = axes @ turn
    return EMBEDDING_STD * turned / turned.std()


_OUTPUTS = ("attn.proj.", "mlp.fc2.")  # the layers of a block whose output is added to the sequence


def deepened(state: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Return the weights of a transformer of ``depth`` blocks that computes what the given one does.

    Each block is followed by copies of it whose output layers are 0: they add nothing yet, but learn from the first
    step on, and from features that are of use already.

    Args:
        state: the weights of a transformer with blocks ``blocks.0`` and so on.
        depth: number of blocks, a multiple of theirs.

    Raises:
        ParameterError: ``depth`` is no multiple of the number of blocks.

    Source: Gong et al., Efficient training of BERT by progressively stacking (ICML 2019), for the copies; Chen et al.,
    Net2Net (arXiv:1511.05641), for the same function.
    """
    names = [name.split(".", 2) for name in state if name.startswith("blocks.")]
    found = 1 + max((int(number) for _, number, _ in names), default=-1)
    if not found or depth % found:
        raise ParameterError(f"the depth must be a multiple of that of the weights, {found}, got {depth}")
    times = depth // found
    grown = {name: weight for name, weight in state.items() if not name.startswith("blocks.")}
    for _, number, rest in names:
        weight = state[f"blocks.{number}.{rest}"]
        for copy in range(times):
            idle = copy > 0 and rest.startswith(_OUTPUTS)
            grown[f"blocks.{times * int(number) + copy}.{rest}"] = torch.zeros_like(weight) if idle else weight
    return grown


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
        """Return the logits of each code at each position."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), embeddings, self.bias)


class PackedHead(nn.Module):
    """The head for inference, in single precision. ``forward``: (..., d) -> (..., k); it holds the embeddings."""

    def __init__(self, head: TokenHead, embeddings: Tensor) -> None:
        super().__init__()
        self.dense = PackedLinear(head.dense, torch.float32, gelu=True)
        self.norm = head.norm
        self.register_buffer("bias", head.bias.detach())
        products = nn.Linear(embeddings.shape[1], embeddings.shape[0], device="meta")
        products.weight, products.bias = (
            nn.Parameter(embeddings.detach(), False),
            nn.Parameter(head.bias.detach(), False),
        )
        self._products = (PackedLinear(products, torch.float32),)  # in a tuple: its weight is the transformer's state

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Return the logits of each code at each position."""
        return self._products[0](self.norm(self.dense(hidden)))

    def _apply(self, fn: Any, recurse: bool = True) -> "PackedHead":
        super()._apply(fn, recurse)
        self._products[0]._apply(fn, recurse)
        return self


class MaskedTransformer(PacksBlocks):
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
            Block(width, config.n_heads, config.mlp_ratio, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head: nn.Module = TokenHead(width, config.n_codes)
        self.apply(_initialise)
        for vector in (self.mask_vector, self.position):
            nn.init.normal_(vector, std=0.02)

    def prefix(self, n_clips: int, condition: Condition | None, use_condition: Tensor | None) -> Tensor:
        """Return the vector (b, width) before the tokens, which in kind "C" is also in every masked position."""
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

    def enter(
        self,
        tokens: FlatTokens,
        mask: FlatMask,
        condition: Condition | None = None,
        use_condition: Tensor | None = None,
    ) -> Tensor:
        """Return the input of the first block, (b, 1 + n, width): the prefix, then the tokens.

        Raises:
            ParameterError: see ``logits``.
        """
        self._check(tokens, mask, condition)
        prefix = self.prefix(len(tokens), condition, use_condition)
        filler = prefix if self.config.mask_token == "conditional" else self.mask_vector.expand(len(tokens), -1)  # noqa: S105
        known = self.token_embedding(tokens.masked_fill(mask, 0))
        slots = torch.where(mask[:, :, None], filler[:, None], known)
        sequence = torch.cat([prefix[:, None], slots], dim=1) + self.position[: 1 + tokens.shape[1]]
        return self.enter_dropout(self.enter_norm(sequence))

    def predict_head(self, hidden: Tensor) -> Tensor:
        """Return the logits (..., k) of hidden states (..., width) after the last norm."""
        return self.head(hidden, self.token_embedding.weight)

    def logits(
        self,
        tokens: FlatTokens,
        mask: FlatMask,
        condition: Condition | None = None,
        use_condition: Tensor | None = None,
        only_masked: bool = False,
    ) -> Logits:
        """Return the logits of every position; only those of masked positions are meaningful.

        Args:
            tokens: codes in [0, n_codes); values under the mask are not read.
            mask: True for tokens to be predicted.
            condition: unit vectors of the conditioner, or None for the learned mask vector.
            use_condition: (b,) bool, False for clips without a condition.
            only_masked: whether the logits of known positions are left at 0, which saves their cost.

        Raises:
            ParameterError: shapes that do not fit each other or the configuration.
        """
        if self.one_by_one and len(tokens) > 1:
            given = [(None,) * len(tokens) if part is None else part.split(1) for part in (condition, use_condition)]
            clips = zip(tokens.split(1), mask.split(1), *given, strict=True)
            return torch.cat([self.logits(*clip, only_masked=only_masked) for clip in clips])
        sequence = self.enter(tokens, mask, condition, use_condition)
        for block in self.blocks:
            sequence = block(sequence)
        hidden = sequence[:, 1:]
        if not only_masked:
            return self.predict_head(self.norm(hidden))
        found = self.predict_head(self.norm(hidden[mask]))
        return found.new_zeros(*mask.shape, found.shape[-1]).masked_scatter_(mask[:, :, None], found)

    forward = logits

    def pack_head(self) -> None:
        """Replace the head by one that holds the embeddings."""
        self.head = PackedHead(cast(TokenHead, self.head), self.token_embedding.weight)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
