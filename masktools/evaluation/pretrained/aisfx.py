"""aiSFX, a network that was trained to name the sound effects of several libraries: it hears up to 22 kHz.

The weights are those of the package ``aisfx`` 0.1.2 (CC BY 4.0), which is not imported; its front end is Essentia's,
remade here.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.conditioning.clap_files import restricted_load
from masktools.convert.weights import fill
from masktools.errors import CheckpointError
from masktools.evaluation.pretrained.package_files import read_package_file
from masktools.evaluation.pretrained.windows import HOP_S, WINDOW_S, by_window
from masktools.io import resample

__all__ = ["AisfxEmbedder", "AisfxNetwork", "log_mel_frames"]

SAMPLE_RATE = 44_100
_N_FFT, _HOP, _N_MELS = 2048, 1024, 96
_LOUDEST = 9.457798957824707  # of log10(1 + 10,000 power) over the libraries it was trained on
_PART = "embedding_net."  # of the checkpoint that is not a classifier
_MIN_FRAMES = 8  # that three poolings leave something of


def log_mel_frames(wave: np.ndarray) -> Tensor:
    """Return the frames (m, 96) of a wave (t,) at 44.1 kHz, at most about 1.

    Source: Ma and Lerch, Representation Learning for the Automatic Indexing of Sound Effects Libraries (ISMIR 2022),
        section 3.1; Essentia's MelBands (htkMel, warpingFormula, unit_sum) for the filters.
    """
    samples = torch.from_numpy(np.ascontiguousarray(wave, np.float32))
    window = torch.hann_window(_N_FFT, periodic=False)
    spectrum = torch.stft(samples, _N_FFT, _HOP, window=window, pad_mode="constant", return_complex=True)
    mel = torch.from_numpy(_mel_matrix().astype(np.float32)) @ spectrum.abs().square()
    return torch.log10(1e4 * mel + 1).T / _LOUDEST


def _mel_matrix() -> np.ndarray:
    """Return the filters (96, 1025): triangles that are straight on the HTK mel scale, each of sum 1."""
    edges = np.linspace(0, _htk_mel(SAMPLE_RATE / 2), _N_MELS + 2)
    bins = _htk_mel(np.fft.rfftfreq(_N_FFT, 1 / SAMPLE_RATE))
    triangles = np.maximum(0.0, 1 - np.abs(bins - edges[1:-1, None]) / edges[1])
    return triangles / np.maximum(triangles.sum(axis=1, keepdims=True), 1e-9)


def _htk_mel(hz: float | np.ndarray) -> np.ndarray:
    return np.asarray(1127.01048 * np.log1p(np.asarray(hz) / 700.0))


class _Block(nn.Module):
    """Two convolutions, each normalised, and a pooling. ``forward``: (b, c, m, f) -> (b, d, m // p, f // p)."""

    def __init__(self, n_in: int, n_out: int, pooling: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        """Return the smaller map."""
        x = F.relu(self.bn1(self.conv1(x)))
        return F.max_pool2d(F.relu(self.bn2(self.conv2(x))), self.pooling)


class AisfxNetwork(nn.Module):
    """Four blocks of convolutions. ``forward``: (n, m, 96) -> (n, 8 * width), greatest in time of frequency's mean.

    Source: Ma and Lerch (ISMIR 2022), section 3.2: the network of 8 convolutions of PANNs (arXiv:1912.10211).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv_block1 = _Block(1, width, 2)
        self.conv_block2 = _Block(width, 2 * width, 2)
        self.conv_block3 = _Block(2 * width, 4 * width, 2)
        self.conv_block4 = _Block(4 * width, 8 * width, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return an embedding of each window."""
        maps = frames[:, None]
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4):
            maps = block(maps)
        return maps.mean(dim=3).amax(dim=2)


class AisfxEmbedder:
    """Vectors of 512 numbers, one for each second, four times a second."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the weights.

        Args:
            path: the wheel of the package, its installed folder, or its checkpoint.pth.

        Raises:
            CheckpointError: no weights there, or others.
        """
        source = Path(path)
        content = read_package_file(source, "aisfx", "models/checkpoint.pth")
        weights = _weights_of(content, source)
        first = weights.get("conv_block1.conv1.weight")
        if first is None or first.ndim != 4:
            raise CheckpointError(f"{source} must hold aiSFX: no {_PART}conv_block1.conv1.weight of four axes")
        self._network = AisfxNetwork(len(first))
        fill(self._network, weights, source)
        self._network.eval()
        self.dim = 8 * len(first)
        self.name = f"aisfx {hashlib.sha256(content).hexdigest()[:8]}"

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, 512), float32, of a wave (t,) of any rate; what is shorter than a second is padded."""
        frames = log_mel_frames(resample(np.asarray(wave, np.float32), sample_rate, SAMPLE_RATE))
        n_window, n_hop = (max(1, round(seconds * SAMPLE_RATE / _HOP)) for seconds in (WINDOW_S, HOP_S))
        n_window = max(_MIN_FRAMES, n_window)
        return by_window(F.pad(frames, (0, 0, 0, max(0, n_window - len(frames)))), n_window, n_hop, self._network)


def _weights_of(content: bytes, source: Path) -> dict[str, Tensor]:
    """Return the weights of the network; the checkpoint is a pair of them and of what was trained on."""
    found = restricted_load(source, io.BytesIO(content))
    state = found[0] if isinstance(found, tuple) and found else found
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{source} must hold named tensors, got {type(state).__name__}")
    named = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    return {key.removeprefix(_PART): value for key, value in named.items() if key.startswith(_PART)}
