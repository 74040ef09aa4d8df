"""Faster predictors: a cache of keys and values between steps; the network compiled for fixed shapes.

In a full call every position passes through all blocks, and the keys and values of each block are cached. In
a recall only some positions, and the prefix, pass through; as queries they read the keys and values of
all positions, their own new ones and the cached ones of the others. If all positions pass, the two are equal.

On a GPU a step of a single clip is so short that launching its hundreds of kernels takes longer than computing them,
which compilation avoids.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from shutil import which
from typing import Any

import torch
from torch import Tensor

from masktools.core.errors import DeviceError, ParameterError
from masktools.core.runtime import in_batches
from masktools.core.shapes import Condition, FlatMask, FlatTokens, Logits
from masktools.networks.transformer.model import MaskedTransformer, attend


class CachedPredictor:
    """The masked transformer as a predictor for the solver, with a cache of keys and values.

    For each item and each pass the cache holds two vectors per position and block: 39 MB at the paper's size in
    single precision.

    Source: ReCAP (arXiv:2505.19089), for full steps and steps with cached context.
    Differs: there the cached context is of known tokens only; here it is of all that are not recomputed.
    """

    def __init__(
        self,
        transformer: MaskedTransformer,
        condition: Condition | None,
        batch_size: int,
        precision: Callable[[], AbstractContextManager[Any]],
        on_call: Callable[[], object] | None = None,
    ) -> None:
        """Make a predictor with an empty cache.

        Args:
            transformer: the network.
            condition: one condition for each item of the solver's batch, or None for none at all.
            batch_size: clips computed at once; reduced when memory runs out.
            precision: function that returns the autocast context of the network.
            on_call: called after every prediction.
        """
        self._transformer, self._condition = transformer, condition
        self._batch_size = 1 if transformer.one_by_one else batch_size
        self._precision, self._on_call = precision, on_call
        self._kept: dict[bool, list[Tensor]] = {}  # pass -> (items, 1 + n + 1, 2, heads, head width) of each block

    @torch.inference_mode()
    def __call__(self, tokens: FlatTokens, mask: FlatMask, items: Tensor, conditional: bool) -> Logits:
        """Return the logits of all positions, and cache keys and values."""
        return self._in_parts(tokens, mask, items, conditional, None)

    @torch.inference_mode()
    def recall(self, tokens: FlatTokens, mask: FlatMask, items: Tensor, conditional: bool, slots: FlatMask) -> Logits:
        """Return the logits of ``slots``, 0 elsewhere, and update the cache there.

        Raises:
            ParameterError: an item that this pass has not cached, or that had another length then.
        """
        kept = self._kept.get(conditional, [])
        if not kept or int(items.max()) >= len(kept[0]) or kept[0].shape[1] != tokens.shape[1] + 2:
            raise ParameterError("recall must follow a call for the same items, with as many tokens: call it first")
        return self._in_parts(tokens, mask, items, conditional, slots)

    def _in_parts(self, tokens: Tensor, mask: Tensor, items: Tensor, conditional: bool, slots: Tensor | None) -> Tensor:
        def compute(part: slice) -> Tensor:
            own = items[part]
            given = self._condition[own] if conditional and self._condition is not None else None
            with self._precision():
                entered = self._transformer.enter(tokens[part], mask[part], given, None)
                if slots is None:
                    return self._all(entered, own, conditional).float()
                return self._some(entered, own, conditional, slots[part]).float()

        logits, self._batch_size = in_batches(compute, len(tokens), self._batch_size)
        if self._on_call is not None:
            self._on_call()
        return torch.cat(logits)

    def _all(self, entered: Tensor, items: Tensor, conditional: bool) -> Tensor:
        """Return the logits of all positions."""
        hidden, n = entered, entered.shape[1]
        for depth, block in enumerate(self._blocks()):
            queries, pairs = _project(block, hidden)
            kept = self._room(conditional, depth, int(items.max()) + 1, pairs)
            kept[items, :n] = pairs
            hidden = _finish(block, hidden, queries, pairs)
        return self._head(hidden[:, 1:])

    def _some(self, entered: Tensor, items: Tensor, conditional: bool, slots: Tensor) -> Tensor:
        """Return the logits of some positions, 0 elsewhere."""
        b, n_places, width = entered.shape  # the prefix and the n tokens
        n_most = int(slots.sum(dim=1).max())
        order = slots.byte().argsort(dim=1, descending=True, stable=True)[:, :n_most]  # positions to compute first
        own = slots.gather(1, order)
        prefix = order.new_zeros(b, 1)
        read = torch.cat([prefix, 1 + order], dim=1)
        written = torch.cat([prefix, (1 + order).where(own, n_places)], dim=1)  # padding goes behind the end
        hidden = entered.gather(1, read[:, :, None].expand(-1, -1, width))
        for depth, block in enumerate(self._blocks()):
            queries, pairs = _project(block, hidden)
            kept = self._kept[conditional][depth]
            kept[items[:, None], written] = pairs
            hidden = _finish(block, hidden, queries, kept[items, :n_places])
        logits = self._head(hidden[:, 1:])
        places = order.where(own, n_places - 1)[:, :, None].expand(-1, -1, logits.shape[2])
        return logits.new_zeros(b, n_places, logits.shape[2]).scatter(1, places, logits)[:, :-1]

    def _blocks(self) -> list[Any]:
        return list(self._transformer.blocks)

    def _head(self, hidden: Tensor) -> Tensor:
        return self._transformer.predict_head(self._transformer.norm(hidden))

    def _room(self, conditional: bool, depth: int, n_items: int, pairs: Tensor) -> Tensor:
        """Return the cache of a block's keys and values, resized if its shape has changed."""
        blocks = self._kept.setdefault(conditional, [])
        before = blocks[depth] if depth < len(blocks) else None
        shape = (pairs.shape[1] + 1, *pairs.shape[2:])  # one more, for padding
        if before is not None and before.shape[1:] == shape and before.dtype == pairs.dtype and len(before) >= n_items:
            return before
        room = pairs.new_zeros(n_items, *shape)
        if before is None:
            blocks.append(room)
            return room
        if before.shape[1:] == shape and before.dtype == pairs.dtype:
            room[: len(before)] = before
        blocks[depth] = room
        return room


def _project(block: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return the queries (b, q, heads, head width), and keys and values (b, q, 2, heads, head width) of positions."""
    attention = block.attn
    mixed = attention.qkv(block.norm1(hidden)).unflatten(-1, (3, attention.num_heads, attention.head_dim))
    return mixed[:, :, 0], mixed[:, :, 1:]


def _finish(block: Any, hidden: Tensor, queries: Tensor, pairs: Tensor) -> Tensor:
    """Return the block's output for some positions, given the keys and values of all."""
    keys, values = pairs[:, :, 0].transpose(1, 2), pairs[:, :, 1].transpose(1, 2)
    read = attend(queries.transpose(1, 2), keys, values)
    hidden = hidden + block.attn.proj(read.transpose(1, 2).flatten(2))
    return hidden + block.mlp(block.norm2(hidden))


def check_compiler(device: torch.device) -> None:
    """Raise where torch's compiler lacks what it needs.

    Raises:
        DeviceError: it is not usable.
    """
    if device.type == "cuda" and find_spec("triton") is None:
        raise DeviceError("compiling for a GPU needs triton, which is not installed: load the model without compile")
    if device.type == "cpu" and not any(which(name) for name in (os.environ.get("CXX") or "g++", "clang++")):
        raise DeviceError("compiling for the CPU needs g++ or clang++, none is found: load the model without compile")


class CompiledLogits:
    """``MaskedTransformer.logits``, compiled. Called like it: (b, n), (b, n), (b, d) -> (b, n, k).

    Batches are padded to powers of two, so that few shapes are compiled: about a minute each at the first call.
    """

    def __init__(self, transformer: MaskedTransformer, backend: str = "inductor") -> None:
        """Prepare to compile.

        Args:
            transformer: transformer on its device; it must not change any more.
            backend: torch's name of the compiler backend.
        """
        self._graphs = transformer.position.device.type == "cuda" and backend == "inductor"
        mode = "reduce-overhead" if self._graphs else None
        self._logits = torch.compile(transformer.logits, dynamic=False, backend=backend, mode=mode)

    def __call__(
        self, tokens: FlatTokens, mask: FlatMask, condition: Condition | None = None, only_masked: bool = False
    ) -> Logits:
        """Return the logits of every position, even where only masked ones are wanted."""
        n_clips = len(tokens)
        n_rows = 1 << (n_clips - 1).bit_length()
        given = _filled_up(tokens, n_rows), _filled_up(mask, n_rows)
        prefix = None if condition is None else _filled_up(condition, n_rows)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()
        return self._logits(*given, prefix)[:n_clips].clone()  # the graph reuses its output memory


def _filled_up(part: Tensor, n_rows: int) -> Tensor:
    """Return a batch padded with copies of its first clip."""
    missing = n_rows - len(part)
    return torch.cat([part, part[:1].expand(missing, *part.shape[1:])]) if missing else part.contiguous()
