"""Vocoders by inverse Fourier transform: the light one, of ConvNeXt blocks, and Griffin-Lim, without weights.

Griffin-Lim sounds rougher than a trained vocoder, but needs no weights, and is reproducible: its initial phases are
drawn from a fixed seed.

A small vocoder, or one whose input is unlike its training data, misses the level of some bands, often the
same ones all the time. Each iteration of mel consistency measures the mel of the wave, and scales every bin of its
spectrum by the ratios of the bands around it. No weights are involved.

Source of the light one: Vocos (arXiv:2306.00814), with the framing of HiFi-GAN: m frames give exactly m * hop_length
samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.core.shapes import Mel, Wave
from masktools.mel import MelConfig, MelFrontEnd, mel_filterbank, mel_to_log, power_of
from masktools.networks.packing import PackedLinear, fill_rest, refuse_weights, swap_linear


def check_mel_bins(n_mels: int, mel_config: MelConfig) -> None:
    """Raise where mel spectrograms do not have the bins that a vocoder was built for.

    Raises:
        ParameterError: ``n_mels`` is not that of the configuration.
    """
    if n_mels != mel_config.n_mels:
        raise ParameterError(f"mel must have {mel_config.n_mels} bins, got {n_mels}")


def inverse_frames(spectrum: Tensor, n_fft: int) -> Tensor:
    """Return the frames (b, n_fft, m) of a complex spectrum (b, 1 + n_fft // 2, m)."""
    return torch.fft.irfft(spectrum.transpose(1, 2), n=n_fft).transpose(1, 2)


def overlap_add(frames: Tensor, window: Tensor, hop_length: int, margin: int) -> Wave:
    """Return the wave (b, m * hop) of windowed frames (b, n_fft, m), by least squares (weighted overlap-add).

    ``margin`` samples are trimmed at each side: the reflection padding of the analysis.
    """
    n_fft, n_frames = frames.shape[1:]
    length = (n_frames - 1) * hop_length + n_fft
    summed = _sum_shifted(frames.transpose(1, 2) * window, hop_length)
    weight = _sum_shifted(window.square().expand(1, n_frames, -1), hop_length)[0]
    return (summed / weight.clamp_min(1e-8))[:, margin : length - margin]


def _sum_shifted(rows: Tensor, hop_length: int) -> Tensor:
    """Return the sum of rows (b, m, n), each ``hop_length`` after the one before: (b, at least (m - 1) * hop + n)."""
    b, n_rows, length = rows.shape
    n_parts = -(-length // hop_length)
    parts = F.pad(rows, (0, n_parts * hop_length - length)).view(b, n_rows, n_parts, hop_length)
    total = rows.new_zeros(b, n_rows + n_parts - 1, hop_length)
    for number in range(n_parts):
        total[:, number : number + n_rows] += parts[:, :, number]
    return total.flatten(1)


_TINY = 1e-8


@dataclass(frozen=True)
class GriffinLimConfig:
    """Settings of Griffin-Lim.

    Source: Perraudin, Balazs and Sondergaard, A fast Griffin-Lim algorithm (WASPAA 2013), for the momentum.
    """

    n_iterations: int = ranged(32, "[0, inf]")
    momentum: float = ranged(0.99, "[0, 1)")  # 0 is the original algorithm of 1984
    n_mel_iterations: int = ranged(16, "[0, inf]")  # of the inversion of the mel filterbank
    seed: int = 0  # of the initial phases

    __post_init__ = settle


class GriffinLim(nn.Module):
    """Griffin-Lim with HiFi-GAN's framing. ``forward``: mel (b, f, m) in [-1, 1] -> wave (b, m * hop_length).

    Each clip starts from the same phases, so that its result does not depend on the batch. It works in single
    precision whatever the precision of its input. The wave may exceed [-1, 1].
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, config: GriffinLimConfig, mel_config: MelConfig) -> None:
        super().__init__()
        self.config, self.mel_config = config, mel_config
        window = torch.hann_window(mel_config.win_length, periodic=True, device="cpu")
        before = (mel_config.n_fft - mel_config.win_length) // 2  # a shorter window is centred in the frame
        after = mel_config.n_fft - mel_config.win_length - before
        self.register_buffer("window", F.pad(window, (before, after)), persistent=False)
        self.register_buffer("filterbank", mel_filterbank(mel_config), persistent=False)

    def forward(self, mel: Mel) -> Wave:
        """Return the wave of each mel spectrogram.

        Raises:
            ParameterError: the bins are not those of ``mel_config``.
        """
        check_mel_bins(mel.shape[1], self.mel_config)
        with torch.autocast(mel.device.type, enabled=False):
            magnitude = self.magnitude(mel_to_log(mel.float(), self.mel_config).exp())
            generator = torch.Generator("cpu").manual_seed(self.config.seed)
            turns = torch.rand(magnitude.shape[1:], generator=generator, device="cpu").to(magnitude.device)
            return self._find_phases(magnitude, (2.0 * torch.pi * turns).expand_as(magnitude))

    def refine(self, wave: Wave, mel: Mel) -> Wave:
        """Return the wave of each mel spectrogram, starting from the phases of another wave (b, m * hop_length).

        Raises:
            ParameterError: the bins are not those of ``mel_config``.
        """
        check_mel_bins(mel.shape[1], self.mel_config)
        if not self.config.n_iterations or wave.shape[-1] <= self.mel_config.margin:
            return wave
        with torch.autocast(mel.device.type, enabled=False):
            magnitude = self.magnitude(mel_to_log(mel.float(), self.mel_config).exp())
            return self._find_phases(magnitude, self._analyse(wave.float()).angle())

    def magnitude(self, mel_magnitude: Tensor) -> Tensor:
        """Return a non-negative spectrum (b, 1 + n_fft // 2, m) with the given mel magnitude (b, f, m).

        Each mel band is first spread evenly over its filter; multiplicative updates, which keep it
        non-negative, then bring the mel magnitude to the target.

        Source: Lee and Seung, Algorithms for non-negative matrix factorization (NIPS 2000), equation 5.
        """
        back = self.filterbank.T / self.filterbank.sum(dim=0).clamp_min(_TINY)[:, None]
        spectrum = back @ (mel_magnitude / self.filterbank.sum(dim=1).clamp_min(_TINY)[:, None])
        for _ in range(self.config.n_mel_iterations):
            ratio = mel_magnitude / (self.filterbank @ spectrum).clamp_min(_TINY)
            spectrum = spectrum * (back @ ratio)
        return spectrum

    def _find_phases(self, magnitude: Tensor, phases: Tensor) -> Wave:
        magnitude = magnitude.transpose(1, 2).contiguous().transpose(1, 2)  # frames contiguous, for the transforms
        spectrum = torch.polar(magnitude, phases)
        previous = torch.zeros_like(spectrum)
        for _ in range(self.config.n_iterations):
            consistent = self._analyse(self._synthesise(spectrum))
            ahead = consistent + self.config.momentum * (consistent - previous)
            spectrum = ahead * (magnitude * power_of(ahead).clamp_min(_TINY**2).rsqrt())
            previous = consistent
        return self._synthesise(spectrum)

    def _analyse(self, wave: Wave) -> Tensor:
        """Return the complex spectrum (b, 1 + n_fft // 2, m) in the framing of the mel front end."""
        config = self.mel_config
        # The shortest waves are too short to reflect.
        mode = "reflect" if wave.shape[-1] > config.margin else "constant"
        padded = F.pad(wave, (config.margin, config.margin), mode=mode)
        return torch.stft(
            padded, config.n_fft, config.hop_length, window=self.window, center=False, return_complex=True
        )

    def _synthesise(self, spectrum: Tensor) -> Wave:
        """Return the wave (b, m * hop_length) whose frames are nearest to the spectrum in least squares."""
        frames = inverse_frames(spectrum, self.mel_config.n_fft)
        return overlap_add(frames, self.window, self.mel_config.hop_length, self.mel_config.margin)


_LARGEST_STEP = 2.0  # nepers, greatest change of a bin in one iteration


class MelConsistency(nn.Module):
    """Correct a wave so that its mel is nearer to a given one. ``forward``: (b, t), (b, f, m) in [-1, 1] -> (b, t)."""

    shares: Tensor

    def __init__(self, mel_config: MelConfig, n_rounds: int) -> None:
        super().__init__()
        self.n_rounds = n_rounds
        self.front_end = MelFrontEnd(mel_config)
        weights = self.front_end.filterbank / self.front_end.filterbank.sum(dim=1, keepdim=True).clamp_min(1e-12)
        shares = weights / weights.sum(dim=0, keepdim=True).clamp_min(1e-12)  # of each band in the gain of a bin
        self.register_buffer("shares", shares.T.contiguous(), persistent=False)  # (bins, f)

    def forward(self, wave: Wave, mel: Mel) -> Wave:
        """Return the wave after ``n_rounds`` iterations; one shorter than a frame is returned unchanged."""
        front_end, config = self.front_end, self.front_end.config
        if wave.shape[-1] <= config.margin:
            return wave
        wanted = mel_to_log(mel.float(), config)
        for _ in range(self.n_rounds):
            padded = F.pad(wave, (config.margin, config.margin), mode="reflect")
            sizes = (config.n_fft, config.hop_length, config.win_length)
            spectrum = torch.stft(padded, *sizes, window=front_end.window, center=False, return_complex=True)
            found = (front_end.filterbank @ power_of(spectrum).sqrt()).clamp_min(config.floor).log()
            gain = (self.shares @ (wanted - found).clamp(-_LARGEST_STEP, _LARGEST_STEP)).exp()
            frames = inverse_frames(spectrum * gain, config.n_fft)
            wave = overlap_add(frames, front_end.window, config.hop_length, config.margin)
        return wave


_MAX_MAGNITUDE = 100.0


@dataclass(frozen=True)
class LightVocoderConfig:
    """Settings of the light vocoder; the defaults are those of the bundled model."""

    width: int = ranged(256, "[1, inf]")
    depth: int = ranged(8, "[1, inf]")
    mlp_ratio: float = ranged(3.0, "(0, inf]")
    n_phase_rounds: int = ranged(0, "[0, inf]")  # of Griffin-Lim from the network's phases, in evaluation only
    n_corrections: int = ranged(0, "[0, inf]")  # iterations of mel consistency after rendering, in evaluation only

    __post_init__ = settle


class ConvNeXtBlock(nn.Module):
    """Residual block: a depthwise convolution over time, a perceptron. ``forward``: (b, c, m) -> the same."""

    def __init__(self, width: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, hidden)
        self.act: nn.Module = nn.GELU()
        self.contract = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, frames: Tensor) -> Tensor:
        """Return the output of the block."""
        inner = self.norm(self.depthwise(frames).transpose(1, 2))
        inner = self.contract(self.act(self.expand(inner))) * self.scale
        return frames + inner.transpose(1, 2)


class LightVocoder(nn.Module):
    """Wave of a mel spectrogram in [-1, 1]. ``forward``: (b, f, m) -> (b, m * hop_length)."""

    window: Tensor

    def __init__(self, config: LightVocoderConfig, mel_config: MelConfig) -> None:
        super().__init__()
        self.config, self.mel_config = config, mel_config
        self.packed = False  # whether ``pack`` has been called
        width = config.width
        self.enter = nn.Conv1d(mel_config.n_mels, width, 7, padding=3)
        self.enter_norm = nn.LayerNorm(width, eps=1e-6)
        hidden = round(width * config.mlp_ratio)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width, hidden, 1.0 / config.depth) for _ in range(config.depth))
        self.leave_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, mel_config.n_fft + 2)
        self.register_buffer("window", torch.hann_window(mel_config.n_fft, device="cpu"), persistent=False)
        self.griffin_lim = GriffinLim(GriffinLimConfig(n_iterations=config.n_phase_rounds), mel_config)
        self.consistency = MelConsistency(mel_config, config.n_corrections)

    def forward(self, mel: Mel) -> Wave:
        """Return the wave, m * hop_length samples."""
        frames = self.enter(mel)
        frames = self.enter_norm(frames.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            frames = block(frames)
        left = self.leave_norm(frames.transpose(1, 2))
        with torch.autocast(mel.device.type, enabled=False):  # phases need single precision
            log_magnitude, phase = self.head(left.float()).transpose(1, 2).chunk(2, dim=1)
        magnitude = log_magnitude.exp().clamp_max(_MAX_MAGNITUDE)
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        config = self.mel_config
        pieces = inverse_frames(spectrum, config.n_fft)
        wave = overlap_add(pieces, self.window, config.hop_length, config.margin)
        return wave if self.training else self.consistency(self.griffin_lim.refine(wave, mel), mel)

    def pack(
        self,
        precision: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Replace the linear layers by packed ones, and fill the rest; a CPU computes in single precision.

        A packed vocoder is not packed again.

        Args:
            precision: precision of the model.
            weights: weights by name, for a vocoder on the meta device; None for one that has its weights.
            device: device for weights that are read.
        """
        if weights is not None and not self.packed:
            fill_rest(self, weights, device)
        if self.packed or self.enter.weight.device.type != "cpu":
            return
        for number, block in enumerate(self.blocks):
            swap_linear(self, f"blocks.{number}.expand", partial(PackedLinear, dtype=torch.float32, gelu=True))
            swap_linear(self, f"blocks.{number}.contract", partial(PackedLinear, dtype=torch.float32))
            cast(ConvNeXtBlock, block).act = nn.Identity()
        swap_linear(self, "head", partial(PackedLinear, dtype=torch.float32))
        self.packed = True
        refuse_weights(self)
