"""musicnn, a network that was trained to tag music: it hears up to 8 kHz.

The weights are those of the package ``musicnn`` 0.1.0 (ISC), a checkpoint of TensorFlow; neither is imported.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.convert.weights import fill
from masktools.errors import CheckpointError
from masktools.evaluation.pretrained.package_files import read_package_file
from masktools.evaluation.pretrained.tf_checkpoint import read_tf_checkpoint
from masktools.evaluation.pretrained.windows import HOP_S, WINDOW_S, by_window
from masktools.io import resample
from masktools.mel import MelConfig, mel_filterbank

__all__ = ["MusicnnEmbedder", "MusicnnNetwork", "log_mel_frames"]

MODEL = "MSD_musicnn"  # of the two in the package the one that was trained on the Million Song Dataset
SAMPLE_RATE = 16_000
_HOP = 256
_FRONT_END = MelConfig(SAMPLE_RATE, 512, _HOP, 512, 96, 0.0, SAMPLE_RATE / 2)
_TEMPORAL = (128, 64, 32)  # frames of the horizontal filters
_EPS = 1e-3  # of TensorFlow's normalisation
_DENSE_FRAMES = 7


def log_mel_frames(wave: np.ndarray) -> Tensor:
    """Return the frames (m, 96) of a wave (t,) at 16 kHz: log10(1 + 10,000 power).

    Source: Pons and Serra, musicnn: Pre-trained convolutional neural networks for music audio tagging
        (arXiv:1909.06654), section 2; the filters are librosa's.
    """
    samples = torch.from_numpy(np.ascontiguousarray(wave, np.float32))
    n_fft = _FRONT_END.n_fft
    spectrum = torch.stft(
        samples, n_fft, _HOP, window=torch.hann_window(n_fft), pad_mode="constant", return_complex=True
    )
    return torch.log10(1e4 * (mel_filterbank(_FRONT_END) @ spectrum.abs().square()) + 1).T


class _Convolution(nn.Module):
    """A convolution, rectified and then normalised, over windows padded in time to keep their length.

    ``forward``: (n, 1, m, f) -> (n, d, m).
    """

    def __init__(self, n_out: int, n_frames: int, n_bands: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, n_out, (n_frames, n_bands)), nn.BatchNorm2d(n_out, _EPS)
        self.padding = (0, 0, (n_frames - 1) // 2, n_frames // 2)  # "same", as TensorFlow has it

    def forward(self, x: Tensor) -> Tensor:
        """Return the greatest over frequency."""
        return self.norm(F.relu(self.conv(F.pad(x, self.padding)))).amax(dim=3)


class _Layer(nn.Module):
    """A weight and a bias, rectified and then normalised; in time a window is padded to keep its length."""

    def __init__(self, layer: nn.Conv1d | nn.Linear, n_out: int) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm1d(n_out, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return self.norm(F.relu(self.layer(x)))


class MusicnnNetwork(nn.Module):
    """Vertical and horizontal filters, three layers over time, and one over all. ``forward``: (n, m, 96) -> (n, 200).

    The layer before the tags is the embedding.

    Source: Pons and Serra (arXiv:1909.06654), section 2, in the shape that was released.
    """

    def __init__(self, n_timbral: int = 204, n_temporal: int = 51, width: int = 64, dim: int = 200) -> None:
        super().__init__()
        self.entry = nn.BatchNorm2d(1, _EPS)
        vertical = (int(share * _FRONT_END.n_mels) for share in (0.4, 0.7))
        self.front = nn.ModuleList(_Convolution(n_timbral, _DENSE_FRAMES, n_bands) for n_bands in vertical)
        self.front.extend(_Convolution(n_temporal, n_frames, 1) for n_frames in _TEMPORAL)
        n_front = 2 * n_timbral + len(_TEMPORAL) * n_temporal
        n_in = (n_front, width, width)
        self.middle = nn.ModuleList(_Layer(nn.Conv1d(n, width, _DENSE_FRAMES, padding=3), width) for n in n_in)
        n_pooled = 2 * (n_front + 3 * width)
        self.pooled = nn.BatchNorm1d(n_pooled, _EPS)
        self.last = _Layer(nn.Linear(n_pooled, dim), dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Return an embedding of each window."""
        entry = self.entry(frames[:, None])
        front = torch.cat([part(entry) for part in self.front], dim=1)
        found = [front]
        for number, layer in enumerate(self.middle):
            found.append(layer(found[-1]) + (found[-1] if number else 0))
        maps = torch.cat(found, dim=1)
        pooled = torch.stack([maps.amax(dim=2), maps.mean(dim=2)], dim=2).flatten(1)
        return self.last(self.pooled(pooled))


class MusicnnEmbedder:
    """Vectors of 200 numbers, one for each second, four times a second."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the weights.

        Args:
            path: the wheel of the package, its installed folder, or the folder MSD_musicnn or MTT_musicnn in it.

        Raises:
            CheckpointError: no weights there, or others.
        """
        source = Path(path)
        parts = [read_package_file(source, "musicnn", f"{MODEL}/{end}") for end in (".index", ".data-00000-of-00001")]
        tensors = read_tf_checkpoint(*parts)
        shapes = {name: value.shape for name, value in tensors.items()}
        sizes = [shapes.get(name, (0,))[-1] for name in ("conv2d/bias", "conv2d_2/bias", "conv2d_5/bias", "dense/bias")]
        if not all(sizes):
            raise CheckpointError(f"{source} must hold musicnn: conv2d, conv2d_2, conv2d_5 and dense with their biases")
        self._network = MusicnnNetwork(*sizes)
        fill(self._network, _by_our_names(tensors, source), source)
        self._network.eval()
        self.dim = sizes[-1]
        self.name = f"musicnn {hashlib.sha256(parts[1]).hexdigest()[:8]}"

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, 200), float32, of a wave (t,) of any rate; what is shorter than a second is repeated."""
        samples = resample(np.asarray(wave, np.float32), sample_rate, SAMPLE_RATE)
        frames = log_mel_frames(samples if len(samples) else np.zeros(1, np.float32))
        n_window, n_hop = (round(seconds * SAMPLE_RATE / _HOP) for seconds in (WINDOW_S, HOP_S))
        if len(frames) < n_window:
            frames = frames.repeat(-(-n_window // len(frames)), 1)[:n_window]
        return by_window(frames, n_window, n_hop, self._network)


def _by_our_names(tensors: Mapping[str, np.ndarray], source: Path) -> dict[str, Tensor]:
    """Return the weights under the names of the network; TensorFlow counts its layers, and turns its kernels around."""
    places = {"entry": (None, ""), "pooled": (None, "_9"), "last": ("dense", "_10")}
    places |= {f"front.{n}": (f"conv2d{_number(n)}", _number(n + 1)) for n in range(5)}
    places |= {f"middle.{n}": (f"conv2d{_number(n + 5)}", _number(n + 6)) for n in range(3)}
    found: dict[str, np.ndarray] = {}
    try:
        for place, (layer, number) in places.items():
            norm = f"{place}.norm" if layer else place
            names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            found |= {f"{norm}.{ours}": tensors[f"batch_normalization{number}/{one}"] for ours, one in names.items()}
            found[f"{norm}.num_batches_tracked"] = np.zeros((), np.int64)
            if layer:
                ours = f"{place}.conv" if place.startswith("front") else f"{place}.layer"
                kernel = tensors[f"{layer}/kernel"]
                found[f"{ours}.bias"] = tensors[f"{layer}/bias"]
                if place.startswith("middle"):
                    kernel = kernel[:, :, 0]  # (m, in, out)
                found[f"{ours}.weight"] = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{source} must hold musicnn, of which a tensor is missing or misshapen: {error}"
        ) from error
    return {name: torch.from_numpy(np.array(value)) for name, value in found.items()}


def _number(place: int) -> str:
    """Return the ending of TensorFlow's name of a layer: none for the first of its kind."""
    return f"_{place}" if place else ""
