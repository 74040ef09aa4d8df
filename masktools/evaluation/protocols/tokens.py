"""What the protocols do with tokens themselves: a pipeline that knows the answer, and the paper's way of decoding."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from masktools.pipeline import Pipeline, Progress
from masktools.shapes import Condition, Mask, Tokens
from masktools.solver import Plan, SolverConfig, SolveResult

__all__ = ["TrueTokens", "clean_tokens", "decode_masked"]


class TrueTokens(Pipeline):
    """A pipeline that fills masks with the right tokens: what its jobs give is the ceiling of tokenizer and vocoder.

    Everything else, levels and seams among them, is done as by the pipeline that it is made of.
    """

    def __init__(self, pipeline: Pipeline, answers: Iterable[Tensor] | None = None) -> None:
        """Take over the parts of a pipeline.

        Args:
            pipeline: whose parts.
            answers: right tokens (b, r, w), one for each call of ``fill``, in order; None where what it is given to
                fill holds them under the mask.
        """
        super().__init__(
            pipeline.mel,
            pipeline.tokenizer,
            pipeline.transformer,
            pipeline.vocoder,
            pipeline.conditioner,
            name=pipeline.name,
            decoding=pipeline.decoding,
            device=pipeline.device,
            precision=pipeline.precision,
            batch_size=pipeline.batch_size,
        )
        self._answers = None if answers is None else iter(answers)

    def fill(
        self,
        tokens: Tokens,
        mask: Mask,
        seeds: Sequence[int],
        solver: Plan = SolverConfig(),
        condition: Condition | None = None,
        overlap_cols: int | None = None,
        progress: Progress | None = None,
    ) -> SolveResult:
        """Return the right tokens."""
        return SolveResult(tokens if self._answers is None else next(self._answers), ())


def clean_tokens(pipeline: Pipeline, waves: np.ndarray) -> Tensor:
    """Return the tokens (b, r, w) of waves (b, t) at the pipeline's rate."""
    return pipeline.encode(torch.from_numpy(waves))


def decode_masked(
    pipeline: Pipeline,
    waves: np.ndarray,
    mask: Tensor,
    seeds: Sequence[int],
    solver: SolverConfig,
    leak_free: bool,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the decoder's version (b, t) of waves at the pipeline's rate, with masked tokens predicted.

    Nothing of the original is put back: so the paper does it.

    Args:
        pipeline: the model.
        waves: (b, t), with what is under the mask.
        mask: (r, w), True where tokens are predicted.
        seeds: one a wave.
        solver: settings of the decoding.
        leak_free: whether what is under the mask is erased before tokens are computed; the paper does not.
        progress: called after every prediction.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3.
    """
    mel = pipeline.to_mel(torch.from_numpy(waves))
    masks = mask.expand(len(waves), -1, -1).to(mel.device)
    tokens = pipeline.tokenise(pipeline.erase(mel, masks) if leak_free else mel)
    result = pipeline.fill(tokens, masks, seeds, solver, progress=progress)
    return pipeline.decode(result.tokens, waves.shape[1]).cpu().numpy()
