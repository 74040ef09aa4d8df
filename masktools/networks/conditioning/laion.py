"""A ``laion_clap.CLAP_Module`` that its user has loaded, as a conditioner; the package itself is not imported."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import shown
from masktools.core.errors import ParameterError
from masktools.core.shapes import Condition, Wave
from masktools.networks.conditioning.clap import ClapEncoderConfig, ClapFrontEnd, ClapSides
from masktools.networks.conditioning.prompts import Conditioner, check_texts

_FACE = ("get_audio_embedding_from_data", "get_text_embedding")


class LaionClap(ClapSides):
    """The two sides of a ``CLAP_Module``: ``embed_audio`` and ``embed_text``, both (b, 512) of unit norm.

    A wave is resampled to 48 kHz and cut to the ten seconds in its middle, or repeated up to them, before the module
    hears it: the module itself would draw ten seconds at random, and an embedding would not be the same twice.

    Args:
        clap: the module, with the weights that its ``load_ckpt`` has read.

    Raises:
        ParameterError: something else than such a module.
    """

    def __init__(self, clap: Any) -> None:
        super().__init__()
        if not is_laion_clap(clap):
            raise ParameterError(f"clap must be a CLAP_Module of laion_clap, got {shown(clap)}")
        self.module: Any = clap.eval().requires_grad_(False)
        self.config = ClapEncoderConfig(dim=clap.model.joint_embed_shape)
        self.front_end = ClapFrontEnd(self.config)

    def _embedded(self, wave: Wave) -> Condition:
        heard = self.front_end.fit(wave.cpu().float()).clamp(-1.0, 1.0)
        return self._unit(self.module.get_audio_embedding_from_data(x=heard.numpy(), use_tensor=False))

    @torch.no_grad()
    def embed_text(self, texts: list[str]) -> Condition:
        """Return the embedding of each text.

        Raises:
            ParameterError: A text is empty.
        """
        check_texts(texts)
        return self._unit(self.module.get_text_embedding(list(texts), use_tensor=False))

    def _unit(self, vectors: Any) -> Tensor:
        return F.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=-1).to(self.front_end.window.device)


def is_laion_clap(given: object) -> bool:
    """Whether an object is a ``CLAP_Module``, told by what it offers."""
    has_model = isinstance(getattr(getattr(given, "model", None), "joint_embed_shape", None), int)
    return isinstance(given, nn.Module) and has_model and all(callable(getattr(given, name, None)) for name in _FACE)


def as_conditioner(given: Any) -> Conditioner:
    """Return what embeds texts and sounds: a conditioner as it is, a ``CLAP_Module`` in a ``LaionClap``.

    Raises:
        ParameterError: something else.
    """
    if isinstance(given, Conditioner):
        return given
    if is_laion_clap(given):
        return LaionClap(given)
    raise ParameterError(
        f"conditioner must have dim, embed_audio and embed_text, or be a CLAP_Module, got {shown(given)}"
    )
