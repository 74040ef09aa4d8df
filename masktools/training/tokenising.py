"""Recordings of any length -> tokens and conditions, with the parts of a model that is being trained."""

import hashlib
import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.conditioning import Conditioner
from masktools.configs import to_dict
from masktools.mel import MelFrontEnd
from masktools.packing import weights_digest
from masktools.tokenizer import LocalTokenizer, SpecVqgan, token_fingerprint
from masktools.training.long_mels import long_mel

__all__ = ["Tokenizer", "conditions_of", "fingerprint", "is_local", "silent_column", "tokens_of"]

Tokenizer = LocalTokenizer | SpecVqgan
_WINDOW_COLS = 512  # of a local tokenizer at a time
_CONTEXT_COLS = 16  # on either side of them: more than a token of it depends on
_BATCH = 8  # clips at a time
_LEAST_SHARE = 0.5  # of a further clip that a recording must fill


def fingerprint(part: Any) -> str:
    """Return a hash of what a part makes of audio, 16 hexadecimal digits: for a tokenizer, that of its tokens."""
    if isinstance(part, Tokenizer):
        return token_fingerprint(part.state_dict())
    module: Any = getattr(part, "clap", part)  # what is loaded when it is first needed is loaded now
    digest = hashlib.sha256(type(module).__name__.encode())
    digest.update(json.dumps(to_dict(module.config), sort_keys=True).encode())
    digest.update(weights_digest(module.state_dict()).encode())
    return digest.hexdigest()[:16]


def is_local(tokenizer: Tokenizer) -> bool:
    """Tell whether a token depends on its neighbourhood alone, so that clips may begin at any column."""
    return isinstance(tokenizer, LocalTokenizer)


def silent_column(tokenizer: Tokenizer, silence: float, device: torch.device) -> np.ndarray:
    """Return the tokens (r,) of a column amid digital silence, whose value in a mel spectrogram is ``silence``."""
    n_frames = (2 * _CONTEXT_COLS + 1) * tokenizer.patch
    mel = torch.full((1, tokenizer.config.n_mels, n_frames), silence, device=device)
    with torch.inference_mode():
        return tokenizer.encode(mel)[0, :, _CONTEXT_COLS].cpu().numpy().astype(np.uint16)


def tokens_of(tokenizer: Tokenizer, front_end: MelFrontEnd, wave: np.ndarray, n_cols: int) -> np.ndarray:
    """Return the tokens (w, r) of a wave (t,), uint16.

    A local tokenizer reads the wave as a whole, its last column filled up with silence. Another one reads clips of
    ``n_cols`` columns one after the other, because its tokens are those of their clip; a clip that the wave does not
    fill by half is left out, unless it is the only one.
    """
    n_frames = max(1, len(wave) // front_end.config.hop_length)
    mel = torch.from_numpy(long_mel(front_end, wave, n_frames)).T.to(front_end.window)
    with torch.inference_mode():
        if is_local(tokenizer):
            return _local_tokens(tokenizer, mel, front_end.silence)
        return _clip_tokens(tokenizer, mel, front_end.silence, n_cols)


def _local_tokens(tokenizer: Tokenizer, mel: Tensor, silence: float) -> np.ndarray:
    patch = tokenizer.patch
    mel = F.pad(mel, (0, -mel.shape[1] % patch), value=silence)
    n_cols, parts = mel.shape[1] // patch, []
    for start in range(0, n_cols, _WINDOW_COLS):
        first, last = max(0, start - _CONTEXT_COLS), min(n_cols, start + _WINDOW_COLS + _CONTEXT_COLS)
        tokens = tokenizer.encode(mel[None, :, first * patch : last * patch])[0]
        parts.append(tokens[:, start - first : start - first + _WINDOW_COLS])
    return _columns(torch.cat(parts, 1))


def _clip_tokens(tokenizer: Tokenizer, mel: Tensor, silence: float, n_cols: int) -> np.ndarray:
    n_frames = n_cols * tokenizer.patch
    n_clips = max(1, int(mel.shape[1] / n_frames + 1.0 - _LEAST_SHARE))
    mel = F.pad(mel, (0, max(0, n_clips * n_frames - mel.shape[1])), value=silence)[:, : n_clips * n_frames]
    clips = mel.unflatten(1, (n_clips, n_frames)).transpose(0, 1)
    return _columns(torch.cat([t for part in clips.split(_BATCH) for t in tokenizer.encode(part)], 1))


def _columns(tokens: Tensor) -> np.ndarray:
    return tokens.T.cpu().numpy().astype(np.uint16)


def conditions_of(conditioner: Conditioner, wave: np.ndarray, sample_rate: int, n_samples: int) -> np.ndarray:
    """Return the embeddings (s, d) of stretches of ``n_samples`` of a wave (t,), one each half stretch, float16.

    The last one may be shorter, but for a wave that is shorter itself it is longer than half a stretch.
    """
    hop = n_samples // 2
    starts = range(0, max(1, len(wave) - hop), hop)
    stretches = [torch.from_numpy(np.ascontiguousarray(wave[s : s + n_samples], np.float32)) for s in starts]
    whole = [s for s in stretches if len(s) == n_samples]
    groups = [whole[start : start + _BATCH] for start in range(0, len(whole), _BATCH)]
    groups += [[s] for s in stretches[len(whole) :]]
    vectors = [conditioner.embed_audio(torch.stack(group), sample_rate).cpu() for group in groups]
    return torch.cat(vectors).numpy().astype(np.float16)
