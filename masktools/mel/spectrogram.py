"""The mel front end: wave -> log-mel in [-1, 1], with the framing of HiFi-GAN.

The model's unit is x in [-1, 1]: the decibels 20 * log10 of the linear (power 1) mel magnitude, clipped to
[db_min, db_max] and mapped linearly. Parts that were trained with different settings must not be mixed:
``MelConfig`` is what they compare.
"""

from dataclasses import dataclass, field, fields
from math import log, log10

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_counts
from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel, Wave

__all__ = [
    "MelConfig",
    "MelFrontEnd",
    "check_patches",
    "db_to_mel",
    "differing_fields",
    "level_of",
    "log_to_mel",
    "mel_edges_hz",
    "mel_filterbank",
    "mel_to_db",
    "mel_to_log",
    "power_of",
]

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
    # n_fft // 2, as in MARS (arXiv:2509.26007). Written where it is so only: models were stored before it was there.
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
        """Samples of reflection at each side, so that frames and hops line up one to one."""
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
    """Refuse a mel spectrogram (b, f, m) that a tokenizer cannot cut into whole patches.

    Args:
        mel: The spectrogram.
        n_mels: Bins that it must have.
        patch: Frames of a patch, of which it must have a positive multiple.

    Raises:
        ParameterError: Another number of bins or frames.
    """
    _, n_bins, n_frames = mel.shape
    if n_bins != n_mels or n_frames % patch or n_frames == 0:
        raise ParameterError(
            f"mel must have {n_mels} bins and a positive multiple of {patch} frames, "
            f"got {n_bins} bins and {n_frames} frames"
        )


def level_of(level_db: float, config: MelConfig) -> float:
    """Return what a level in dB is where db_min is -1 and db_max is +1."""
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
        """The lowest value that a mel spectrogram has if it is not clipped; below -1, or above it."""
        return level_of(20.0 * log10(self.config.floor), self.config)

    @property
    def silence(self) -> float:
        """The value of digital silence in [-1, 1]."""
        return max(-1.0, self.bottom)
