"""Recordings -> sources, read piece by piece -> windows in batches -> embeddings with times.

Whatever the other options, the tokens of a recording are computed alone and cut at the same positions, so that they are
the same in every batch.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.arguments import checked_real, plain, shown
from masktools.core.arrays import as_recording, checked_rate
from masktools.core.errors import AudioError, MasktoolsError, ParameterError, unknown_name
from masktools.core.shapes import Mel, Wave, Window, cover, flatten
from masktools.features.layers import ClipPool, Embedding, LayerChoice, frame_factor, hidden_states, pool_rows
from masktools.io import Recording
from masktools.mel.spectrogram import TokenGrid
from masktools.pipeline import Pipeline, Progress

Rates = int | float | np.integer | np.floating | Sequence[int | None] | np.ndarray | Tensor | None
"""Sampling rates in Hz: one for all, one for each, or None where every recording has its own."""

_BLOCK = 1 << 17  # samples of each channel that are read at once


@dataclass(frozen=True, eq=False)
class Source:
    """A recording that is read piece by piece.

    Attributes:
        read: (start, stop) -> samples (channels, stop - start) as floats, full scale 1.
        n_samples: samples in each channel.
        sample_rate: sampling rate in Hz.
        name: name of the recording in error messages.
    """

    read: Callable[[int, int], np.ndarray]
    n_samples: int
    sample_rate: int
    name: str = "the recording"

    def __post_init__(self) -> None:
        """Check that there is something to read."""
        checked_rate(self.sample_rate)
        if self.n_samples < 1:
            raise AudioError(f"{self.name} must have at least one sample, got {self.n_samples}")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def samples_at(self, sample_rate: int) -> int:
        """Return the length in samples at another rate, rounded to the nearest, at least 1."""
        return max(1, (2 * self.n_samples * sample_rate + self.sample_rate) // (2 * self.sample_rate))


Waves = np.ndarray | Tensor | Recording | Source | Sequence[Any]
"""A recording, or a list or tuple of recordings: arrays, tensors, open audio files or sources."""


def as_sources(waves: Waves, sample_rate: Rates) -> tuple[list[Source], bool]:
    """Return recordings as sources, and whether the input was a single recording.

    Args:
        waves: numpy (t,) or (t, channels); torch (t,), (channels, t) or (b, channels, t); an open audio file; a source;
            or a list or tuple of these.
        sample_rate: sampling rate in Hz, one for all or one for each; files and sources have their own.

    Raises:
        AudioError: no samples, or some that are not finite.
        ParameterError: another kind or shape, or rates that do not fit.
    """
    if isinstance(waves, Tensor) and waves.ndim == 3:
        waves = list(waves)
    if not isinstance(waves, list | tuple):
        return [_source(waves, _one_rate(sample_rate, waves))], True
    rates = _rates(sample_rate, len(waves))
    sources = []
    for index, (wave, rate) in enumerate(zip(waves, rates, strict=True)):
        try:
            sources.append(_source(wave, rate))
        except MasktoolsError as error:
            raise type(error)(f"wave {index} of {len(waves)}: {error}") from error
    return sources, False


def _one_rate(sample_rate: Any, wave: object) -> Any:
    sample_rate = plain(sample_rate)
    if isinstance(sample_rate, list | tuple | np.ndarray | Tensor):
        raise ParameterError(f"one wave has one sample_rate, got {shown(sample_rate)} for a {type(wave).__name__}")
    return sample_rate


def _rates(sample_rate: Any, n_waves: int) -> Sequence[Any]:
    sample_rate = plain(sample_rate)
    if not isinstance(sample_rate, list | tuple | np.ndarray | Tensor):
        return [sample_rate] * n_waves
    try:
        rates = sample_rate.tolist() if isinstance(sample_rate, Tensor) else list(sample_rate)
    except (RuntimeError, NotImplementedError):  # a tensor of another kind, or one that cannot be read
        raise ParameterError(f"sample_rate must be numbers of Hz, got {shown(sample_rate)}") from None
    if len(rates) != n_waves:
        raise ParameterError(f"sample_rate must be one for all or one for each wave, got {len(rates)} for {n_waves}")
    return rates


def _source(wave: object, rate: Any) -> Source:
    if isinstance(wave, Source):
        return wave
    if isinstance(wave, Recording):
        return Source(wave.read, wave.n_samples, wave.sample_rate, str(wave.path))
    if rate is None:
        raise ParameterError("sample_rate must be given in Hz for arrays and tensors, got None")
    if not isinstance(wave, np.ndarray | Tensor):
        raise ParameterError(
            "a wave must be a numpy array (t,) or (t, channels), a torch tensor (t,) or (channels, t), an open audio "
            f"file or a Source, got {type(wave).__name__}"
        )
    channels = as_recording(wave, rate)
    return Source(lambda start, stop: channels[:, start:stop], channels.shape[1], checked_rate(rate))


def mono_blocks(source: Source, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the average of a source's channels at another rate, in pieces, float32 (t,).

    The pieces joined equal the output of one resampling call, bit for bit, ``source.samples_at(sample_rate)`` long.

    Raises:
        AudioError: samples that are not finite, or fewer than there should be.
    """
    n_left = source.samples_at(sample_rate)
    same = source.sample_rate == sample_rate
    stream = None if same else soxr.ResampleStream(source.sample_rate, sample_rate, 1, dtype="float32", quality="VHQ")
    for start in range(0, source.n_samples, _BLOCK):
        stop = min(start + _BLOCK, source.n_samples)
        mono = _mono(source, start, stop)
        piece = mono if stream is None else stream.resample_chunk(mono, last=stop == source.n_samples)
        piece = piece[:n_left]
        n_left -= len(piece)
        if len(piece):
            yield piece
    if n_left:  # the rates round up by a sample
        yield np.zeros(n_left, np.float32)


def _mono(source: Source, start: int, stop: int) -> np.ndarray:
    block = np.asarray(source.read(start, stop))
    if block.ndim != 2 or block.shape[1] != stop - start or not len(block) or block.dtype.kind != "f":
        raise AudioError(
            f"{source.name} must give floats (channels, {stop - start}) for the samples from {start} to {stop}, "
            f"got {block.dtype} of shape {block.shape}"
        )
    mono = block.astype(np.float32, copy=False).mean(axis=0)
    if not np.isfinite(mono).all():
        first = start + int(np.argmin(np.isfinite(mono)))
        raise AudioError(
            f"samples must be finite, but at {first / source.sample_rate:.4f} s (sample {first}) of {source.name} "
            "there is NaN or infinity: silence it first"
        )
    return mono


_ROUNDING = 1e-6  # relative; rounding error of a hop in seconds that was computed from samples


@dataclass(frozen=True)
class Hop:
    """Hop from one frame to the next.

    Attributes:
        n_shifts: number of passes, each with another offset: from half a column before the recording on,
            a part of a column later each time. Shift number ``n_shifts // 2`` begins with the recording.
        stretch_s: interval in seconds whose columns, by their centres, become one frame; None keeps columns apart.
    """

    n_shifts: int = 1
    stretch_s: float | None = None

    @property
    def home(self) -> int:
        """Number of the shift that begins with the recording."""
        return self.n_shifts // 2

    def seconds(self, grid: TokenGrid) -> float:
        """Return the time from one frame to the next."""
        return self.stretch_s or grid.column_s / self.n_shifts


def parse_hop(hop_s: float | None, grid: TokenGrid) -> Hop:
    """Return the hop for a request: None is a column, longer ones are exact, a shorter one is part of a column.

    A column has 16 mel frames, so its parts are a half, a quarter, an eighth and a sixteenth; the first that is no
    longer than the request is taken.

    Raises:
        ParameterError: a hop that is not positive, or shorter than a mel frame.
    """
    if hop_s is None:
        return Hop()
    shortest = grid.hop_length / grid.sample_rate
    hop_s = checked_real("hop_s", hop_s, "seconds")
    if not isfinite(hop_s) or hop_s < shortest * (1 - _ROUNDING):
        raise ParameterError(f"hop_s must be at least {shortest:.4f} s, a frame of the mel spectrogram, got {hop_s:g}")
    n_columns = hop_s / grid.column_s
    if abs(n_columns - 1) < _ROUNDING:
        return Hop()
    if n_columns > 1:
        return Hop(stretch_s=float(hop_s))
    parts = (n for n in range(1, grid.patch_frames + 1) if grid.patch_frames % n == 0)
    return Hop(n_shifts=next(n for n in parts if 1 / n <= n_columns * (1 + _ROUNDING)))


def check_window(window: str | float, window_cols: int, column_s: float) -> int:
    """Return the number of columns in a pass: ``model`` is as many as the model reads; a number is seconds.

    Raises:
        ParameterError: an unknown name, or a window longer than the model's.
    """
    if isinstance(window, str):
        if window != "model":
            raise unknown_name("window", window, ("model", "a number of seconds"))
        return window_cols
    longest = window_cols * column_s
    window = checked_real("window", window, "seconds")
    if not 0 < window <= longest * (1 + _ROUNDING):
        raise ParameterError(f"window must be model, or lie in (0, {longest:.4f}] s, got {window:g}")
    return min(window_cols, max(1, round(window / column_s)))


@dataclass(frozen=True)
class Times:
    """The columns and the frames of one recording. Each belongs to it if its centre does; there is always a first.

    Attributes:
        grid: positions of the tokens in time.
        hop: hop between frames.
        n_samples: length of the recording in samples.
        sample_rate: sampling rate of the recording in Hz.
    """

    grid: TokenGrid
    hop: Hop
    n_samples: int
    sample_rate: int

    def n_columns(self, shift: int | None = None) -> int:
        """Return the number of columns in a shift; in the one that begins with the recording if None."""
        number = self.hop.home if shift is None else shift
        column, ours, theirs = self.grid.column_samples, self.grid.sample_rate, self.sample_rate
        # The centre of column i, offset + (i + 1/2) * column, in units of half a sample at the product of both rates.
        offset = self.first_frame(number) * self.grid.hop_length
        n = (2 * self.n_samples * ours - 2 * offset * theirs + column * theirs) // (2 * column * theirs)
        return max(1 if number == self.hop.home else 0, n)

    def first_frame(self, shift: int) -> int:
        """Return the mel frame with which a shift begins; negative where it is before the recording."""
        return (shift - self.hop.home) * self.grid.patch_frames // self.hop.n_shifts

    def frame_of(self, columns: Sequence[int] | np.ndarray, shift: int = 0) -> np.ndarray:
        """Return for each column the index of the frame that it is part of; some are behind the last one."""
        numbers = np.asarray(columns)
        if self.hop.stretch_s is None:
            return numbers * self.hop.n_shifts + shift
        middles_s = (numbers + 0.5) * self.grid.column_s
        return np.floor(middles_s / self.hop.stretch_s * (1 + 1e-12)).astype(np.int64)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        if self.hop.stretch_s is not None:
            n_whole = int(self.n_samples / self.sample_rate / self.hop.stretch_s * (1 + 1e-12) + 0.5)
            last = int(self.frame_of([self.n_columns() - 1])[0])
            return max(1, min(n_whole, last + 1))
        if self.hop.n_shifts == 1:
            return self.n_columns()
        ours, theirs = self.hop.n_shifts * self.grid.sample_rate, self.grid.column_samples * self.sample_rate
        return 1 + self.n_samples * ours // theirs

    def seconds(self) -> np.ndarray:
        """Return the centres of the frames in s, float64; a recording shorter than half a frame has its own."""
        number = np.arange(self.n_frames)
        if self.hop.stretch_s is None:
            parts = self.hop.n_shifts
            twice = 2 * number + (parts == 1)  # shifted columns have their centres at 0, hop, 2 hop, ...
            times_s = twice * self.grid.column_samples / (2 * parts * self.grid.sample_rate)
        else:
            times_s = (number + 0.5) * self.hop.stretch_s
        duration_s = self.n_samples / self.sample_rate
        return times_s if times_s[0] <= duration_s else np.array([duration_s / 2])


_CONTEXT_COLS = 4  # receptive field of the tokenizer beyond the columns that are kept
_MEL_CONTEXT_COLS = 1  # receptive field of the mel spectrogram beyond those


@dataclass(frozen=True, eq=False)
class TokenisedWindow:
    """One input of the transformer: the tokens (r, w) of a window of columns, and optionally its audio (1, t)."""

    window: Window
    tokens: Tensor
    wave: Wave | None


def tokenised_windows(
    pipeline: Pipeline, source: Source, times: Times, shift: int, window_cols: int, wave: bool = False
) -> Iterator[TokenisedWindow]:
    """Yield the windows of a recording in order; the last one ends with it and may overlap the one before.

    Args:
        pipeline: the model.
        source: the recording.
        times: columns of the recording.
        shift: number of the shift.
        window_cols: columns in a window.
        wave: whether the audio of each window is returned too.

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
    for read, kept in pipeline.token_windows(n_cols):
        found = pipeline.tokenise(columns.mel(read))[0].cpu()
        tokens[:, kept.start : kept.stop] = found[:, kept.start - read.start : kept.stop - read.start]
        while pending and pending[0].stop <= kept.stop:
            window = pending.pop(0)
            own = columns.wave(window) if wave else None
            yield TokenisedWindow(window, tokens[:, window.start : window.stop], own)
        needed = kept.stop - _CONTEXT_COLS - _MEL_CONTEXT_COLS - pipeline.window_cols
        columns.forget(min(needed, pending[0].start) if wave and pending else needed)


class _Buffer:
    """Buffer of a wave at the model's rate: the part that is still needed."""

    def __init__(self, source: Source, sample_rate: int) -> None:
        self.n_samples = source.samples_at(sample_rate)
        self._blocks = mono_blocks(source, sample_rate)
        self._start, self._held = 0, np.zeros(0, np.float32)

    def take(self, start: int, stop: int) -> Wave:
        """Return samples [start, stop), (1, t), cut to the length of the wave."""
        stop = min(stop, self.n_samples)
        missing, pieces = stop - self._start - len(self._held), [self._held]
        while missing > 0:
            pieces.append(next(self._blocks))
            missing -= len(pieces[-1])
        if len(pieces) > 1:
            self._held = np.concatenate(pieces)
        return torch.from_numpy(self._held[None, start - self._start : stop - self._start])

    def forget(self, before: int) -> None:
        """Drop samples before an index."""
        n_gone = min(max(0, before - self._start), len(self._held))
        self._start, self._held = self._start + n_gone, self._held[n_gone:].copy()


class _Columns:
    """Token columns of a wave; the first begins with one of its mel frames, or before it, in silence."""

    def __init__(self, pipeline: Pipeline, buffer: _Buffer, first_frame: int) -> None:
        self.pipeline, self.buffer, self.first_frame = pipeline, buffer, first_frame

    def frame(self, column: int) -> int:
        """Return the first mel frame of a column."""
        return self.first_frame + column * self.pipeline.grid.patch_frames

    def mel(self, window: Window) -> Mel:
        """Return the mel spectrogram (1, f, m) of some columns, cut from that of the whole wave."""
        hop, silence = self.pipeline.mel.hop_length, self.pipeline.front_end.silence
        start, stop = self.frame(window.start), self.frame(window.stop)
        first = max(0, self.frame(window.start - _MEL_CONTEXT_COLS))
        wave = self.buffer.take(first * hop, self.frame(window.stop + _MEL_CONTEXT_COLS) * hop)
        mel = self.pipeline.to_mel(wave)[..., max(0, start - first) : stop - first]
        n_before = max(0, -start)
        return F.pad(mel, (n_before, stop - start - n_before - mel.shape[-1]), value=silence)

    def wave(self, window: Window) -> Wave:
        """Return the audio of some columns."""
        hop = self.pipeline.mel.hop_length
        return self.buffer.take(max(0, self.frame(window.start)) * hop, self.frame(window.stop) * hop).clone()

    def forget(self, before: int) -> None:
        """Drop columns before an index."""
        self.buffer.forget(self.frame(before) * self.pipeline.mel.hop_length)


class Gathered:
    """Collects the embedding of one recording from its windows; those of one shift come in order.

    Args:
        times: the columns and frames of the recording.
        choice: layers of the embedding.
        pool: name of the pool.
        width: dimensions of the vector of one token.
        frames: whether to keep a vector for each frame.
        tokens: whether to keep the tokens.
        duration_s: length of the recording in seconds.
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
        """Add the vectors (l, w, ...) of a window; columns of an overlap count once, by the earlier window."""
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
        """Add the vectors of columns to their frames."""
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
        """Return the finished embedding."""
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
    """A window that waits for the transformer, and the recording that it belongs to."""

    gathered: Gathered
    window: Window
    shift: int
    tokens: Tensor  # (r, w)
    condition: Tensor | None  # (d,)


def windows_at_once(pipeline: Pipeline) -> int:
    """Return the number of windows in a batch: ``batch_size`` on a GPU, one on a CPU.

    Matrix products of other sizes round differently: by some 2e-5 in states as large as 60.
    """
    return 1 if pipeline.device.type == "cpu" else pipeline.batch_size


class Batches:
    """Batches of windows of equal width: nothing is ever padded.

    Args:
        pipeline: the model.
        choice: layers of the embedding.
        pool: name of the pool.
        progress: called with (windows done, windows in total).
        n_windows: number of windows in total.
    """

    def __init__(
        self, pipeline: Pipeline, choice: LayerChoice, pool: str, progress: Progress | None, n_windows: int
    ) -> None:
        self.pipeline, self.choice, self.pool = pipeline, choice, pool
        self.progress, self.n_windows, self._n_done = progress, n_windows, 0
        self._at_once = windows_at_once(pipeline)
        self._waiting: defaultdict[int, list[Task]] = defaultdict(list)

    def add(self, task: Task) -> None:
        """Queue a window, and compute a batch when there are enough of its width."""
        waiting = self._waiting[task.window.length]
        waiting.append(task)
        if len(waiting) >= self._at_once:
            self._compute(self._waiting.pop(task.window.length))

    def finish(self) -> None:
        """Compute the remaining windows."""
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
