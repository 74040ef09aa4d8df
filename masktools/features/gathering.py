"""Windows of many recordings -> batches of one width -> vectors -> the embedding of each recording."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masktools.features.layers import ClipPool, Embedding, LayerChoice, frame_factor, hidden_states, pool_rows
from masktools.features.windows import Times
from masktools.pipeline import Pipeline, Progress
from masktools.segments import Window
from masktools.shapes import flatten


class Gathered:
    """The embedding of one recording while its windows come in; those of one shift in order.

    Args:
        times: the columns and frames of the recording.
        choice: the layers.
        pool: how vectors become one.
        width: numbers in the vector of one token.
        frames: whether the vectors of moments are wanted.
        tokens: whether the tokens are wanted.
        duration_s: of the recording.
    """

    def __init__(
        self, times: Times, choice: LayerChoice, pool: str, width: int, frames: bool, tokens: bool, duration_s: float
    ) -> None:
        self.times, self.choice, self.pool, self.duration_s = times, choice, pool, duration_s
        n_rows, self._position = times.grid.n_rows, dict.fromkeys(range(times.hop.n_shifts), 0)
        self._clip = ClipPool(pool)
        shape = (n_rows, width) if pool == "none" else (frame_factor(pool, n_rows) * width,)
        start = -np.inf if pool == "max" else 0.0
        self._frames = np.full((choice.n_out, times.n_frames, *shape), start, np.float32) if frames else None
        self._counts = np.zeros(times.n_frames, np.int64)
        self._tokens = np.empty((n_rows, times.n_columns()), np.uint16) if tokens else None

    def take(self, columns: np.ndarray, window: Window, tokens: Tensor, shift: int) -> None:
        """Take in the vectors (l, w, ...) of a window; of columns that came before, the first ones are kept."""
        start, stop = self._position[shift], window.stop
        self._position[shift] = stop
        columns = columns[:, start - window.start :]
        if shift == self.times.hop.home and self._tokens is not None:
            self._tokens[:, start:stop] = tokens[:, start - window.start :].numpy()
        numbers = self.times.frame_of(range(start, stop), shift)
        inside = numbers < len(self._counts)  # some shifts begin or end outside the recording
        if inside.any():
            self._clip.add(columns[:, inside])
            self._lay(columns[:, inside], numbers[inside])

    def _lay(self, columns: np.ndarray, numbers: np.ndarray) -> None:
        """Put the vectors of columns where their frames are."""
        if self._frames is None:
            return
        if self.times.hop.stretch_s is None:
            self._frames[:, numbers] = columns
            return
        for number in range(numbers[0], numbers[-1] + 1):
            of_frame = columns[:, numbers == number]
            if self.pool == "max":
                self._frames[:, number] = np.maximum(self._frames[:, number], of_frame.max(axis=1))
            else:
                self._frames[:, number] += of_frame.sum(axis=1)
                self._counts[number] += of_frame.shape[1]

    def embedding(self) -> Embedding:
        """Return what came in as one embedding."""
        clip, frames = self._clip.vector(), self._frames
        if frames is not None and self.times.hop.stretch_s is not None and self.pool != "max":
            frames /= self._counts.reshape(1, -1, *[1] * (frames.ndim - 2))
        if self.choice.single:
            clip, frames = (None if array is None else array[0] for array in (clip, frames))
        return Embedding(
            clip=clip,
            frames=frames,
            times_s=None if frames is None else self.times.seconds(),
            tokens=self._tokens,
            duration_s=self.duration_s,
        )


@dataclass(frozen=True, eq=False)
class Task:
    """A window that waits for the transformer, and whose it is."""

    gathered: Gathered
    window: Window
    shift: int
    tokens: Tensor  # (r, w)
    condition: Tensor | None  # (d,)


def windows_at_once(pipeline: Pipeline) -> int:
    """Return how many windows are computed at once: ``batch_size`` on a GPU, one on a CPU.

    Matrix products of other sizes are rounded in another order: some 2e-5 in states as large as 60.
    """
    return 1 if pipeline.device.type == "cpu" else pipeline.batch_size


class Batches:
    """Tasks of one width at a time: nothing is ever padded.

    Args:
        pipeline: the model.
        choice: the layers.
        pool: how vectors become one.
        progress: called with (windows done, windows in all).
        n_windows: windows in all.
    """

    def __init__(
        self, pipeline: Pipeline, choice: LayerChoice, pool: str, progress: Progress | None, n_windows: int
    ) -> None:
        self.pipeline, self.choice, self.pool = pipeline, choice, pool
        self.progress, self.n_windows, self._n_done = progress, n_windows, 0
        self._at_once = windows_at_once(pipeline)
        self._waiting: defaultdict[int, list[Task]] = defaultdict(list)

    def add(self, task: Task) -> None:
        """Take a task, and compute those of its width when they are a batch."""
        waiting = self._waiting[task.window.length]
        waiting.append(task)
        if len(waiting) >= self._at_once:
            self._compute(self._waiting.pop(task.window.length))

    def finish(self) -> None:
        """Compute what still waits."""
        for width in sorted(self._waiting):
            self._compute(self._waiting.pop(width))

    @torch.inference_mode()
    def _compute(self, tasks: list[Task]) -> None:
        device, n_rows = self.pipeline.device, self.pipeline.grid.n_rows
        tokens = flatten(torch.stack([task.tokens for task in tasks])).to(device)
        given = [task.condition for task in tasks if task.condition is not None]
        with self.pipeline.autocast():
            states = hidden_states(
                self.pipeline.transformer, tokens, torch.stack(given).to(device) if given else None, self.choice
            )
        by_column = pool_rows(states.float().unflatten(2, (-1, n_rows)), self.pool).cpu().numpy()
        for number, task in enumerate(tasks):
            task.gathered.take(by_column[:, number], task.window, task.tokens, task.shift)
        self._n_done += len(tasks)
        if self.progress is not None:
            self.progress(self._n_done, self.n_windows)
