"""What the model puts above a cutoff, one window of a recording after the other.

Neighbouring windows share columns. What the model chose there in one window is known to the next, so that they go on
with the same tokens; the waves of both then agree where they are joined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from masktools.errors import MasktoolsError, ParameterError
from masktools.grid import GridMask
from masktools.mel import mel_edges_hz, mel_to_db
from masktools.pipeline import Pipeline, Progress, keep_known, share_of
from masktools.restoration.band_level import MATCHED_BAND, MAX_GAIN_DB, SMOOTHING_S
from masktools.segments import Window
from masktools.shapes import Condition, Mel, Tokens
from masktools.solver import SolverConfig, derive_seed

__all__ = ["BandModel", "Rendered", "column_windows"]

_OVERLAP_SHARE = 13 / 53  # of a window: what the next one knows
_N_BINS = 4  # over which the generated spectrum leaves the original


def column_windows(pipeline: Pipeline, n_samples: int) -> list[Window]:
    """Return the windows of columns that cover so many samples at the model's rate; the last one ends with them."""
    n_cols, width = pipeline.grid.n_columns(n_samples), pipeline.window_cols
    hop = width - round(width * _OVERLAP_SHARE)
    if n_cols <= width:
        return [Window(0, n_cols)]
    last = n_cols - width
    return [Window(start, start + width) for start in (*range(0, last, hop), last)]


class Rendered(NamedTuple):
    """What the model made of one channel of a window; None in place of samples that were not finite."""

    wave: np.ndarray | None  # (t,) at the model's rate
    mel: np.ndarray  # (f, m)


@dataclass(frozen=True, eq=False)
class _Memory:
    """The tokens of one channel of the window before."""

    window: Window
    tokens: Tokens


class BandModel:
    """Extends the channels of one recording, window by window."""

    def __init__(
        self,
        pipeline: Pipeline,
        cutoff_hz: float,
        solver: SolverConfig,
        condition: Condition | None,
        *,
        put_back: bool,
        leak_free: bool,
    ) -> None:
        self.pipeline, self.cutoff_hz, self.solver, self.condition = pipeline, cutoff_hz, solver, condition
        self.put_back, self.leak_free = put_back, leak_free
        self.n_forwards, self.solve_s = 0, 0.0
        self._memories: dict[int, _Memory] = {}

    def render(
        self,
        known: np.ndarray,
        window: Window,
        channels: Sequence[int],
        seed_of: Sequence[int],
        progress: Progress | None,
    ) -> list[Rendered]:
        """Return what the model makes of some channels of a window.

        Args:
            known: (channels, t) the window at the model's rate.
            window: its columns; windows come in order.
            channels: which of them; on a CPU one after the other, so that no result depends on its neighbours.
            seed_of: the seed of each of all channels.
            progress: called with (steps done, steps in all).
        """
        pipeline = self.pipeline
        size = 1 if pipeline.device.type == "cpu" else pipeline.batch_size
        groups = [channels[start : start + size] for start in range(0, len(channels), size)]
        done = []
        for number, group in enumerate(groups):
            part = share_of(progress, number, len(groups))
            done += self._render(known[list(group)], window, group, [seed_of[channel] for channel in group], part)
        return done

    def remember(self, places: Sequence[int]) -> None:
        """Give each channel the memory of the channel that was computed for it: twins may part from here on."""
        self._memories = {channel: self._memories[place] for channel, place in enumerate(places)}

    def _render(
        self, known: np.ndarray, window: Window, group: Sequence[int], seeds: list[int], progress: Progress | None
    ) -> list[Rendered]:
        pipeline = self.pipeline
        wave = torch.from_numpy(np.ascontiguousarray(known, np.float32))
        mel = pipeline.to_mel(wave)
        above = GridMask.band(pipeline.grid, window.length, self.cutoff_hz, pipeline.mel.f_max).tensor
        mask = above.expand(len(mel), -1, -1).to(mel.device)
        tokens = pipeline.tokenise(pipeline.erase(mel, mask) if self.leak_free else mel)
        tokens, left = self._recalled(tokens, mask, window, group)
        seeds = seeds if window.start == 0 else [derive_seed(seed, window.start) for seed in seeds]
        condition = None if self.condition is None else self.condition.expand(len(group), -1)
        started = perf_counter()
        result = pipeline.fill(tokens, left, seeds, self.solver, condition, 0, progress)
        self.solve_s += perf_counter() - started
        self.n_forwards += result.n_forwards
        for row, channel in enumerate(group):
            self._memories[channel] = _Memory(window, result.tokens[row : row + 1])
        generated = pipeline.to_mel_from(result.tokens)
        rendered = generated
        if self.put_back:
            generated = _put_back(pipeline, generated, mel, self.cutoff_hz)
            rendered = pipeline.deepened(generated, wave, _unknown(pipeline, mel, self.cutoff_hz))
        waves = self._waves(rendered, known.shape[1])
        return [Rendered(wave, shape_of) for wave, shape_of in zip(waves, generated.cpu().numpy(), strict=True)]

    def _recalled(self, tokens: Tokens, mask: Tensor, window: Window, group: Sequence[int]) -> tuple[Tokens, Tensor]:
        """Return the tokens of a window with those that are known from the one before, and what is left to predict.

        Generated rows are taken over as far as the windows overlap. The known ones change over in the middle, where
        both windows see what surrounds them.
        """
        tokens, left = tokens.clone(), mask.clone()
        for row, channel in enumerate(group):
            memory = self._memories.get(channel)
            if memory is None:
                continue
            n_shared = memory.window.stop - window.start
            before = memory.tokens[0][:, memory.window.length - n_shared :]
            own = tokens[row, :, :n_shared]
            early = torch.arange(n_shared, device=own.device) < n_shared // 2
            tokens[row, :, :n_shared] = torch.where(mask[row, :, :n_shared] | early, before, own)
            left[row, :, :n_shared] = False
        return tokens, left

    def _waves(self, mel: Mel, n_samples: int) -> list[np.ndarray | None]:
        try:
            return list(self.pipeline.render(mel)[:, :n_samples].cpu().numpy())
        except ParameterError:
            raise
        except MasktoolsError:  # the vocoder returned something that is not finite
            if len(mel) == 1:
                return [None]
            return [wave for one in mel.split(1) for wave in self._waves(one, n_samples)]


def _put_back(pipeline: Pipeline, generated: Mel, original: Mel, cutoff_hz: float) -> Mel:
    """Return the generated spectrogram, levelled, with the original's bins wherever they lie below the cutoff."""
    edges_hz = torch.from_numpy(mel_edges_hz(pipeline.mel).copy()).to(original.device)
    levelled = generated + _level_offset(pipeline, generated, original, edges_hz[1:-1], cutoff_hz)
    return keep_known(levelled, original, _unknown(pipeline, original, cutoff_hz), n_frames=0, n_bins=_N_BINS)


def _unknown(pipeline: Pipeline, original: Mel, cutoff_hz: float) -> Bool[Tensor, "b f m"]:
    """Return the cells whose bins reach above the cutoff."""
    above = torch.from_numpy(mel_edges_hz(pipeline.mel)[2:] > cutoff_hz).to(original.device)
    return above[None, :, None].expand_as(original)


def _level_offset(
    pipeline: Pipeline, generated: Mel, original: Mel, centres_hz: Tensor, cutoff_hz: float
) -> Float[Tensor, "b 1 m"]:
    """Return what to add to the generated spectrogram so that it is as loud as the original just below the cutoff.

    The row of tokens that the cutoff runs through is generated as a whole: its lower part tells how loud the model
    takes the missing band to be, and how loud it should. Powers are averaged over a second, and moved by 6 dB at most.
    """
    low, high = (share * cutoff_hz for share in MATCHED_BAND)
    band = (centres_hz >= low) & (centres_hz <= high)
    if not band.any():
        return torch.zeros_like(original[:, :1])
    n_frames = round(SMOOTHING_S * pipeline.sample_rate / pipeline.mel.hop_length) | 1
    wanted, got = (
        F.avg_pool1d(
            (10 ** (mel_to_db(mel[:, band], pipeline.mel) / 10)).mean(dim=1, keepdim=True),
            n_frames,
            stride=1,
            padding=n_frames // 2,
            count_include_pad=False,
        )
        for mel in (original, generated)
    )
    gain_db = (10 * (wanted / got).log10()).clamp(-MAX_GAIN_DB, MAX_GAIN_DB)
    return gain_db * (2.0 / (pipeline.mel.db_max - pipeline.mel.db_min))
