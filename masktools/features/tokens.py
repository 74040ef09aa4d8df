"""The tokens of one recording, window by window, computed while it is read: memory does not grow with its length.

Whatever is asked for beside it, a recording's tokens are computed alone and cut in the same places, so that they are
the same in every batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.features.inputs import Source, mono_blocks
from masktools.features.windows import Times
from masktools.pipeline import Pipeline
from masktools.segments import Window, cover
from masktools.shapes import Mel, Wave

__all__ = ["Heard", "hear"]

_CONTEXT_COLS = 4  # what the tokenizer sees beyond the columns that are kept
_MEL_CONTEXT_COLS = 1  # what the front end sees beyond those


@dataclass(frozen=True, eq=False)
class Heard:
    """What the transformer reads at once: the tokens (r, w) of a window of columns, and perhaps its wave (1, t)."""

    window: Window
    tokens: Tensor
    wave: Wave | None


def hear(
    pipeline: Pipeline, source: Source, times: Times, shift: int, window_cols: int, wave: bool = False
) -> Iterator[Heard]:
    """Yield the windows of a recording in order; the last one ends with it and may begin in the one before.

    Args:
        pipeline: the model.
        source: the recording.
        times: its columns.
        shift: the number of the shift that is heard.
        window_cols: how much is heard at once.
        wave: whether the wave of each window is wanted too.

    Raises:
        AudioError: samples that are not finite.
    """
    n_cols = times.n_columns(shift)
    if not n_cols:
        return
    pending = cover(n_cols, window_cols, window_cols)
    tokens = torch.empty(pipeline.grid.n_rows, n_cols, dtype=torch.int64)
    buffer = _Buffer(source, pipeline.sample_rate)
    columns = _Columns(pipeline, buffer, times.first_frame(shift))
    for read, kept in _token_windows(n_cols, pipeline.window_cols):
        found = pipeline.tokenise(columns.mel(read))[0].cpu()
        tokens[:, kept.start : kept.stop] = found[:, kept.start - read.start : kept.stop - read.start]
        while pending and pending[0].stop <= kept.stop:
            window = pending.pop(0)
            own = columns.wave(window) if wave else None
            yield Heard(window, tokens[:, window.start : window.stop], own)
        needed = kept.stop - _CONTEXT_COLS - _MEL_CONTEXT_COLS - pipeline.window_cols
        columns.forget(min(needed, pending[0].start) if wave and pending else needed)


def _token_windows(n_cols: int, window_cols: int) -> Iterator[tuple[Window, Window]]:
    """Yield the columns that the tokenizer reads at once, and those of them whose tokens are kept."""
    context = min(_CONTEXT_COLS, (window_cols - 1) // 2)
    windows = cover(n_cols, window_cols, window_cols - 2 * context)
    cuts = [0, *((before.stop + after.start) // 2 for before, after in pairwise(windows)), n_cols]
    for window, (start, stop) in zip(windows, pairwise(cuts), strict=True):
        yield window, Window(start, stop)


class _Buffer:
    """The part of a wave that is still needed, at the model's rate."""

    def __init__(self, source: Source, sample_rate: int) -> None:
        self.n_samples = source.samples_at(sample_rate)
        self._blocks = mono_blocks(source, sample_rate)
        self._start, self._held = 0, np.zeros(0, np.float32)

    def take(self, start: int, stop: int) -> Wave:
        """Return samples [start, stop), (1, t), as far as there are any."""
        stop = min(stop, self.n_samples)
        missing, pieces = stop - self._start - len(self._held), [self._held]
        while missing > 0:
            pieces.append(next(self._blocks))
            missing -= len(pieces[-1])
        if len(pieces) > 1:
            self._held = np.concatenate(pieces)
        return torch.from_numpy(self._held[None, start - self._start : stop - self._start])

    def forget(self, before: int) -> None:
        """Let go of samples that come before one."""
        n_gone = min(max(0, before - self._start), len(self._held))
        self._start, self._held = self._start + n_gone, self._held[n_gone:].copy()


class _Columns:
    """The columns of a wave, the first of which begins with a mel frame of it or before it, in silence."""

    def __init__(self, pipeline: Pipeline, buffer: _Buffer, first_frame: int) -> None:
        self.pipeline, self.buffer, self.first_frame = pipeline, buffer, first_frame

    def frame(self, column: int) -> int:
        """Return the mel frame with which a column begins."""
        return self.first_frame + column * self.pipeline.grid.patch_frames

    def mel(self, window: Window) -> Mel:
        """Return the mel spectrogram (1, f, m) of some columns, as it is in that of the whole wave."""
        hop, silence = self.pipeline.mel.hop_length, self.pipeline.front_end.silence
        start, stop = self.frame(window.start), self.frame(window.stop)
        first = max(0, self.frame(window.start - _MEL_CONTEXT_COLS))
        wave = self.buffer.take(first * hop, self.frame(window.stop + _MEL_CONTEXT_COLS) * hop)
        mel = self.pipeline.to_mel(wave)[..., max(0, start - first) : stop - first]
        n_before = max(0, -start)
        return F.pad(mel, (n_before, stop - start - n_before - mel.shape[-1]), value=silence)

    def wave(self, window: Window) -> Wave:
        """Return what some columns sound like."""
        hop = self.pipeline.mel.hop_length
        return self.buffer.take(max(0, self.frame(window.start)) * hop, self.frame(window.stop) * hop).clone()

    def forget(self, before: int) -> None:
        """Let go of columns that come before one."""
        self.buffer.forget(self.frame(before) * self.pipeline.mel.hop_length)
