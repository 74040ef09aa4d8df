"""VGGish, the network behind the published Frechet audio distances: its front end, its layers, its weights by path.

The weights are not in this package and not on any package registry; give the file of the public PyTorch port.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from masktools.convert.weights import fill, read_weights
from masktools.errors import CheckpointError
from masktools.io import resample

__all__ = ["VggishEmbedder", "VggishNetwork", "log_mel_examples"]

SAMPLE_RATE = 16_000
_WINDOW, _HOP, _N_FFT = 400, 160, 512  # samples: 25 ms and 10 ms
_N_MELS, _F_MIN, _F_MAX = 64, 125.0, 7500.0
_OFFSET = 0.01
_FRAMES = 96  # in an example of 0.96 s
_CONVOLUTIONS = ((64,), (128,), (256, 256), (512, 512))  # widths; a pooling after each group
_BATCH = 32


def log_mel_examples(wave: np.ndarray) -> np.ndarray:
    """Return the examples (n, 96, 64) of a wave (t,) at 16 kHz; one is padded with zeros where it is too short.

    Source: Hershey et al., CNN architectures for large-scale audio classification (arXiv:1609.09430), section 2.1.
    """
    shortest = _WINDOW + (_FRAMES - 1) * _HOP
    padded = np.pad(np.asarray(wave, np.float64), (0, max(0, shortest - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    log_mel = np.log(np.abs(np.fft.rfft(frames * taper, _N_FFT)) @ _mel_matrix() + _OFFSET)
    n = len(log_mel) // _FRAMES
    return log_mel[: n * _FRAMES].reshape(n, _FRAMES, _N_MELS).astype(np.float32)


def _mel_matrix() -> np.ndarray:
    """Return the weights (257, 64): triangles on the HTK mel scale, straight in mel, nothing from the constant bin."""
    edges = np.linspace(_htk_mel(_F_MIN), _htk_mel(_F_MAX), _N_MELS + 2)
    bins = _htk_mel(np.fft.rfftfreq(_N_FFT, 1 / SAMPLE_RATE))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights


def _htk_mel(hz: float | np.ndarray) -> np.ndarray:
    return np.asarray(1127.0 * np.log1p(np.asarray(hz) / 700.0))


class VggishNetwork(nn.Module):
    """Four groups of convolutions and three layers. ``forward``: (n, 96, 64) -> (n, 128), before the last rectifier.

    Source: Hershey et al. (arXiv:1609.09430), section 3.2, in the shape that was released as VGGish.
    """

    def __init__(self, width: int = 4096, dim: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 1
        for group in _CONVOLUTIONS:
            for n_out in group:
                layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(inplace=True)]
                n_in = n_out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 4 * 6, width), nn.ReLU(inplace=True), nn.Linear(width, width), nn.ReLU(inplace=True),
            nn.Linear(width, dim),
        )  # fmt: skip

    def forward(self, examples: Tensor) -> Tensor:
        """Return an embedding of each example; channels come last when the map is laid flat."""
        maps = self.features(examples[:, None])
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))


class VggishEmbedder:
    """Vectors of 128 numbers, one for each 0.96 s, from the weights in a file."""

    def __init__(self, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> None:
        source = Path(path)
        if not source.is_file():
            raise CheckpointError(f"no VGGish weights at {source}: give the PyTorch port's vggish-10086976.pth")
        state = read_weights(source, "state_dict")
        shapes = {"features.0.weight": (64, 1, 3, 3), "embeddings.0.weight": (None, 512 * 4 * 6)}
        for key, shape in shapes.items():
            found = tuple(state[key].shape) if key in state else None
            if found is None or any(wanted not in (None, got) for wanted, got in zip(shape, found, strict=True)):
                raise CheckpointError(f"{source} must hold VGGish: {key} of shape {shape}, got {found or 'nothing'}")
        last = state.get("embeddings.4.weight")
        self.dim = len(last) if last is not None else 128
        self._network = VggishNetwork(len(state["embeddings.0.weight"]), self.dim)
        own = {key: value for key, value in state.items() if key.startswith(("features.", "embeddings."))}
        fill(self._network, own, source)
        self._network.eval().to(device)
        self._device = device
        self.name = f"vggish {hashlib.sha256(source.read_bytes()).hexdigest()[:8]}"

    @torch.inference_mode()
    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, 128), float32, of a wave (t,) of any rate."""
        examples = log_mel_examples(resample(np.asarray(wave, np.float32), sample_rate, SAMPLE_RATE))
        parts = [
            self._network(torch.from_numpy(examples[start : start + _BATCH]).to(self._device)).cpu().numpy()
            for start in range(0, len(examples), _BATCH)
        ]
        return np.concatenate(parts)
