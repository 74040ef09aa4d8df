"""What a packed part refuses: it computes, but it neither learns nor takes other weights."""

from typing import Any

import torch
from torch import Tensor, nn

from masktools.errors import ParameterError

__all__ = ["refuse_gradients", "refuse_weights"]


def refuse_gradients(rows: Tensor) -> None:
    """Refuse what enters a packed layer if gradients are wanted, which would come out as zero.

    Raises:
        ParameterError: they are.
    """
    if rows.requires_grad and torch.is_grad_enabled():
        raise ParameterError(
            "a packed layer gives no gradients: load the part's state_dict into one that is not packed, and train that"
        )


def refuse_weights(part: nn.Module) -> None:
    """Have a part refuse weights from now on, before any of them has changed it."""
    part.register_load_state_dict_pre_hook(_refuse)


def _refuse(*_: Any) -> None:
    raise ParameterError("a packed part must keep its weights: load others into one that is not packed, and pack that")
