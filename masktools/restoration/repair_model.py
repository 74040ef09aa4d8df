"""What the model makes of a window in which regions are unknown: their tokens are generated, all other mel is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from masktools.grid import GridMask
from masktools.io import resample_to
from masktools.mel import MelConfig, mel_edges_hz
from masktools.pipeline import Pipeline, Progress, keep_known
from masktools.restoration.regions import Region
from masktools.shapes import Condition
from masktools.solver import SolverConfig, SolveResult

_OVERLAP_SHARE = 22 / 53  # of a window: what the next one knows, where a region takes several
_TOP_SHARE = 0.95  # of the model's band: what is above is dulled by resampling
_BORDER = (3, 2)  # frames and mel bins into a region in which what is known fades out
_TIMES = 5  # in a frame, at which the bands of a region are looked at
_LOBE_BINS = 2  # by which a tone shows beside its own frequency, in bins of the model's spectra


@dataclass(frozen=True, eq=False)
class Heard:
    """A window of one voice, and what is unknown in it."""

    samples: np.ndarray  # (t,) at the recording's rate
    regions: tuple[Region, ...]  # of the recording
    start_s: float  # of the window in the recording
    seed: int


@dataclass(frozen=True, eq=False)
class Made:
    """What the model made of a window."""

    wave: np.ndarray  # (t,) at the recording's rate
    mel: np.ndarray  # (f, m) it was rendered from: known cells are the window's own
    known: np.ndarray  # (f, m) of the window


def model_top_hz(pipeline: Pipeline) -> float:
    """Return the frequency up to which the model hears and renders."""
    return _TOP_SHARE * min(pipeline.mel.f_max, pipeline.sample_rate / 2)


def unknown_cells(
    regions: Sequence[Region], config: MelConfig, n_frames: int, start_s: float = 0.0
) -> Bool[Tensor, "f m"]:
    """Return the mel cells of a window that hear anything of the regions.

    Args:
        regions: of the recording.
        config: of the mel spectrogram.
        n_frames: of the window.
        start_s: of the window in the recording.
    """
    edges_hz = mel_edges_hz(config)
    lobe_hz = _LOBE_BINS * config.sample_rate / config.n_fft
    cells = np.zeros((config.n_mels, n_frames), bool)
    for region in regions:
        # Frame m hears samples [m * hop - margin, m * hop - margin + n_fft).
        begin, end = ((edge_s - start_s) * config.sample_rate for edge_s in (region.start_s, region.end_s))
        first = max(0, floor((begin + config.margin - config.n_fft) / config.hop_length))
        last = min(n_frames, ceil((end + config.margin) / config.hop_length) + 1)
        for frame in range(first, last):
            start = frame * config.hop_length - config.margin
            heard_from, heard_to = max(start, begin), min(start + config.n_fft, end)
            if heard_from >= heard_to:
                continue
            for sample in np.linspace(heard_from, heard_to, _TIMES):
                for low_hz, high_hz in region.bands(start_s + float(sample) / config.sample_rate):
                    cells[:, frame] |= (edges_hz[:-2] < high_hz + lobe_hz) & (edges_hz[2:] > low_hz - lobe_hz)
    return torch.from_numpy(cells)


def token_mask(pipeline: Pipeline, unknown: Bool[Tensor, "f m"]) -> GridMask:
    """Return the tokens that have unknown cells."""
    rows, columns = pipeline.grid.patch_mels, pipeline.grid.patch_frames
    patches = unknown.unflatten(0, (-1, rows)).unflatten(2, (-1, columns))
    return GridMask(patches.any(dim=3).any(dim=1))


def hear(
    pipeline: Pipeline,
    windows: Sequence[Heard],
    sample_rate: int,
    solver: SolverConfig,
    condition: Condition | None,
    progress: Progress | None,
) -> tuple[list[Made], SolveResult]:
    """Return what the model makes of windows of one length, by one call of the solver.

    Args:
        pipeline: the model.
        windows: at least one.
        sample_rate: of the windows, in Hz.
        solver: settings of the decoding.
        condition: what to hear in the regions, (1, d); None for anything.
        progress: called with (steps done, steps in all).
    """
    rate, n_samples = pipeline.sample_rate, len(windows[0].samples)
    n_model = ceil(n_samples * rate / sample_rate)
    waves = np.stack([resample_to(heard.samples.astype(np.float32), sample_rate, rate, n_model) for heard in windows])
    mel = pipeline.to_mel(torch.from_numpy(waves))
    cells = [unknown_cells(heard.regions, pipeline.mel, mel.shape[-1], heard.start_s) for heard in windows]
    mask = torch.stack([token_mask(pipeline, own).tensor for own in cells]).to(mel.device)
    result = pipeline.fill(
        pipeline.tokenise(pipeline.erase(mel, mask)),
        mask,
        [heard.seed for heard in windows],
        solver,
        None if condition is None else condition.expand(len(windows), -1),
        round(pipeline.window_cols * _OVERLAP_SHARE),
        progress,
    )
    unknown = torch.stack(cells).to(mel.device)
    filled = keep_known(pipeline.to_mel_from(result.tokens), mel, unknown, *_BORDER)
    rendered = pipeline.render(pipeline.deepened(filled, torch.from_numpy(waves), unknown)).cpu().numpy()
    arrays = zip(rendered, filled.float().cpu().numpy(), mel.float().cpu().numpy(), strict=True)
    made = [Made(resample_to(wave[:n_model], rate, sample_rate, n_samples), own, was) for wave, own, was in arrays]
    return made, result
