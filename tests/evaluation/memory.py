"""A model that knows its recordings by heart: its tokens stand for them exactly, and its vocoder gives them back."""

import numpy as np
import torch
from torch import Tensor, nn

from masktools.evaluation.clips import Clip
from masktools.model import Model
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.pipeline import Pipeline
from tests.tiny import COLUMN, MEL, SAMPLE_RATE

N_CODES = 2048


class MemoTokenizer(nn.Module):
    """Gives each patch that it has not seen before a code of its own. ``encode``: (b, f, m) -> (b, r, w)."""

    n_rows, patch, n_codes = 5, 16, N_CODES

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[bytes, int] = {}
        self.patches: list[Tensor] = []

    def encode(self, mel: Tensor) -> Tensor:
        patches = mel.unflatten(1, (-1, 16)).unflatten(3, (-1, 16)).permute(0, 1, 3, 2, 4)
        return torch.tensor([[[self._code(patch) for patch in row] for row in clip] for clip in patches])

    def _code(self, patch: Tensor) -> int:
        key = patch.numpy().tobytes()
        if key not in self.codes:
            self.codes[key] = len(self.patches)
            self.patches.append(patch.clone())
        return self.codes[key]

    def decode(self, tokens: Tensor) -> Tensor:
        known = torch.stack(self.patches)
        return known[tokens % len(known)].permute(0, 1, 3, 2, 4).flatten(3, 4).flatten(1, 2)


class MemoVocoder(nn.Module):
    """Plays for each column of a spectrogram the one that it has heard with the nearest. (b, f, m) -> (b, t)."""

    mel_config = MEL

    def __init__(self) -> None:
        super().__init__()
        self.mels: list[Tensor] = []
        self.waves: list[Tensor] = []

    def hear(self, pipeline: Pipeline, wave: np.ndarray) -> None:
        mel = pipeline.to_mel(torch.from_numpy(wave[None]))[0]
        self.mels += mel.unflatten(1, (-1, 16)).transpose(0, 1).flatten(1)
        padded = np.pad(wave, (0, -len(wave) % COLUMN))
        self.waves += torch.from_numpy(padded).view(-1, COLUMN)

    def forward(self, mel: Tensor) -> Tensor:
        columns = mel.unflatten(2, (-1, 16)).transpose(1, 2).flatten(2)
        nearest = torch.cdist(columns, torch.stack(self.mels).expand(len(mel), -1, -1)).argmin(dim=2)
        return torch.stack(self.waves)[nearest].flatten(1)


def knowing_model(clips: list[Clip], n_cols: int = 32) -> Model:
    """Return a model whose tokenizer and vocoder lose nothing of some clips; what it predicts is by chance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = TransformerConfig(n_codes=N_CODES, n_cols=n_cols, width=16, depth=1, n_heads=2, condition_dim=8)
        transformer = MaskedTransformer(config)
    vocoder = MemoVocoder()
    pipeline = Pipeline(MEL, MemoTokenizer(), transformer, vocoder, name="memory")
    for clip in clips:
        vocoder.hear(pipeline, clip.wave)
    return Model(pipeline)


def melody(seed: int, seconds: float = 3.0, kind: str = "music", origin: str = "real") -> Clip:
    """Return notes with overtones over some noise, different for each seed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = 0.01 * rng.standard_normal(len(time_s))
    for start in np.arange(0, seconds, 0.3):
        since = time_s - start
        pitch = 220 * 2 ** (rng.integers(0, 24) / 12)
        sounding = (since >= 0) & (since < 0.5)
        for overtone in range(1, 8):
            wave += (
                0.1 / overtone * sounding * np.exp(-4 * np.abs(since)) * np.sin(2 * np.pi * overtone * pitch * since)
            )
    return Clip(f"{kind}-{seed}.wav", wave.astype(np.float32), SAMPLE_RATE, kind, origin)


class Loudness:
    """An embedder that hears how loud eight bands are in each half of a wave."""

    name = "loudness of eight bands"
    dim = 8

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        halves = np.array_split(wave.astype(np.float64), 2)
        bands = [np.array_split(np.abs(np.fft.rfft(half)) ** 2, 8) for half in halves]
        return np.log10([[band.mean() + 1e-9 for band in half] for half in bands])
