"""The mel front end: wave -> log-mel in [-1, 1], with the framing of HiFi-GAN; and the grid of tokens over it.

Models work on x in [-1, 1]: the decibels 20 * log10 of the linear (power 1) mel magnitude, clipped to
[db_min, db_max] and mapped linearly. Parts that were trained with different settings must not be combined:
``MelConfig`` is compared for that.

A token covers a patch of the mel spectrogram: ``patch_mels`` bins (a row, 0 the lowest) by ``patch_frames`` frames
(a column, 0 the earliest). In a mask True means: to be predicted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import pairwise
from math import ceil, floor, isfinite, log, log10
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from masktools.core.arguments import check_counts, check_least
from masktools.core.errors import ParameterError
from masktools.core.gaps import GapLike
from masktools.core.shapes import Mel, Wave

DB_PER_NEPER = 20.0 / log(10.0)


@dataclass(frozen=True)
class MelConfig:
    """Settings of the mel front end; the defaults are the paper's: HiFi-GAN's for 22.05 kHz, -80..20 dB.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.1; HiFi-GAN (arXiv:2010.05646) for the framing.
    """

    sample_rate: int = 22_050  # Hz
    n_fft: int = 1024  # samples
    hop_length: int = 256  # samples
    win_length: int = 1024  # samples
    n_mels: int = 80
    f_min: float = 0.0  # Hz
    f_max: float = 8_000.0  # Hz
    floor: float = 1e-5  # smallest linear mel magnitude
    db_min: float = -80.0  # dB, becomes -1
    db_max: float = 20.0  # dB, becomes +1
    # Whether rows are the bins of the short-time spectrum, all but the highest, instead of mel bands: n_mels of
    # n_fft // 2, as in MARS (arXiv:2509.26007). Stored only where True: older bundles lack it.
    linear: bool = field(default=False, metadata={"later": True})

    def __post_init__(self) -> None:
        """Check every range."""
        check_counts(self, "sample_rate", "n_fft", "hop_length", "win_length", "n_mels")
        nyquist = self.sample_rate / 2
        if not 0 < self.f_max <= nyquist:
            raise ParameterError(f"f_max must lie in (0, {nyquist:g}] Hz, got {self.f_max:g} Hz")
        if not 0 <= self.f_min < self.f_max:
            raise ParameterError(f"f_min must lie in [0, {self.f_max:g}) Hz, got {self.f_min:g} Hz")
        if not self.hop_length <= self.win_length <= self.n_fft:
            raise ParameterError(
                f"hop_length <= win_length <= n_fft must hold, got {self.hop_length}, {self.win_length}, {self.n_fft}"
            )
        if (self.n_fft - self.hop_length) % 2:
            raise ParameterError(f"n_fft - hop_length must be even, got {self.n_fft} - {self.hop_length}")
        if self.db_min >= self.db_max:
            raise ParameterError(f"db_min must be below db_max, got {self.db_min:g} dB and {self.db_max:g} dB")
        if self.floor <= 0:
            raise ParameterError(f"floor must be positive, got {self.floor:g}")
        if self.linear and (self.n_mels, self.f_min, self.f_max) != (self.n_fft // 2, 0.0, nyquist):
            raise ParameterError(
                f"a linear spectrogram has n_mels {self.n_fft // 2} (n_fft // 2), f_min 0 Hz and f_max {nyquist:g} Hz, "
                f"got {self.n_mels}, {self.f_min:g} Hz and {self.f_max:g} Hz"
            )

    @property
    def margin(self) -> int:
        """Samples of reflection padding at each side, so that frames and hops line up one to one."""
        return (self.n_fft - self.hop_length) // 2

    @property
    def column_samples(self) -> int:
        """Samples of one column of 16 frames."""
        return 16 * self.hop_length


def differing_fields(ours: MelConfig, theirs: MelConfig) -> dict[str, tuple[float, float]]:
    """Return the settings in which two configurations differ, name -> (ours, theirs)."""
    pairs = {f.name: (getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(MelConfig)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def check_patches(mel: Mel, n_mels: int, patch: int) -> None:
    """Raise where a tokenizer cannot cut a mel spectrogram (b, f, m) into whole patches.

    Args:
        mel: the spectrogram.
        n_mels: number of bins that it must have.
        patch: frames of a patch; the length must be a positive multiple.

    Raises:
        ParameterError: another number of bins or frames.
    """
    _, n_bins, n_frames = mel.shape
    if n_bins != n_mels or n_frames % patch or n_frames == 0:
        raise ParameterError(
            f"mel must have {n_mels} bins and a positive multiple of {patch} frames, "
            f"got {n_bins} bins and {n_frames} frames"
        )


def level_of(level_db: float, config: MelConfig) -> float:
    """Map a level in dB to the scale on which db_min is -1 and db_max is +1."""
    return (level_db - config.db_min) * (2.0 / (config.db_max - config.db_min)) - 1.0


def db_to_mel(mel_db: Tensor, config: MelConfig, lowest: float = -1.0) -> Tensor:
    """Map decibels to [-1, 1], clipping at db_min and db_max; or to [lowest, 1], below db_min."""
    span = config.db_max - config.db_min
    return ((mel_db - config.db_min) * (2.0 / span) - 1.0).clamp(lowest, 1.0)


def mel_to_db(mel: Tensor, config: MelConfig) -> Tensor:
    """Map [-1, 1] to decibels in [db_min, db_max]."""
    return (mel + 1.0) * ((config.db_max - config.db_min) / 2.0) + config.db_min


def log_to_mel(log_mel: Tensor, config: MelConfig, lowest: float = -1.0) -> Tensor:
    """Map the natural logarithm of the mel magnitude to [lowest, 1]."""
    return db_to_mel(log_mel * DB_PER_NEPER, config, lowest)


def mel_to_log(mel: Tensor, config: MelConfig) -> Tensor:
    """Map [-1, 1] to the natural logarithm of the mel magnitude, the unit of HiFi-GAN's weights."""
    return mel_to_db(mel, config) / DB_PER_NEPER


# Slaney's scale: linear to 1 kHz (3 mel for 200 Hz), logarithmic above (27 mel for a factor of 6.4).
_BREAK_HZ, _HZ_PER_MEL, _LOG_STEP = 1000.0, 200.0 / 3.0, log(6.4) / 27.0


def _hz_to_slaney(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_HZ / _HZ_PER_MEL + log(hz / _BREAK_HZ) / _LOG_STEP


def _slaney_to_hz(slaney: np.ndarray) -> np.ndarray:
    knee = _BREAK_HZ / _HZ_PER_MEL
    return np.where(
        slaney < knee, slaney * _HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(slaney, knee) - knee))
    )


def mel_edges_hz(config: MelConfig) -> np.ndarray:
    """Return the n_mels + 2 corner frequencies in Hz; bin i spans edges i to i + 2 and peaks at edge i + 1."""
    if config.linear:
        return np.maximum(np.arange(-1, config.n_mels + 1), 0) * (config.sample_rate / config.n_fft)
    return _slaney_to_hz(np.linspace(_hz_to_slaney(config.f_min), _hz_to_slaney(config.f_max), config.n_mels + 2))


def mel_filterbank(config: MelConfig) -> Tensor:
    """Return the triangular filters of unit area (Slaney norm), shape (n_mels, 1 + n_fft // 2), float32.

    Those of a linear spectrogram are one bin each.
    """
    if config.linear:
        return torch.eye(config.n_mels, 1 + config.n_fft // 2)
    edges = mel_edges_hz(config)
    bins_hz = np.linspace(0.0, config.sample_rate / 2, 1 + config.n_fft // 2)
    rising = (bins_hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins_hz) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area = 2.0 / (edges[2:] - edges[:-2])
    return torch.from_numpy((triangles * area[:, None]).astype(np.float32))


def power_of(spectrum: Tensor) -> Tensor:
    """Return the squared magnitude of complex numbers, of the same shape."""
    return spectrum.real.square() + spectrum.imag.square()


class MelFrontEnd(nn.Module):
    """Mel spectrogram in [-1, 1]. ``forward``: (b, t) -> (b, f, t // hop_length).

    Source: HiFi-GAN's framing (reflection of (n_fft - hop) / 2 samples, no centring), SpecVQGAN's decibel clip.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        window = torch.hann_window(config.win_length, periodic=True, device="cpu")
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filterbank", mel_filterbank(config), persistent=False)

    def magnitude(self, wave: Wave) -> Tensor:
        """Return the linear magnitude of the short-time spectrum, (b, 1 + n_fft // 2, m)."""
        config = self.config
        if wave.shape[-1] <= config.margin:
            raise ParameterError(
                f"a wave must be longer than {config.margin} samples to be framed, got {wave.shape[-1]}"
            )
        padded = F.pad(wave, (config.margin, config.margin), mode="reflect")
        spectrum = torch.stft(
            padded,
            config.n_fft,
            config.hop_length,
            config.win_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        return (power_of(spectrum) + 1e-9).sqrt()

    def log_mel(self, wave: Wave) -> Mel:
        """Return the natural logarithm of the mel magnitude, floored at ``floor``."""
        mel_magnitude = self.filterbank @ self.magnitude(wave)
        return mel_magnitude.clamp_min(self.config.floor).log()

    def forward(self, wave: Wave, lowest: float = -1.0) -> Mel:
        """Return the mel spectrogram in [-1, 1]; with a ``lowest`` below -1, down to there."""
        return log_to_mel(self.log_mel(wave), self.config, lowest)

    @property
    def bottom(self) -> float:
        """The smallest possible value of an unclipped mel spectrogram; may be below or above -1."""
        return level_of(20.0 * log10(self.config.floor), self.config)

    @property
    def silence(self) -> float:
        """The value of digital silence in [-1, 1]."""
        return max(-1.0, self.bottom)


_ROUNDING = 1e-3  # samples; rounding error of times in seconds that were computed from samples


@runtime_checkable
class Columns(Protocol):
    """Positions of a model's token columns in time, whatever its rows are."""

    @property
    def n_rows(self) -> int:
        """Tokens of a column."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def column_samples(self) -> int:
        """Samples of one column."""
        ...

    @property
    def column_s(self) -> float:
        """Seconds of one column."""
        ...

    def n_columns(self, n_samples: int) -> int:
        """Return the number of columns that cover a wave, the last one perhaps in part."""
        ...


@dataclass(frozen=True)
class ColumnGrid:
    """Columns of tokens whose rows are no frequency bands, such as token streams."""

    n_rows: int
    column_samples: int
    sample_rate: int  # Hz

    @property
    def column_s(self) -> float:
        """Seconds of one column."""
        return self.column_samples / self.sample_rate

    def n_columns(self, n_samples: int) -> int:
        """Return the number of columns that cover a wave, the last one perhaps in part.

        >>> ColumnGrid(4, 640, 32_000).n_columns(641)
        2
        """
        return -(-n_samples // self.column_samples)


@dataclass(frozen=True)
class TokenGrid:
    """Positions of a model's tokens in time and frequency.

    Row r spans from the lower corner of its lowest mel bin to that of the next row's; the top row ends at the mel
    spectrogram's upper limit. Columns start at time 0 and go on as long as the audio does.
    """

    n_rows: int
    patch_mels: int = 16
    patch_frames: int = 16
    hop_length: int = 256  # samples
    sample_rate: int = 22_050  # Hz
    row_edges_hz: tuple[float, ...] = field(kw_only=True)  # n_rows + 1, rising

    def __post_init__(self) -> None:
        """Check every range."""
        check_counts(self, "n_rows", "patch_mels", "patch_frames", "hop_length", "sample_rate")
        edges = self.row_edges_hz
        if len(edges) != self.n_rows + 1:
            raise ParameterError(f"row_edges_hz must have {self.n_rows + 1} edges, got {len(edges)}")
        if edges[0] < 0 or any(low >= high for low, high in pairwise(edges)):
            raise ParameterError(f"row_edges_hz must rise from 0 Hz or more, got {edges}")

    @classmethod
    def from_mel(cls, config: MelConfig, patch: int = 16) -> "TokenGrid":
        """Return the grid of square patches over a mel spectrogram.

        Raises:
            ParameterError: the mel bins do not fill whole rows.
        """
        if patch < 1 or config.n_mels % patch:
            raise ParameterError(f"n_mels must be a multiple of the patch, got {config.n_mels} and {patch}")
        corners_hz = mel_edges_hz(config)[patch : config.n_mels : patch]
        row_edges_hz = (float(config.f_min), *map(float, corners_hz), float(config.f_max))
        n_rows = config.n_mels // patch
        return cls(n_rows, patch, patch, config.hop_length, config.sample_rate, row_edges_hz=row_edges_hz)

    @property
    def column_samples(self) -> int:
        """Samples of one column."""
        return self.patch_frames * self.hop_length

    @property
    def column_s(self) -> float:
        """Seconds of one column."""
        return self.column_samples / self.sample_rate

    def n_columns(self, n_samples: int) -> int:
        """Return the number of columns that cover a wave, the last one perhaps in part.

        Raises:
            ParameterError: a negative length.
        """
        if n_samples < 0:
            raise ParameterError(f"n_samples must not be negative, got {n_samples}")
        return -(-n_samples // self.column_samples)

    def columns(self, start_s: float, end_s: float) -> range:
        """Return the columns that a time span overlaps.

        Raises:
            ParameterError: an interval that is empty, or starts before 0.
        """
        start, stop = self.samples(start_s, end_s)
        return range(start // self.column_samples, self.n_columns(stop))

    def samples(self, start_s: float, end_s: float) -> tuple[int, int]:
        """Return the samples [start, stop) at the grid's rate that cover a time span.

        Raises:
            ParameterError: an interval that is empty, or starts before 0.
        """
        if not (0 <= start_s < end_s and isfinite(end_s)):
            raise ParameterError(f"0 <= start_s < end_s must hold, got {start_s:g} s and {end_s:g} s")
        start = floor(start_s * self.sample_rate + _ROUNDING)
        return start, max(start + 1, ceil(end_s * self.sample_rate - _ROUNDING))

    def rows(self, low_hz: float, high_hz: float) -> range:
        """Return the rows that a band overlaps.

        Raises:
            ParameterError: a band that is empty, or outside the rows.
        """
        bottom, top = self.row_edges_hz[0], self.row_edges_hz[-1]
        if not bottom <= low_hz < high_hz <= top:
            raise ParameterError(
                f"{bottom:g} <= low_hz < high_hz <= {top:g} Hz must hold, got {low_hz:g} and {high_hz:g} Hz"
            )
        return range(bisect_right(self.row_edges_hz, low_hz) - 1, bisect_left(self.row_edges_hz, high_hz))


def gap_mask(grid: TokenGrid, n_cols: int, gaps: Iterable[GapLike]) -> Bool[Tensor, "r w"]:
    """Return the mask of tokens in the columns that gaps overlap, over all rows; gaps are (start, end) in seconds.

    Raises:
        ParameterError: a gap that is empty or outside the columns.
    """
    check_least(1, n_cols=n_cols)
    mask = torch.zeros(grid.n_rows, n_cols, dtype=torch.bool)
    for start_s, end_s, *_ in gaps:
        columns = grid.columns(start_s, end_s)
        if columns.stop > n_cols:
            raise ParameterError(
                f"a gap must end within the {n_cols} columns, at {n_cols * grid.column_s:.6g} s or before, "
                f"got {end_s:g} s"
            )
        mask[:, columns.start : columns.stop] = True
    return mask


def band_mask(grid: TokenGrid, n_cols: int, low_hz: float, high_hz: float) -> Bool[Tensor, "r w"]:
    """Return the mask of tokens in the rows that a frequency band overlaps, over all columns.

    Raises:
        ParameterError: a band that is empty or outside the rows.
    """
    check_least(1, n_cols=n_cols)
    rows = grid.rows(low_hz, high_hz)
    mask = torch.zeros(grid.n_rows, n_cols, dtype=torch.bool)
    mask[rows.start : rows.stop] = True
    return mask
