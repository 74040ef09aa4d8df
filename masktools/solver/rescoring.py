"""Rescoring: an external model has a share in the confidence of what was drawn, and in nothing else."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from masktools.errors import MasktoolsError, ParameterError
from masktools.shapes import FlatTokens

__all__ = ["Rescore", "mixed_confidence"]

Rescore = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Any function of (tokens (a, n), mask (a, n), items (a,)) to log probabilities (a, n) of the tokens.

The tokens are a complete candidate: known ones, and drawn ones under the mask. ``items`` is as for ``Predict``.
"""


def mixed_confidence(
    rescore: Rescore,
    tokens: FlatTokens,
    mask: Bool[Tensor, "a n"],
    items: Int64[Tensor, "a"],
    log_p: Float[Tensor, "a n"],
    weight: float,
) -> Float[Tensor, "a n"]:
    """Return the log of weight * external + (1 - weight) * own probability of each drawn token.

    Args:
        rescore: The external model.
        tokens: The candidate.
        mask: Where its tokens were drawn.
        items: Index of the rows in the original batch.
        log_p: Log probabilities under the predictor.
        weight: Share of the external model in [0, 1]; 0 does without it.

    Raises:
        ParameterError: If the external model returns something else than log probabilities (a, n).
        MasktoolsError: If they hold NaN or plus infinity where a token was drawn.

    Source: MAGNeT (arXiv:2401.04577), section 3.4 and figure 4: the mix decides what stays masked, after the draw.
        Differs: Eq. 5 of the text gives the predictor the weight, and speaks of drawing from the mix.
    """
    if weight == 0:
        return log_p
    external = rescore(tokens, mask, items)
    if not isinstance(external, Tensor) or not external.is_floating_point() or external.shape != log_p.shape:
        got = tuple(external.shape) if isinstance(external, Tensor) else type(external).__name__
        raise ParameterError(f"rescore must return log probabilities of shape {tuple(log_p.shape)}, got {got}")
    external = external.to(log_p)
    if (external.isnan() | external.isposinf())[mask].any():
        raise MasktoolsError("rescore must return log probabilities without NaN or +inf for every drawn token")
    if weight == 1:
        return external
    shares = torch.log(log_p.new_tensor([weight, 1 - weight]))
    return torch.logaddexp(external + shares[0], log_p + shares[1])
