"""The last layer of a slicing adversarial network: a direction of length one, and a scale that is learned apart.

A discriminator measures how far two distributions are apart only if its last layer looks along the direction in which
they differ most. The layer is therefore trained by two outputs: one that moves everything but the direction, and one
that moves nothing but the direction.

Source: SAN (arXiv:2301.12811), section 4; BigVSAN (arXiv:2309.02836), section 3.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.errors import ParameterError

__all__ = ["SlicedConv", "normalise_directions"]

_TINY = 1e-12


class SlicedConv(nn.Module):
    """A convolution to one channel that keeps the length. ``forward``: (b, c, ...) -> (b, 1, ...), or two of them.

    The bias is added to the input, so that direction and scale alone make the output.
    """

    def __init__(self, n_in: int, kernel: Sequence[int]) -> None:
        super().__init__()
        if len(kernel) not in (1, 2) or any(size < 1 or size % 2 == 0 for size in kernel):
            raise ParameterError(f"kernel must be one or two odd positive sizes, got {tuple(kernel)}")
        plain = nn.Conv1d(n_in, 1, kernel[0]) if len(kernel) == 1 else nn.Conv2d(n_in, 1, (kernel[0], kernel[1]))
        length = plain.weight.detach().norm().clamp_min(_TINY)
        self.weight = nn.Parameter(plain.weight.detach() / length)
        self.scale = nn.Parameter(length.clone())
        self.bias = nn.Parameter(torch.zeros(n_in, *(1 for _ in kernel)))
        self.padding = tuple(size // 2 for size in kernel)

    @property
    def direction(self) -> Tensor:
        """The weight at length one."""
        return self.weight / self.weight.norm().clamp_min(_TINY)

    def _along(self, direction: Tensor, cells: Tensor) -> Tensor:
        convolve = F.conv1d if len(self.padding) == 1 else F.conv2d
        return convolve(cells, direction, padding=self.padding)

    def forward(self, cells: Tensor, split: bool = False) -> Tensor:
        """Return the logits; if ``split``, those for the scale and the features, and those for the direction, stacked.

        The first of the two gives no gradient to the direction, the second none to anything else.
        """
        shifted = cells + self.bias
        if not split:
            return self._along(self.direction, shifted) * self.scale
        judged = self._along(self.direction.detach(), shifted) * self.scale
        aimed = self._along(self.direction, shifted.detach()) * self.scale.detach()
        return torch.stack((judged, aimed))

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring the stored weight back to length one, as is due after every step of its optimiser."""
        self.weight.copy_(self.direction)


def normalise_directions(discriminator: nn.Module) -> None:
    """Bring the directions of all sliced layers of a discriminator back to length one."""
    for layer in discriminator.modules():
        if isinstance(layer, SlicedConv):
            layer.normalise()
