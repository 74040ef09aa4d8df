"""Axes and tensor types of the package, and windows over the longest axis, time.

    b  clips in a batch          t  wave samples
    f  mel bins                  m  mel frames
    r  token rows (frequency)    w  token columns (time)
    n  tokens of one clip        k  codebook entries
    d  embedding dimensions

A mask is True where the model must predict and False where the audio is known. Tokens are flattened
time-major: position n = w * n_rows + r, row 0 the lowest band, so that a longer clip never renumbers
the positions of a shorter one.

    |-------- window --------|
                 |-------- window --------|
                      |-------- window --------|   the last one ends where the recording ends
    |---- hop ---|

Lengths are in samples, or in units of the last axis.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from masktools.core.arguments import check_least
from masktools.core.errors import ParameterError

Wave = Float[Tensor, "b t"]
Mel = Float[Tensor, "b f m"]
Tokens = Int[Tensor, "b r w"]
Mask = Bool[Tensor, "b r w"]
FlatTokens = Int[Tensor, "b n"]
FlatMask = Bool[Tensor, "b n"]
Logits = Float[Tensor, "b n k"]
Condition = Float[Tensor, "b d"]


def flatten(grid: Tensor) -> Tensor:
    """Return a grid (b, r, w) as the transformer's input sequence (b, n), time-major."""
    return grid.transpose(-1, -2).flatten(-2)


def unflatten(sequence: Tensor, n_rows: int) -> Tensor:
    """Return a time-major sequence (b, n) as the grid (b, r, w); the inverse of ``flatten``."""
    return sequence.unflatten(-1, (-1, n_rows)).transpose(-1, -2)


class Window(NamedTuple):
    """A half-open stretch [start, stop) of a recording."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of samples in the window."""
        return self.stop - self.start

    def scaled(self, factor: int) -> "Window":
        """Return the same span in units of which ``factor`` make one of these."""
        return Window(self.start * factor, self.stop * factor)


def cover(n: int, window: int, hop: int) -> list[Window]:
    """Return the windows that cover a recording of n samples, in order.

    All have the same length; each starts ``hop`` after the one before, but the last ends with the recording. A
    recording shorter than a window gets one window of its own length, for the caller to pad and trim.

    >>> cover(10, window=4, hop=3)
    [Window(start=0, stop=4), Window(start=3, stop=7), Window(start=6, stop=10)]

    Args:
        n: length of the recording, at least 1.
        window: length of a window, at least 1.
        hop: distance from window to window, from 1 to ``window``.

    Raises:
        ParameterError: a length out of its range.
    """
    check_least(1, n=n, window=window)
    if not 1 <= hop <= window:
        raise ParameterError(f"hop must lie in [1, {window}], got {hop}: a longer one leaves holes")
    if n <= window:
        return [Window(0, n)]
    last = n - window
    return [Window(start, start + window) for start in (*range(0, last, hop), last)]


def stitch(parts: Sequence[Tensor], windows: Sequence[Window], n: int, fade: int) -> Tensor:
    """Return the recording (..., n) from windows, joined by linear cross-fades.

    The cross-fade from one part to the next is in the middle of their overlap and has the length ``fade``, or that of
    the overlap if that is shorter. At every sample the weights sum to one, so that identical parts are reproduced
    are, bit for bit.

    Args:
        parts: one tensor (..., length) of floats for each window.
        windows: windows in order, as from ``cover``: no hole between them, none inside another.
        n: length of the recording.
        fade: length of a cross-fade, at least 0, which is a hard cut.
    """
    first = parts[0]
    wave = first.new_empty((*first.shape[:-1], n))
    wave[..., : windows[0].stop] = first
    for part, window, before in zip(parts[1:], windows[1:], windows, strict=False):
        n_shared = before.stop - window.start
        shared = wave[..., window.start : before.stop]
        rise = _rise(n_shared, min(fade, n_shared), like=first)
        wave[..., window.start : before.stop] = torch.lerp(shared, part[..., :n_shared], rise)
        wave[..., before.stop : window.stop] = part[..., n_shared:]
    return wave


def _rise(n_shared: int, fade: int, like: Tensor) -> Tensor:
    """Return the weight of the later part over an overlap: 0, a line of length ``fade`` in the middle, 1."""
    since_middle = torch.arange(n_shared, device=like.device, dtype=torch.float64) + 0.5 - n_shared / 2
    rise = (since_middle / fade + 0.5).clamp(0.0, 1.0) if fade else (since_middle > 0)
    return rise.to(like.dtype)
