"""Embedders: recordings to vectors, of which sets are compared; a distance always names its embedder.

``own`` and ``joint`` are parts of the model under test: they are biased towards it, and good for comparing its own
settings. ``mel`` is not trained at all. The rest were trained by others, on other recordings: ``aisfx`` hears sounds
of all kinds up to 22 kHz, ``musicnn`` music up to 8 kHz, and published figures use ``vggish`` or ``clap``. Their
weights are given by path.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from masktools.core.arguments import checked_name
from masktools.core.errors import ParameterError
from masktools.evaluation.pretrained import AisfxEmbedder, MusicnnEmbedder, VggishEmbedder
from masktools.features import embed
from masktools.io import resample
from masktools.mel import MelConfig, MelFrontEnd, mel_to_db
from masktools.model import Model
from masktools.networks.conditioning import ClapEncoder, Conditioner, as_conditioner
from masktools.networks.packing import weights_digest


@runtime_checkable
class Embedder(Protocol):
    """An audio encoder: a recording to vectors."""

    name: str  # what it is and which weights it has
    dim: int

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, dim), n at least 1, of a wave (t,) of any rate and length."""
        ...


class MelStatistics:
    """Mean, deviation and mean change of 32 mel bands in dB, for each second: an embedder that nobody trained."""

    def __init__(self) -> None:
        self._config = MelConfig(n_mels=32, f_max=11_025.0)
        self._front_end = MelFrontEnd(self._config)
        self.dim = 3 * self._config.n_mels
        self.name = "mel statistics"

    @torch.inference_mode()
    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, 96) in tens of dB, one for each second begun."""
        config = self._config
        mono = _at(wave, sample_rate, config.sample_rate, config.n_fft)
        level = mel_to_db(self._front_end(torch.from_numpy(mono)[None]), config)[0].numpy() / 10
        n = max(1, round(level.shape[1] * config.hop_length / config.sample_rate))
        parts = np.array_split(level, n, axis=1)
        return np.stack([np.concatenate([p.mean(1), p.std(1), _change(p)]) for p in parts]).astype(np.float32)


def _change(part: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(part, axis=1)).mean(1) if part.shape[1] > 1 else np.zeros(len(part))


class EncoderEmbedder:
    """The model's own masked transformer: its last layer, averaged over about a second."""

    _COLUMNS = 5

    def __init__(self, model: Model) -> None:
        self._pipeline = model.pipeline
        self.dim = model.pipeline.transformer.config.width
        digest = _digest(model.pipeline.tokenizer, model.pipeline.transformer)
        self.name = f"own encoder of {model.pipeline.name} {digest}"

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, width)."""
        found = embed(self._pipeline, np.asarray(wave, np.float32)[None], sample_rate)
        if found.frames is None:
            raise ParameterError("an embedding needs its frames, got none")
        n = max(1, round(len(found.frames) / self._COLUMNS))
        return np.stack([part.mean(axis=0) for part in np.array_split(found.frames, n)])


class JointEmbedder:
    """The model's own text-audio encoder, on windows of about four seconds."""

    _SECONDS = 4.0

    def __init__(self, model: Model) -> None:
        conditioner = model.pipeline.conditioner
        if conditioner is None:
            raise ParameterError(f"the model {model.pipeline.name} has no text-audio encoder: choose another embedder")
        self._conditioner = conditioner
        self.dim = conditioner.dim
        digest = _digest(conditioner) if isinstance(conditioner, nn.Module) else ""
        self.name = f"text-audio encoder of {model.pipeline.name} {digest}".strip()

    @torch.inference_mode()
    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return unit vectors (n, d)."""
        n_windows = round(len(wave) / (self._SECONDS * sample_rate))
        return _by_window(self._conditioner.embed_audio, wave, sample_rate, n_windows)


class ClapEmbedder:
    """LAION's CLAP from a file or folder of its weights, on equal windows of at most ten seconds.

    A window may be half a second longer, so that a clip of ten seconds and a bit is one; CLAP hears its middle.
    """

    _SECONDS, _SPARE_S = 10.0, 0.5

    def __init__(self, path: str | Path) -> None:
        source = Path(path)
        self._encoder = ClapEncoder.from_checkpoint(source)
        self.dim = self._encoder.dim
        self.name = f"clap {source.name} {_digest(self._encoder)}"
        if self._encoder.tokenizer is not None:  # without it, CLAP is no judge of texts
            self.embed_text = self._embed_text

    @torch.inference_mode()
    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return unit vectors (n, 512)."""
        n_windows = math.ceil((len(wave) / sample_rate - self._SPARE_S) / self._SECONDS)
        return _by_window(self._encoder.embed_audio, wave, sample_rate, n_windows)

    @torch.inference_mode()
    def _embed_text(self, texts: list[str]) -> np.ndarray:
        """Return unit vectors (n, 512) of texts."""
        return self._encoder.embed_text(texts).cpu().numpy()


_BY_PATH: dict[str, Callable[[str], Embedder]] = {
    "aisfx": AisfxEmbedder,
    "musicnn": MusicnnEmbedder,
    "vggish": VggishEmbedder,
    "clap": ClapEmbedder,
}
EMBEDDERS = ("own", "joint", "mel", *_BY_PATH)


def parse_embedder(text: str, model: Model) -> Embedder:
    """Return the embedder that a word of the command line names: own, joint, mel, or another with =PATH.

    Raises:
        ParameterError: an unknown name, or one that needs a path without it.
        CheckpointError: weights that are missing or of another network.
    """
    name, _, path = text.partition("=")
    checked_name("embedder", name, EMBEDDERS)
    if name in _BY_PATH:
        if not path:
            raise ParameterError(f"the embedder {name} needs the path of its weights: {name}=PATH")
        return _BY_PATH[name](path)
    if path:
        raise ParameterError(f"the embedder {name} takes no path, got {path!r}")
    return MelStatistics() if name == "mel" else EncoderEmbedder(model) if name == "own" else JointEmbedder(model)


def _at(wave: np.ndarray, sample_rate: int, wanted_hz: int, shortest: int) -> np.ndarray:
    mono = resample(np.asarray(wave, np.float32), sample_rate, wanted_hz)
    return np.pad(mono, (0, max(0, shortest - len(mono))))


def _by_window(
    function: Callable[[torch.Tensor, int], torch.Tensor], wave: np.ndarray, sample_rate: int, n_windows: int
) -> np.ndarray:
    """Return a function of each of so many equal parts of a wave, at least one."""
    samples = np.asarray(wave, np.float32) if len(wave) else np.zeros(1, np.float32)
    parts = np.array_split(samples, max(1, n_windows))
    return np.concatenate([function(torch.from_numpy(p.copy())[None], sample_rate).cpu().numpy() for p in parts])


def _digest(*modules: nn.Module) -> str:
    """Return the first digits of the digest of the weights of modules."""
    digests = [weights_digest(module.state_dict()) for module in modules]
    return (digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest())[:8]


@runtime_checkable
class Scorer(Protocol):
    """An embedder that reads texts too."""

    @property
    def name(self) -> str:
        """Name of the encoder and digest of its weights."""
        ...

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return vectors (n, d) of a wave (t,)."""
        ...

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """Return one vector a text, (n, d)."""
        ...


class ConditionerScorer:
    """A text-audio encoder that hears each recording as a whole."""

    def __init__(self, conditioner: Any, name: str) -> None:
        self.conditioner: Conditioner = as_conditioner(conditioner)
        self.name = name

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return the unit vector (1, d) of a wave (t,)."""
        mono = torch.from_numpy(np.ascontiguousarray(wave, np.float32))[None]
        return self.conditioner.embed_audio(mono, sample_rate).cpu().numpy()

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """Return one unit vector a text, (n, d)."""
        return self.conditioner.embed_text(texts).cpu().numpy()


def scorers_of(model: Model, embedders: Sequence[Embedder] = ()) -> list[Scorer]:
    """Return the model's own text-audio encoder, where it has one, and those embedders that read texts."""
    conditioner = model.pipeline.conditioner
    own: list[Scorer] = []
    if conditioner is not None:
        own.append(ConditionerScorer(conditioner, f"{JointEmbedder(model).name}, whole clips"))
    return [*own, *(embedder for embedder in embedders if isinstance(embedder, Scorer))]


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, d) of length 1, in float64.

    Raises:
        ParameterError: one of them is zero or not finite.
    """
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise ParameterError("the vectors of a text-audio encoder must be finite and not zero")
    return rows / lengths
