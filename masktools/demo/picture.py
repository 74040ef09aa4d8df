"""Spectrograms for people: mel-spaced frequency in Hz, time in seconds, one decibel scale for all that is compared."""

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from masktools.demo.measure import RATE, at_rate
from masktools.errors import ParameterError
from masktools.mel import MelConfig, mel_edges_hz, mel_filterbank

__all__ = ["Panel", "check_matplotlib", "draw"]

_MEL = MelConfig(sample_rate=RATE, n_fft=2048, win_length=2048, hop_length=256, n_mels=112, f_max=RATE / 2)
_TICKS_HZ = (100, 500, 1000, 2000, 4000, 8000)
_RANGE_DB, _N_COLOURS = 70.0, 192
_PAPER, _INK, _MARK = "#14171c", "#d7dde6", "#6ee7ff"


@dataclass(frozen=True)
class Panel:
    """One spectrogram of a picture, and what is marked in it."""

    title: str
    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz
    gaps: tuple[tuple[float, float], ...] = ()  # start and end in seconds
    cutoff_hz: float | None = None


def check_matplotlib() -> None:
    """Say what to install if pictures cannot be drawn.

    Raises:
        ParameterError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ParameterError("the demonstration draws with matplotlib: install masktools[plots]")


def draw(panels: Sequence[Panel], dots_per_inch: int = 170) -> bytes:
    """Return a PNG of spectrograms one below the other, under one colour bar.

    Gaps are bracketed by lines at their edges, a cutoff by a line across.

    Raises:
        ParameterError: No panel, or matplotlib is not installed.
    """
    if not panels:
        raise ParameterError("a picture needs at least one panel, got none")
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    levels = [_mel_levels(panel) for panel in panels]
    top = 5 * np.ceil(max(float(np.quantile(level, 0.998)) for level in levels) / 5)
    figure = Figure(figsize=(5.0, 0.55 + 1.35 * len(panels)), facecolor=_PAPER, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel, level in zip(axes, panels, levels, strict=True):
        seconds = panel.samples.shape[1] / panel.sample_rate
        image = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, _MEL.n_mels),
            cmap="magma",
            vmin=top - _RANGE_DB,
            vmax=top,
            interpolation="nearest",
        )
        _label(axis, panel)
    axes[-1].set_xlabel("time in s", color=_INK, fontsize=9)
    bar = figure.colorbar(image, ax=list(axes), fraction=0.05, pad=0.01, aspect=14 * len(panels))
    bar.set_label("level in dBFS per band", color=_INK, fontsize=9)
    bar.ax.tick_params(colors=_INK, labelsize=8)
    bar.outline.set_edgecolor(_INK)
    figure.set_dpi(dots_per_inch)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(_N_COLOURS, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _label(axis: Any, panel: Panel) -> None:
    axis.set_title(panel.title, loc="left", color=_INK, fontsize=10, pad=3)
    axis.set_yticks(
        [_bin_of(hz) for hz in _TICKS_HZ], [f"{hz / 1000:g} k" if hz >= 1000 else f"{hz}" for hz in _TICKS_HZ]
    )
    axis.set_ylabel("Hz", color=_INK, fontsize=9)
    axis.tick_params(colors=_INK, labelsize=9)
    for spine in axis.spines.values():
        spine.set_edgecolor(_INK)
    for start_s, end_s in panel.gaps:
        for edge_s in (start_s, end_s):
            axis.axvline(edge_s, color=_MARK, linewidth=1.0, linestyle=(0, (4, 3)))
        on_top = axis.get_xaxis_transform()  # seconds across, 1 at the frame's upper edge
        axis.plot([start_s, end_s], [1.02, 1.02], color=_MARK, linewidth=3, clip_on=False, transform=on_top)
    if panel.cutoff_hz is not None:
        axis.axhline(_bin_of(panel.cutoff_hz), color=_MARK, linewidth=1.0, linestyle=(0, (4, 3)))


def _mel_levels(panel: Panel) -> np.ndarray:
    """Return levels (bands, frames) in dBFS, a full-scale sine in the middle of a band at 0."""
    window = np.hanning(_MEL.n_fft + 1)[:-1]
    padded = np.pad(at_rate(panel.samples, panel.sample_rate), ((0, 0), (_MEL.n_fft // 2, _MEL.n_fft // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _MEL.n_fft, axis=1)[:, :: _MEL.hop_length]
    power = (np.abs(np.fft.rfft(frames * window) * (2 / window.sum())) ** 2).mean(axis=0)
    bank = mel_filterbank(_MEL).numpy().astype(np.float64)
    bank /= bank.max(axis=1, keepdims=True).clip(1e-12)
    return 10 * np.log10(bank @ power.T + 1e-12)


def _bin_of(hz: float) -> float:
    """Return where a frequency lies on the axis of mel bands."""
    return float(np.interp(hz, mel_edges_hz(_MEL)[1:-1], np.arange(_MEL.n_mels) + 0.5))
