"""The encoder as a module of torch, for the suites that hold their encoders so."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from masktools.arguments import shown
from masktools.errors import ParameterError
from masktools.features.embedding import Embedding
from masktools.features.encoder import Encoder

__all__ = ["EncoderModule"]


class EncoderModule(nn.Module):
    """An encoder and what it is asked for. ``forward``: (n, t) at its rate -> (n, d), one vector for each sound.

    It computes where its weights are moved to, stays in evaluation, and gives no gradients.

    Args:
        encoder: the encoder; from here on it belongs to the module.
        options: of ``Encoder.encode``, the same for every call.

    Raises:
        ParameterError: options that the model does not have, or the pool ``none``.
    """

    def __init__(self, encoder: Encoder, **options: Any) -> None:
        super().__init__()
        layer, pool = options.get("layer", "last"), options.get("pool", "mean")
        if pool == "none":
            raise ParameterError("one vector for a sound is needed, and the pool none has none: choose another")
        self.encoder, self.options = encoder, options
        self.clip_dim, self.frame_dim = encoder.dim(pool, layer), encoder.frame_dim(pool, layer)
        self.frame_hop_s = encoder.frame_hop_s(options.get("hop_s"))
        pipeline = encoder.pipeline
        parts = (pipeline.front_end, pipeline.tokenizer, pipeline.transformer, pipeline.conditioner)
        self.parts = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        self.train(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.pipeline.transformer.mask_vector.device

    def train(self, mode: bool = True) -> "EncoderModule":
        """Stay in evaluation: embeddings are without dropout."""
        return super().train(False)

    def forward(self, audio: Tensor) -> Float[Tensor, "n d"]:
        """Return one vector for each sound; layers side by side follow each other in it.

        Raises:
            ParameterError: audio of another shape or kind.
            AudioError: no samples, or some that are not finite.
        """
        found = self._encode(audio, frames=False)
        return self._stacked([np.ravel(one.clip) for one in found if one.clip is not None], (self.clip_dim,))

    def over_time(self, audio: Tensor) -> tuple[Float[Tensor, "n m d"], np.ndarray]:
        """Return a vector for each moment of each sound, and the middles of the moments in seconds, (m,) float64.

        Raises:
            ParameterError: audio of another shape or kind.
            AudioError: no samples, or some that are not finite.
        """
        found = self._encode(audio, frames=True)
        times_s = np.zeros(0) if not found or found[0].times_s is None else found[0].times_s
        shape = (len(times_s), self.frame_dim)
        vectors = [np.moveaxis(one.frames, -2, 0).reshape(shape) for one in found if one.frames is not None]
        return self._stacked(vectors, shape), times_s

    def _encode(self, audio: Tensor, frames: bool) -> list[Embedding]:
        if not isinstance(audio, Tensor):
            raise ParameterError(f"audio must be a tensor of floats (n, t), got {shown(audio)}")
        if audio.ndim != 2 or not audio.is_floating_point():
            raise ParameterError(f"audio must be floats (n, t), got {audio.dtype} of shape {tuple(audio.shape)}")
        self.encoder.pipeline.device = self.device
        options: dict[str, Any] = {**self.options, "frames": frames}
        return self.encoder.encode(list(audio), self.encoder.sample_rate, **options)

    def _stacked(self, vectors: list[np.ndarray], shape: tuple[int, ...]) -> Tensor:
        stacked = np.stack(vectors) if vectors else np.zeros((0, *shape), np.float32)
        return torch.from_numpy(stacked).to(self.device)
