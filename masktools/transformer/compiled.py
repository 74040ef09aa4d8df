"""The transformer compiled for fixed shapes: on a GPU one recorded graph for each, launched as a whole.

A step of a single clip is so short there that launching its hundreds of kernels takes longer than computing them.
"""

import os
from importlib.util import find_spec
from shutil import which

import torch
from torch import Tensor

from masktools.errors import DeviceError
from masktools.shapes import Condition, FlatMask, FlatTokens, Logits
from masktools.transformer.model import MaskedTransformer

__all__ = ["CompiledLogits", "check_compiler"]


def check_compiler(device: torch.device) -> None:
    """Check that torch finds what it compiles with.

    Raises:
        DeviceError: it does not.
    """
    if device.type == "cuda" and find_spec("triton") is None:
        raise DeviceError("compiling for a GPU needs triton, which is not installed: load the model without compile")
    if device.type == "cpu" and not any(which(name) for name in (os.environ.get("CXX") or "g++", "clang++")):
        raise DeviceError("compiling for the CPU needs g++ or clang++, none is found: load the model without compile")


class CompiledLogits:
    """``MaskedTransformer.logits``, compiled. Called like it: (b, n), (b, n), (b, d) -> (b, n, k).

    Batches are filled up to powers of two, so that few shapes are compiled: a minute or so each at the first call.
    """

    def __init__(self, transformer: MaskedTransformer, backend: str = "inductor") -> None:
        """Prepare to compile.

        Args:
            transformer: on its device, and not to be changed any more.
            backend: torch's name of the compiler.
        """
        self._graphs = transformer.position.device.type == "cuda" and backend == "inductor"
        mode = "reduce-overhead" if self._graphs else None
        self._logits = torch.compile(transformer.logits, dynamic=False, backend=backend, mode=mode)

    def __call__(
        self, tokens: FlatTokens, mask: FlatMask, condition: Condition | None = None, only_masked: bool = False
    ) -> Logits:
        """Return the logits of every slot, whether only those of masked ones are wanted or not."""
        n_clips = len(tokens)
        n_rows = 1 << (n_clips - 1).bit_length()
        given = _filled_up(tokens, n_rows), _filled_up(mask, n_rows)
        prefix = None if condition is None else _filled_up(condition, n_rows)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()
        return self._logits(*given, prefix)[:n_clips].clone()  # a graph writes its next result to the same place


def _filled_up(part: Tensor, n_rows: int) -> Tensor:
    """Return a batch with its first clip again and again up to a number of clips."""
    missing = n_rows - len(part)
    return torch.cat([part, part[:1].expand(missing, *part.shape[1:])]) if missing else part.contiguous()
