"""The axes of the house, and the tensor types that name them.

    b  clips in a batch          t  wave samples
    f  mel bins                  m  mel frames
    r  token rows (frequency)    w  token columns (time)
    n  tokens of one clip        k  codebook entries
    d  embedding dimensions

A mask is True where the model must predict and False where the audio is known. Tokens are flattened
time-major: position n = w * n_rows + r, row 0 the lowest band, so that a longer clip never renumbers
the positions of a shorter one.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Wave = Float[Tensor, "b t"]
Mel = Float[Tensor, "b f m"]
Tokens = Int[Tensor, "b r w"]
Mask = Bool[Tensor, "b r w"]
FlatTokens = Int[Tensor, "b n"]
FlatMask = Bool[Tensor, "b n"]
Logits = Float[Tensor, "b n k"]
Condition = Float[Tensor, "b d"]


def flatten(grid: Tensor) -> Tensor:
    """Return a grid (b, r, w) as the sequence (b, n) that the transformer reads, time-major."""
    return grid.transpose(-1, -2).flatten(-2)


def unflatten(sequence: Tensor, n_rows: int) -> Tensor:
    """Return a time-major sequence (b, n) as the grid (b, r, w); the inverse of ``flatten``."""
    return sequence.unflatten(-1, (-1, n_rows)).transpose(-1, -2)
