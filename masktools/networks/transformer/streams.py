"""Transformers over token streams: columns of K tokens and a text -> logits; masked, or causal over delayed streams.

The token embeddings of a column are summed over the streams; an id beyond the codes stands for a masked token.
Stage k predicts stream k. At stage 0 every column attends every other one, at later stages its neighbours only.
A text is a sequence of states, read by cross attention, which is skipped without a text; that is exact.

Source: Ziv et al., MAGNeT (arXiv:2401.04577), sections 3.1 to 3.3; the layout is that of its checkpoints.

In the causal model, stream k lags k positions behind stream 0: token (k, column) is at position 1 + column + k, after
an empty first position, and its logits are read one position before. It has two uses: it rescores tokens drawn by a
masked model, and it writes the first seconds that a masked model continues.

Source: Copet et al., Simple and controllable music generation (arXiv:2306.05284), section 2.2; MAGNeT
    (arXiv:2401.04577), sections 3.4 and 3.5, for the uses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts, settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.networks.packing import refuse_weights
from masktools.networks.transformer.model import Attend, Attention, Perceptron, attention_of, pack_blocks

_EPSILON = 1e-5
_PACKED = ("attn.qkv", "attn.proj", "cross.q", "cross.kv", "cross.proj", "mlp.fc1", "mlp.fc2")


@dataclass(frozen=True)
class StreamTransformerConfig:
    """Settings of the stream transformer; the defaults are those of the small public model for 10 s of music."""

    n_streams: int = 4
    n_codes: int = 2048
    n_cols: int = 500  # columns of the clips in training; any number works
    width: int = 1024
    depth: int = 24
    n_heads: int = 16
    mlp_ratio: float = 4.0
    context: int | None = ranged(5, "[0, inf]")  # columns on either side that stages after the first attend; None: all
    span: int = 3  # length in columns of the spans that were masked in training
    text_dim: int = 768  # dimensions of a text's states
    dropout: float = ranged(0.0, "[0, 1)")
    attend_absent: bool = False  # whether padding of shorter texts is attended, as zeros

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        check_counts(self, "n_streams", "n_codes", "n_cols", "width", "depth", "n_heads", "span", "text_dim")
        if self.width % self.n_heads or self.width % 2 or self.width < 4:
            raise ParameterError(
                f"width must be even, at least 4 and a multiple of n_heads, got {self.width} and {self.n_heads}"
            )


@dataclass(frozen=True)
class Text:
    """Texts for cross attention: keys and values of each block, and the padding mask."""

    pairs: tuple[tuple[Tensor, Tensor], ...]  # (b, h, l, d) each
    present: Tensor  # (b, l)

    def select(self, items: Tensor | slice) -> "Text":
        """Return the texts of some items."""
        return Text(tuple((keys[items], values[items]) for keys, values in self.pairs), self.present[items])


class CrossAttention(nn.Module):
    """Cross attention to the states of a text. ``forward``: (b, n, d) -> the same."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = n_heads, width // n_heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)

    def pairs(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (b, h, l, d) of states (b, l, width)."""
        mixed = self.kv(states).unflatten(-1, (2, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        return mixed[0], mixed[1]

    def forward(self, slots: Tensor, pairs: tuple[Tensor, Tensor], present: Tensor) -> Tensor:
        """Return the weighted values of the states that are present."""
        queries = self.q(slots).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
        keys, values = (part.to(queries.dtype) for part in pairs)
        gathered = F.scaled_dot_product_attention(queries, keys, values, attn_mask=present[:, None, None])
        return self.proj(gathered.transpose(1, 2).flatten(2))


class StreamBlock(nn.Module):
    """Block of attention, cross attention and a perceptron, all residual and without bias. (b, n, d) -> the same."""

    def __init__(self, config: StreamTransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = Attention(width, config.n_heads, config.dropout, bias=False)
        self.norm_cross = nn.LayerNorm(width, eps=_EPSILON)
        self.cross = CrossAttention(width, config.n_heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = Perceptron(width, int(width * config.mlp_ratio), config.dropout, bias=False)

    def forward(
        self, slots: Tensor, attend: Attend, pairs: tuple[Tensor, Tensor] | None, present: Tensor | None
    ) -> Tensor:
        """Return the output of the block; without a text its cross attention is skipped."""
        slots = slots + self.attn(self.norm1(slots), attend)
        if pairs is not None and present is not None:
            slots = slots + self.cross(self.norm_cross(slots), pairs, present)
        return slots + self.mlp(self.norm2(slots))


class StreamTransformer(nn.Module):
    """Predictor of token streams. ``logits``: (b, K, w), stage, text -> (b, w, k)."""

    causal = False

    def __init__(self, config: StreamTransformerConfig) -> None:
        super().__init__()
        self.config, self.packed = config, False
        width = config.width
        self.streams = nn.ModuleList(nn.Embedding(config.n_codes + 1, width) for _ in range(config.n_streams))
        self.text = nn.Linear(config.text_dim, width)
        self.blocks = nn.ModuleList(StreamBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.heads = nn.ModuleList(nn.Linear(width, config.n_codes, bias=False) for _ in range(config.n_streams))
        self._initialise()

    def _initialise(self) -> None:
        """Initialise with Gaussians truncated at three deviations, smaller in deeper blocks."""
        for depth, block in enumerate(self.blocks, start=1):
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    _draw(layer.weight, (layer.in_features * 2 * depth) ** -0.5)
        for table in (*self.streams, *self.heads):
            _draw(table.weight, self.config.width**-0.5)  # pyright: ignore[reportArgumentType]

    @property
    def mask_id(self) -> int:
        """The id of a masked token, one beyond the codes."""
        return self.config.n_codes

    @property
    def one_by_one(self) -> bool:
        """Whether the clips of a batch are computed one by one."""
        return self.packed and self.norm.weight.device.type == "cpu"

    def read(self, states: Tensor) -> Text:
        """Return texts as keys and values for the blocks, computed once for all steps of a decoding.

        Args:
            states: (b, l, text_dim); rows of zeros are padding of shorter texts, and a text of such rows
                only is no text.

        Raises:
            ParameterError: states of another shape.

        Differs: the original attends padding too, so that the logits for a text depend on longer ones in the batch;
            ``attend_absent`` does so.
        """
        if states.ndim != 3 or states.shape[2] != self.config.text_dim or not states.shape[1]:
            raise ParameterError(
                f"a text must be states of shape (b, l, {self.config.text_dim}), got {tuple(states.shape)}"
            )
        present = states.ne(0).any(dim=2)
        projected = self.text(states).masked_fill(~present[:, :, None], 0)
        pairs = tuple(block.cross.pairs(projected) for block in self.blocks)  # pyright: ignore
        # Keys and values of absent states are zero: where a text has none at all, attending them adds exactly nothing.
        return Text(pairs, present | (self.config.attend_absent or ~present.any(dim=1, keepdim=True)))

    def logits(self, tokens: Tensor, stage: int, text: Text | None = None) -> Tensor:
        """Return the logits (b, w, k) of one stream at every column; only those of masked tokens are meaningful.

        Args:
            tokens: (b, K, w) codes in [0, n_codes), and ``mask_id`` for masked ones: in stream ``stage`` those
                to be predicted, in the finer streams all.
            stage: number of the stream.
            text: text from ``read``; None for none.

        Raises:
            ParameterError: tokens of another shape, or an invalid stage.
        """
        if not 0 <= stage < self.config.n_streams:
            raise ParameterError(f"stage must lie in [0, {self.config.n_streams}), got {stage}")
        return self.heads[stage](self.hidden(tokens, self.attention(stage), text))

    forward = logits

    def attention(self, stage: int) -> Attend:
        """Return the attention between columns at a stage."""
        return attention_of(self.config.context if stage else None, self.causal)

    def hidden(self, tokens: Tensor, attend: Attend, text: Text | None = None) -> Tensor:
        """Return the hidden states (b, w, width) for the heads.

        Args:
            tokens: see ``logits``.
            attend: attention between columns.
            text: see ``logits``.

        Raises:
            ParameterError: tokens of another shape.
        """
        if tokens.ndim != 3 or tokens.shape[1] != self.config.n_streams or not tokens.shape[2]:
            raise ParameterError(
                f"tokens must have shape (b, {self.config.n_streams}, w), w at least 1, got {tuple(tokens.shape)}"
            )
        if self.one_by_one and len(tokens) > 1:
            parts = [slice(item, item + 1) for item in range(len(tokens))]
            return torch.cat(
                [self.hidden(tokens[part], attend, None if text is None else text.select(part)) for part in parts]
            )
        embedded = [table(row) for table, row in zip(self.streams, tokens.unbind(1), strict=True)]
        slots = torch.stack(embedded).sum(dim=0)
        slots = slots + positions(tokens.shape[2], self.config.width, slots)
        for number, block in enumerate(self.blocks):
            pairs, present = (None, None) if text is None else (text.pairs[number], text.present)
            slots = block(slots, attend, pairs, present)
        return self.norm(slots)

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Replace the linear layers of the blocks by packed ones, for inference only, and fill the rest.

        On a CPU clips are then computed one by one, so that a batch gives bit for bit the same results as its clips
        alone.
        The heads stay in single precision, for sampling.

        Args:
            precision: precision of the products in the blocks: float32, bfloat16, float16 or int8.
            weights: weights by name, read on demand, for a transformer on the meta device; None for one that has
                its weights.
            device: device for weights that are read.

        Raises:
            DeviceError: int8 on a processor, or with a version of torch, that does not support it.
        """
        if self.packed:
            return
        pack_blocks(self, _PACKED, precision, weights, device)
        self.packed = True
        refuse_weights(self)


def positions(n: int, width: int, like: Tensor) -> Tensor:
    """Return the sinusoidal position embeddings (n, width) of n columns: cosines, then sines.

    Differs: the last frequency is 1 / 10000 itself, the exponent being i / (width / 2 - 1).
    """
    half = width // 2
    rates = torch.arange(half, device=like.device, dtype=torch.float32) / (half - 1)
    angles = torch.arange(n, device=like.device, dtype=torch.float32)[:, None] / 10_000**rates
    return torch.cat([angles.cos(), angles.sin()], dim=1).to(like.dtype)


def _draw(weight: Tensor, deviation: float) -> None:
    nn.init.trunc_normal_(weight, std=deviation, a=-3 * deviation, b=3 * deviation)


@dataclass(frozen=True)
class DelayedPriorConfig(StreamTransformerConfig):
    """Settings of the causal transformer, which ignores ``context`` and ``span``."""


class DelayedPrior(StreamTransformer):
    """Causal predictor of delayed token streams, with the weight names and shapes of a stream transformer."""

    causal = True

    def delayed(self, tokens: Tensor) -> Tensor:
        """Return tokens (b, K, w) in the delay pattern, (b, K, w + K - 1), padded with ``mask_id``."""
        n_streams, n_cols = tokens.shape[1:]
        places = tokens.new_full((len(tokens), n_streams, n_cols + n_streams - 1), self.mask_id)
        for stream in range(n_streams):
            n_read = min(n_cols, places.shape[2] - 1 - stream)
            places[:, stream, 1 + stream : 1 + stream + n_read] = tokens[:, stream, :n_read]
        return places

    def all_logits(self, tokens: Tensor, text: Text | None = None) -> Tensor:
        """Return the logits (b, K, w, k) of every token, given those at earlier positions.

        Args:
            tokens: (b, K, w) codes, and ``mask_id`` for unknown ones.
            text: text from ``read``; None for none.

        Raises:
            ParameterError: tokens of another shape.
        """
        if tokens.ndim != 3 or tokens.shape[1] != self.config.n_streams:
            raise ParameterError(f"tokens must have shape (b, {self.config.n_streams}, w), got {tuple(tokens.shape)}")
        hidden, n_cols = self.hidden(self.delayed(tokens), self.attention(0), text), tokens.shape[2]
        return torch.stack([head(hidden[:, k : k + n_cols]) for k, head in enumerate(self.heads)], dim=1)

    def log_p(self, tokens: Tensor, stream: int, text: Text | None = None) -> Tensor:
        """Return the log probability (b, w) of the tokens of one stream.

        Args:
            tokens: (b, K, w) codes, and ``mask_id`` for unknown ones.
            stream: number of the stream.
            text: text from ``read``; None for none.
        """
        n_cols = tokens.shape[2]
        hidden = self.hidden(self.delayed(tokens), self.attention(0), text)
        logits = self.heads[stream](hidden[:, stream : stream + n_cols]).float()
        return -F.cross_entropy(logits.flatten(0, 1), tokens[:, stream].flatten().long(), reduction="none").view(
            len(tokens), n_cols
        )
