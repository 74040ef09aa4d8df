"""CLAP beside a model that was trained with it, read from its checkpoint when it is first asked."""

import torch

from masktools.conditioning.clap import ClapEncoder
from masktools.runtime import single_precision
from masktools.shapes import Condition, Wave

__all__ = ["DeferredClap"]


class DeferredClap:
    """CLAP, whose weights are not part of a bundle, loaded when a text or a sound is first embedded.

    A model that was trained with it works without it as long as nothing asks for a condition.
    """

    def __init__(self, dim: int, device: torch.device) -> None:
        self.dim, self.device = dim, device
        self._clap: ClapEncoder | None = None

    @property
    def clap(self) -> ClapEncoder:
        """The encoder itself.

        Raises:
            CheckpointError: it is not at hand.
        """
        if self._clap is None:
            with single_precision():
                self._clap = ClapEncoder.from_checkpoint(device=self.device)
        return self._clap

    def embed_audio(self, wave: Wave, sample_rate: int) -> Condition:
        """Return one embedding a wave."""
        return self.clap.embed_audio(wave, sample_rate)

    def embed_text(self, texts: list[str]) -> Condition:
        """Return one embedding a text."""
        return self.clap.embed_text(texts)
